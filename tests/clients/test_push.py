"""IDLE tells of mail, flags and expunges; a delivery repeated is not stored again."""
import socket
import unittest

from lib.server import Server

MESSAGE = b"From: a@example.org\r\nMessage-ID: <1@example.org>\r\nSubject: x\r\n\r\nhello\r\n"


class Line:
    """An IMAP connection seen line by line."""

    def __init__(self, server, name="alice", password="secret"):
        self.socket = socket.create_connection(("127.0.0.1", server.ports["imap"]), 30)
        self.file = self.socket.makefile("rb")
        self.tags = 0
        self.line()
        self.command(f"LOGIN {name} {password}")

    def send(self, text):
        self.socket.sendall(text.encode() + b"\r\n")

    def line(self):
        return self.file.readline().decode().rstrip("\r\n")

    def until(self, start):
        lines = []
        while True:
            lines.append(self.line())
            if lines[-1].startswith(start):
                return lines
            assert lines[-1], "connection closed while waiting for " + start

    def command(self, text):
        self.tags += 1
        self.send(f"t{self.tags} {text}")
        lines = self.until(f"t{self.tags} ")
        assert lines[-1].startswith(f"t{self.tags} OK"), lines
        return lines

    def close(self):
        self.file.close()
        self.socket.close()


class Push(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)

    def open(self, name):
        line = Line(self.server, name)
        self.addCleanup(line.close)
        return line

    def test_idle(self):
        self.server.account("alice", "secret")
        watcher, other = self.open("alice"), self.open("alice")
        watcher.command("SELECT INBOX")
        watcher.send("i IDLE")
        self.assertTrue(watcher.line().startswith("+"))
        self.server.deliver("alice", MESSAGE)
        self.assertEqual(watcher.until("* 1 EXISTS")[-1], "* 1 EXISTS")
        other.command("SELECT INBOX")
        other.command("STORE 1 +FLAGS (\\Flagged)")
        self.assertIn("\\Flagged", watcher.until("* 1 FETCH")[-1])
        other.command("STORE 1 +FLAGS.SILENT (\\Deleted)")
        self.assertIn("\\Deleted", watcher.until("* 1 FETCH")[-1])
        other.command("EXPUNGE")
        self.assertEqual(watcher.until("* 1 EXPUNGE")[-1], "* 1 EXPUNGE")
        watcher.send("DONE")
        watcher.until("i OK")

    def test_repeated_delivery(self):
        self.server.account("bob", "secret")
        for _ in range(3):
            self.server.deliver("bob", MESSAGE)
        self.server.restart()
        self.server.deliver("bob", MESSAGE)
        imap = self.server.imap("bob", "secret")
        self.addCleanup(imap.shutdown)
        self.assertEqual(imap.select()[1], [b"1"])
        self.server.deliver("bob", MESSAGE.replace(b"hello", b"other"))
        imap.noop()
        self.assertEqual(imap.select()[1], [b"2"])

    def test_two_recipients_one_answer_each(self):
        self.server.account("carol", "secret")
        with self.server.lmtp() as lmtp:
            answers = lmtp.transact("s@example.org", ["carol", "nobody-here", "carol+Junk"], MESSAGE)
        self.assertEqual([answers[r][0] for r in ("carol", "nobody-here", "carol+Junk")],
                         [250, 550, 250])


if __name__ == "__main__":
    unittest.main()
