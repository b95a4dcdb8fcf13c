"""BINARY (RFC 3516) of parts larger than a chunk, against Python's own decoders."""
import base64
import quopri
import random
import re
import unittest

from lib.server import Server


class Binary(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.account("alice", "secret")
        self.imap = self.server.imap("alice", "secret")
        self.addCleanup(self.imap.shutdown)

    def fetch(self, item):
        """The bytes of one literal, literal8, quoted string or number; read off the socket, since
        imaplib knows no literal8."""
        self.imap.send(b"x UID FETCH 1 " + item + b"\r\n")
        line = self.imap.readline()
        match = re.match(rb"\* 1 FETCH \(UID 1 BINARY\S* (?:(~?)\{(\d+)\}|(.*)\))\r\n", line)
        self.assertTrue(match, line)
        value = match[3]
        if value is None:
            value = self.imap.read(int(match[2]))
            self.assertEqual(match[1] == b"~", b"\0" in self.whole)
            self.assertEqual(self.imap.readline(), b")\r\n")
        self.assertTrue(self.imap.readline().startswith(b"x OK"))
        return value

    def check(self, encoding, encoded, plain):
        self.whole = plain
        message = b"Content-Transfer-Encoding: " + encoding + b"\r\n\r\n" + encoded
        self.imap.append("INBOX", None, None, message)
        self.imap.select("INBOX")
        self.assertEqual(self.fetch(b"BINARY.SIZE[1]"), b"%d" % len(plain))
        self.assertEqual(self.fetch(b"BINARY.PEEK[1]"), plain)
        for offset, size in ((0, 10), (262143, 3), (300000, 400000), (len(plain) - 5, 99)):
            self.assertEqual(self.fetch(b"BINARY.PEEK[1]<%d.%d>" % (offset, size)),
                             plain[offset:offset + size])
        self.assertEqual(self.fetch(b"BINARY.PEEK[1]<%d.1>" % len(plain)), b'""')

    def test_base64(self):
        plain = random.Random(1).randbytes(1_000_000)
        self.check(b"base64", base64.encodebytes(plain).replace(b"\n", b"\r\n"), plain)

    def test_quoted_printable(self):
        plain = "".join(random.Random(2).choices("aé=€ \r\n", k=400_000)).encode()
        plain = re.sub(rb"[ \r]+\n|\r", b"\n", plain).replace(b"\n", b"\r\n")
        encoded = quopri.encodestring(plain.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")
        self.check(b"quoted-printable", encoded, plain)

    def test_identity(self):
        plain = b"0123456789abcde\r\n" * 40_000
        self.check(b"8bit", plain, plain)


if __name__ == "__main__":
    unittest.main()
