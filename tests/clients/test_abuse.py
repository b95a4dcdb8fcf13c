"""Bad input gets the protocol's clear answer and costs nobody else anything."""
import socket
import unittest

from lib.server import Server, wait_until


class Abuse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)
        cls.server.account("alice", "secret")
        cls.server.deliver("alice", b"Subject: x\r\n\r\n" + b"line\r\n" * 200000)

    def connect(self, name="imap"):
        s = socket.create_connection(("127.0.0.1", self.server.ports[name]), 30)
        self.addCleanup(s.close)
        file = s.makefile("rb")
        self.addCleanup(file.close)
        file.readline()
        return s, file

    def login(self):
        s, file = self.connect()
        s.sendall(b"a LOGIN alice secret\r\n")
        while not (line := file.readline()).startswith(b"a "):
            self.assertTrue(line)
        self.assertTrue(line.startswith(b"a OK"), line)
        return s, file

    def answer(self, s, file, tag, data):
        s.sendall(data)
        while True:
            line = file.readline()
            self.assertTrue(line, "closed without an answer")
            if line.startswith(tag + b" ") or line.startswith(b"* B"):
                return line

    def alive(self):
        imap = self.server.imap("alice", "secret")
        self.assertEqual(imap.select()[0], "OK")
        imap.logout()

    def test_imap_lines(self):
        for before_login in (True, False):
            for tag, data in ((b"b", b"b NOSUCH\r\n"), (b"b", b"b FETCH\r\n"),
                              (b"b", b"b LOGIN \x00 x\r\n"), (b"b", b"b SELECT \xff\xfe\r\n"),
                              (b"b", b"b SEARCH " + b"(" * 10000 + b")" * 10000 + b"\r\n"),
                              (b"b", b"b LOGIN {999999999}\r\n"), (b"b", b"b \r\n")):
                with self.subTest(before_login=before_login, data=data[:40]):
                    s, file = self.connect() if before_login else self.login()
                    line = self.answer(s, file, tag, data)
                    self.assertIn(line.split(b" ")[1], (b"BAD", b"NO", b"BYE"), line)
        self.alive()

    def test_imap_line_without_end(self):
        s, file = self.connect()
        try:
            for _ in range(64):
                s.sendall(b"x" * 65536)
        except OSError:
            pass  # it was closed on us, after its answer
        line = file.readline()
        self.assertTrue(line.startswith((b"* BYE", b"* BAD")) or b" BAD " in line, line)
        self.alive()

    def test_reads_nothing(self):
        s, _ = self.login()
        s.sendall(b"b SELECT INBOX\r\n" + b"".join(b"c%d FETCH 1 BODY.PEEK[]\r\n" % n
                                                  for n in range(200)))
        self.alive()

    def test_byte_by_byte(self):
        s, file = self.connect()
        for byte in b"a LOGIN alice secret\r\nb SELECT INBOX\r\n":
            s.sendall(bytes([byte]))
        while not (line := file.readline()).startswith(b"b "):
            self.assertTrue(line)
        self.assertTrue(line.startswith(b"b OK"), line)

    def test_pop3(self):
        for data in (b"STAT\r\n", b"NOSUCH\r\n", b"USER\r\n", b"PASS x\r\n", b"\x00\r\n",
                     b"USER \xff\r\nPASS x\r\n"):
            with self.subTest(data=data):
                s, file = self.connect("pop3")
                s.sendall(data)
                self.assertTrue(file.readline().startswith((b"-ERR", b"+OK")))
        self.alive()

    def test_lmtp(self):
        for data in (b"DATA\r\n", b"MAIL FROM:<x>\r\n", b"NOSUCH\r\n", b"RCPT TO:<\r\n",
                     b"HELO x\r\n", b"\x00\x01\r\n"):
            with self.subTest(data=data):
                s, file = self.connect("lmtp")
                s.sendall(data)
                self.assertTrue(file.readline().startswith(b"5"))
        self.alive()

    def test_starttls_injection(self):
        for name, command in (("imap", b"a STARTTLS\r\nb NOOP\r\n"), ("pop3", b"STLS\r\nNOOP\r\n"),
                              ("lmtp", b"LHLO x\r\nSTARTTLS\r\nNOOP\r\n")):
            with self.subTest(name=name):
                s, file = self.connect(name)
                s.sendall(command)
                rest = file.read()  # until it is closed
                self.assertNotIn(b"b OK", rest)
                self.assertNotIn(b"\r\n+OK NOOP", rest)
        self.alive()

    def test_idle_connections_cost_little(self):
        held = [socket.create_connection(("127.0.0.1", self.server.ports["imap"]), 30)
                for _ in range(500)]
        for s in held:
            self.addCleanup(s.close)
        self.alive()

    def test_wrong_password(self):
        s, file = self.connect()
        line = self.answer(s, file, b"b", b"b LOGIN alice wrong\r\n")
        self.assertIn(b"NO [AUTHENTICATIONFAILED]", line)
        wait_until("the log line",
                   lambda: "event=auth_fail" in self.server.log_text() and
                   "wrong" not in self.server.log_text())


if __name__ == "__main__":
    unittest.main()
