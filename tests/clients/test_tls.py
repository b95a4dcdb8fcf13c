"""STARTTLS and STLS with real mail; what is announced before and after; clear-text logins."""
import imaplib
import poplib
import smtplib
import subprocess
import unittest

from lib.messages import generated
from lib.server import Server


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)
        cls.server.account("alice", "secret")
        cls.messages = list(generated(40, seed=5))

    def test_through_and_through(self):
        """In over LMTP with STARTTLS, out over IMAP with STARTTLS and POP3 with STLS."""
        ports, context = self.server.ports, self.server.tls()
        with smtplib.LMTP("127.0.0.1", ports["lmtp"]) as lmtp:
            lmtp.ehlo("client.example.org")
            self.assertIn("starttls", lmtp.esmtp_features)
            self.assertEqual(lmtp.starttls(context=context)[0], 220)
            lmtp.ehlo("client.example.org")
            self.assertNotIn("starttls", lmtp.esmtp_features)
            for message in self.messages:
                self.assertEqual(lmtp.sendmail("s@example.org", ["alice"], message), {})
        imap = imaplib.IMAP4("127.0.0.1", ports["imap"])
        self.addCleanup(imap.shutdown)
        self.assertIn("STARTTLS", imap.capabilities)
        imap.starttls(context)
        self.assertNotIn("STARTTLS", imap.capabilities)
        self.assertIn("AUTH=SCRAM-SHA-256-PLUS", imap.capabilities)
        imap.login("alice", "secret")
        imap.select()
        got = [part[1] for part in imap.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(part, tuple)]
        self.assertEqual(len(got), len(self.messages))
        for body, message in zip(got, self.messages):
            self.assertTrue(body.endswith(message))
        self.assertIn(b"with LMTPS", got[0])
        # 5 MB in one command, through TLS in the other direction.
        large = b"Subject: large\r\n\r\n" + b"x" * 998 + b"\r\n" * 5000
        self.assertEqual(imap.append("Sent", None, None, large)[0], "OK")
        imap.select("Sent")
        self.assertEqual(imap.fetch("1", "(BODY.PEEK[])")[1][0][1], large)
        pop3 = poplib.POP3("127.0.0.1", ports["pop3"])
        self.addCleanup(pop3.close)
        self.assertIn("STLS", pop3.capa())
        pop3.stls(context)
        self.assertNotIn("STLS", pop3.capa())
        pop3.user("alice")
        pop3.pass_("secret")
        for number, body in enumerate(got, 1):
            self.assertEqual(b"".join(line + b"\r\n" for line in pop3.retr(number)[1]), body)
        pop3.quit()

    def test_versions(self):
        """TLS 1.2 and 1.3; nothing older."""
        for option, good in (("-tls1_2", True), ("-tls1_3", True), ("-tls1_1", False)):
            for name, extra in (("imaps", []), ("imap", ["-starttls", "imap"]),
                                ("pop3s", []), ("pop3", ["-starttls", "pop3"]),
                                ("lmtp", ["-starttls", "lmtp"])):
                with self.subTest(option=option, name=name):
                    done = subprocess.run(
                        ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.ports[name]}",
                         option, "-cipher", "ALL:@SECLEVEL=0", *extra],
                        stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
                    self.assertEqual(b"Cipher is (NONE)" not in done.stdout and
                                     b"Cipher    : 0000" not in done.stdout, good, done.stdout[-2000:])

    def test_certificate_names_the_host(self):
        """The certificate made at the first start is one that clients can pin: names and dates."""
        certificate = subprocess.run(["openssl", "x509", "-in", f"{self.server.data}/tls/cert.pem",
                                      "-noout", "-ext", "subjectAltName", "-checkend", "31536000"],
                                     capture_output=True, text=True, check=True).stdout
        self.assertIn("DNS:localhost", certificate)
        self.assertIn("IP Address:127.0.0.1", certificate)


if __name__ == "__main__":
    unittest.main()
