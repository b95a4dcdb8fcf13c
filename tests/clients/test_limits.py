"""What is too much is refused with the code its standard gives it; what is much is taken."""
import hashlib
import imaplib
import random
import socket
import time
import unittest

from lib.server import PATIENCE, Server, dot_stuff

KB = b"x" * 1022 + b"\r\n"


def message(size, head=b"Subject: big\r\n\r\n"):
    return (head + KB * (size // len(KB) + 1))[:size - 2] + b"\r\n"


class Limits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(config="message { size = 1M }\ntimeout { login = 5 }\n"
                                   "quota { default = 10M }\n")
        cls.addClassCleanup(cls.server.close)

    def inbox(self, name):
        imap = self.server.imap(name, "secret")
        self.addCleanup(imap.shutdown)
        return imap, int(imap.select()[1][0])

    def test_quota_over_lmtp(self):
        server = self.server
        server.account("full", "secret", "--quota", "300K")
        server.account("empty", "secret")
        server.deliver("full", message(200_000))
        with server.lmtp() as lmtp:
            # Known at RCPT, since the size was announced: 452 4.2.2.
            lmtp.docmd("LHLO", "client")
            lmtp.docmd("MAIL FROM:<s@example.org> SIZE=200000")
            code, text = lmtp.docmd("RCPT TO:<full>")
            self.assertEqual((code, text[:5]), (452, b"4.2.2"))
            lmtp.docmd("RSET")
            # Not announced: said behind the message, to that recipient alone.
            lmtp.lhlo_done = True
            answers = lmtp.transact("s@example.org", ["full", "empty"], message(200_001))
        self.assertEqual((answers["full"][0], answers["full"][1][:5]), (452, b"4.2.2"))
        self.assertEqual(answers["empty"][0], 250)
        self.assertEqual(self.inbox("full")[1], 1)
        self.assertEqual(self.inbox("empty")[1], 1)
        # Room again: the same message is taken, since it was never stored.
        server.run("account", "quota", "full", "1M")
        server.deliver("full", message(200_001))
        self.assertEqual(self.inbox("full")[1], 2)

    def test_quota_over_imap(self):
        self.server.account("small", "secret", "--quota", "300K")
        imap, _ = self.inbox("small")
        self.assertEqual(imap.append("INBOX", None, None, message(200_000))[0], "OK")
        status, text = imap.append("INBOX", None, None, message(200_001))
        self.assertEqual(status, "NO")
        self.assertIn(b"[OVERQUOTA]", text[0])
        imap.select()
        status, text = imap.copy("1", "Archive")
        self.assertEqual(status, "NO")
        self.assertIn(b"[OVERQUOTA]", text[0])
        imap.store("1", "+FLAGS", "\\Deleted")  # what takes no room goes on
        imap.expunge()
        self.assertEqual(imap.append("INBOX", None, None, message(200_001))[0], "OK")

    def test_too_large(self):
        server = self.server
        server.account("alice", "secret")
        with server.lmtp() as lmtp:
            lmtp.docmd("LHLO", "client")
            code, text = lmtp.docmd("MAIL FROM:<s@example.org> SIZE=2000000")
            self.assertEqual((code, text[:5]), (552, b"5.3.4"))
            lmtp.lhlo_done = True
            answers = lmtp.transact("s@example.org", ["alice"], message(1_048_577))
            self.assertEqual((answers["alice"][0], answers["alice"][1][:5]), (552, b"5.3.4"))
            answers = lmtp.transact("s@example.org", ["alice"], message(1_000_000))
            self.assertEqual(answers["alice"][0], 250)
        imap, count = self.inbox("alice")
        self.assertEqual(count, 1)
        with self.assertRaises((imaplib.IMAP4.error, OSError)):
            status, text = imap.append("INBOX", None, None, message(2_000_000))
            raise imaplib.IMAP4.error(status) if status != "OK" else AssertionError(text)
        self.assertEqual(self.inbox("alice")[1], 1)

    def test_login_timeout(self):
        """Connections that do not log in end after timeout.login, with the protocol's word, however
        busy they are."""
        started = time.monotonic()
        held = {name: socket.create_connection(("127.0.0.1", self.server.ports[name]), PATIENCE)
                for name in ("imap", "imaps", "pop3", "pop3s")}
        said = {}
        held["imap"].sendall(b"a NOOP\r\nb CAPABILITY\r\n")
        for name, s in held.items():
            self.addCleanup(s.close)
            said[name] = b""
            while data := s.recv(4096):
                said[name] += data
        self.assertIn(b"* BYE", said["imap"])
        self.assertIn(b"-ERR", said["pop3"])
        self.assertEqual(said["imaps"], b"")
        self.assertGreater(time.monotonic() - started, 4)

    def test_smtputf8(self):
        server = self.server
        server.account("jörg@bücher.example", "secret")
        with server.lmtp() as lmtp:
            lmtp.command_encoding = "utf-8"
            lmtp.docmd("LHLO", "client")
            self.assertIn(b"SMTPUTF8", lmtp.docmd("LHLO", "client")[1].upper())
            lmtp.docmd("MAIL FROM:<søren@example.org> SMTPUTF8")
            self.assertEqual(lmtp.docmd("RCPT TO:<jörg@bücher.example>")[0], 250)
            self.assertEqual(lmtp.docmd("DATA")[0], 354)
            sent = "Subject: Grüße\r\n\r\nüber\r\n".encode()
            lmtp.sock.sendall(dot_stuff(sent) + b".\r\n")
            self.assertEqual(lmtp.getreply()[0], 250)
        pop3 = server.pop3("jörg@bücher.example", "secret")
        lines = pop3.retr(1)[1]
        pop3.close()
        self.assertIn("Return-Path: <søren@example.org>".encode(), lines)
        self.assertEqual(lines[-3:], sent.rstrip(b"\r\n").split(b"\r\n"))

    def test_bdat(self):
        """RFC 3030: pieces of any bytes; a dot ends nothing."""
        server = self.server
        server.account("chunks", "secret")
        chance = random.Random(3)
        body = b"Subject: x\r\n\r\n.\r\n" + bytes(chance.choice(b"abc.\xff\x80 ") for _ in range(70_000)) + b"\r\n"
        with server.lmtp() as lmtp:
            self.assertIn(b"CHUNKING", lmtp.docmd("LHLO", "client")[1])
            lmtp.docmd("MAIL FROM:<s@example.org> BODY=8BITMIME")
            lmtp.docmd("RCPT TO:<chunks>")
            lmtp.sock.sendall(b"BDAT 20\r\n" + body[:20])
            self.assertEqual(lmtp.getreply()[0], 250)
            lmtp.sock.sendall(b"BDAT 50000\r\n" + body[20:50020] +
                              b"BDAT %d LAST\r\n" % (len(body) - 50020) + body[50020:])
            self.assertEqual(lmtp.getreply()[0], 250)
            code, text = lmtp.getreply()
            self.assertEqual(code, 250, text)
        imap, count = self.inbox("chunks")
        self.assertEqual(count, 1)
        self.assertTrue(imap.fetch("1", "(BODY.PEEK[])")[1][0][1].endswith(body))


class Much(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(config="timeout { login = 600 }\n")
        cls.addClassCleanup(cls.server.close)
        cls.server.account("alice", "secret")

    def test_large_message(self):
        """90 MB in over LMTP and out over IMAP and POP3, and no process keeps any of it."""
        sent = b"Subject: large\r\n\r\n" + KB * (90_000_000 // len(KB))
        digest = hashlib.sha256(sent).hexdigest()
        self.server.account("large", "secret")
        self.server.deliver("large", sent)
        imap = self.server.imap("large", "secret")
        imap.select(readonly=True)
        got = imap.fetch("1", "(BODY.PEEK[])")[1][0][1]
        imap.logout()
        self.assertEqual(hashlib.sha256(got[len(got) - len(sent):]).hexdigest(), digest)
        pop3 = self.server.pop3("large", "secret")
        whole = b"".join(line + b"\r\n" for line in pop3.retr(1)[1])
        pop3.quit()
        self.assertEqual(hashlib.sha256(whole).hexdigest(), hashlib.sha256(got).hexdigest())
        for process in self.server.process_list():
            with open(f"/proc/{process['pid']}/status") as file:
                own = next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
            self.assertLess(own, 400_000 if "asan" in self.server.build else 30_000, process)

    def test_idle_connections(self):
        """2,000 that say nothing, half of them logged in and in IDLE: everybody else is served."""
        held = []
        self.addCleanup(lambda: [s.close() for s in held])

        def connect():
            held.append(socket.create_connection(("127.0.0.1", self.server.ports["imap"]), PATIENCE))
            return held[-1]

        for _ in range(1000):
            connect()
        idle = [connect() for _ in range(1000)]
        for s in idle:
            s.sendall(b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc IDLE\r\n")
        for s in idle:
            said = b""
            while b"\n+" not in said:
                data = s.recv(65536)
                self.assertTrue(data, said)
                said += data
        imap = self.server.imap("alice", "secret")
        self.assertEqual(imap.select()[0], "OK")
        imap.logout()
        self.server.deliver("alice", b"Subject: to a thousand\r\n\r\nhello\r\n")
        for s in idle:
            said = b""
            while b" EXISTS\r\n" not in said:
                data = s.recv(65536)
                self.assertTrue(data, said)
                said += data


if __name__ == "__main__":
    unittest.main()
