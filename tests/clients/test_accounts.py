"""Accounts from the outside: the command line with and without a server, logins of every kind, what
an address means, what a change does to those who are logged in."""
import base64
import hashlib
import hmac
import imaplib
import json
import re
import secrets
import smtplib
import subprocess
import unittest

from lib.server import Server, wait_until

HASH = "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols="  # of "secret"


class Scram:
    """The client's side of RFC 5802 with SHA-256, written from the RFC."""

    def __init__(self, name, password, gs2=b"n,,", binding=b""):
        self.password, self.gs2, self.binding = password.encode(), gs2, binding
        self.first = b"n=%s,r=%s" % (name.encode(), secrets.token_hex(12).encode())
        self.step = 0

    def __call__(self, challenge):
        self.step += 1
        if self.step == 1:
            return self.gs2 + self.first
        if self.step == 2:
            return self.final(challenge)
        assert challenge == b"v=" + base64.b64encode(self.signature), challenge
        return b""

    def final(self, challenge):
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields[b"s"]),
                                     int(fields[b"i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        bare = b"c=%s,r=%s" % (base64.b64encode(self.gs2 + self.binding), fields[b"r"])
        message = b",".join([self.first, challenge, bare])
        proof = hmac.digest(hashlib.sha256(key).digest(), message, "sha256")
        self.signature = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        return bare + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(key, proof)))


class Accounts(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.close)

    def login(self, name, password):
        imap = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"])
        try:
            imap.login(name, password)
        except imaplib.IMAP4.error:
            imap.shutdown()
            return None
        self.addCleanup(imap.shutdown)
        return imap

    def ended(self, imap):
        try:
            imap.noop()
        except (imaplib.IMAP4.abort, OSError):
            return True
        return False

    def test_changes_end_sessions(self):
        server = self.server
        server.account("alice", "one")
        imap = self.login("alice", "one")
        server.run("account", "passwd", "alice", "--password-stdin", input="two\n")
        wait_until("the session to end", lambda: self.ended(imap))
        self.assertIsNone(self.login("alice", "one"))
        imap = self.login("alice", "two")
        server.run("account", "disable", "alice")
        wait_until("the session to end", lambda: self.ended(imap))
        self.assertIsNone(self.login("alice", "two"))
        server.run("account", "enable", "alice")
        imap = self.login("alice", "two")
        server.deliver("alice", b"Subject: x\r\n\r\nhello\r\n")
        server.run("account", "delete", "alice", "--yes")
        wait_until("the session to end", lambda: self.ended(imap))
        self.assertIsNone(self.login("alice", "two"))
        # The name is free at once; the new account is another one.
        server.account("alice", "three")
        imap = self.login("alice", "three")
        self.assertEqual(imap.select("INBOX")[1], [b"0"])
        wait_until("the purge", lambda: auth_status(server)["being_deleted"] == 0)

    def test_scram(self):
        server = self.server
        server.account("alice", "p=ss,word")
        imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        self.assertIn("AUTH=SCRAM-SHA-256", imap.capabilities)
        self.assertEqual(imap.authenticate("SCRAM-SHA-256", Scram("alice", "p=ss,word"))[0], "OK")
        self.assertEqual(imap.select("INBOX")[0], "OK")
        imap.logout()
        imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        for name, password in (("alice", "wrong"), ("nobody", "p=ss,word")):
            with self.assertRaises(imaplib.IMAP4.error):
                imap.authenticate("SCRAM-SHA-256", Scram(name, password))
        imap.shutdown()

    def test_scram_plus(self):
        """-PLUS with the exporter value that OpenSSL's own client computes (RFC 9266)."""
        server = self.server
        server.account("alice", "secret")
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{server.ports['imaps']}", "-nocommands",
             "-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(client.wait)
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.stdin.close)
        self.addCleanup(client.kill)
        exporter = bytes.fromhex(self.until(client, rb"Keying material: ([0-9A-F]{64})").decode())
        self.until(client, rb"(AUTH=SCRAM-SHA-256-PLUS)")
        scram = Scram("alice", "secret", b"p=tls-exporter,,", exporter)
        self.say(client, b"a AUTHENTICATE SCRAM-SHA-256-PLUS")
        for _ in range(3):
            challenge = base64.b64decode(self.until(client, rb"^\+ ?(\S*)"))
            self.say(client, base64.b64encode(scram(challenge)))
        self.until(client, rb"^(a OK)")
        self.say(client, b"b SELECT INBOX")
        self.until(client, rb"^(b OK)")

    def until(self, client, pattern):
        for line in client.stdout:
            found = re.search(pattern, line)
            if found:
                return found[1]
        self.fail(f"the connection ended before {pattern}")

    def say(self, client, line):
        client.stdin.write(line + b"\r\n")
        client.stdin.flush()

    def test_import(self):
        server = self.server
        lines = [f"user{n}@example.org:{HASH}:1000:1000::/home:/bin/sh:" for n in range(250)]
        lines += ["# a comment", "", "clear:{PLAIN}pencil:::::", "odd:{CRAM-MD5}0123:::::",
                  f"USER7@example.org:{HASH}"]
        text = "\n".join(lines) + "\n"
        for counts in ("251 added, 0 updated, 0 unchanged", "0 added, 0 updated, 251 unchanged"):
            done = server.run("account", "import", "-", input=text, check=False)
            self.assertEqual(done.returncode, 1)  # two lines have problems
            self.assertIn(counts, done.stdout)
            self.assertIn("line 254: unknown password scheme {CRAM-MD5}", done.stderr)
            self.assertIn("line 255: this name stands in line 8 already", done.stderr)
        self.assertEqual(auth_status(server)["without_scram_keys"], 250)
        self.assertNotIn("SCRAM", auth_status(server)["mechanisms"])
        self.assertIsNotNone(self.login("user0@example.org", "secret"))
        self.assertIsNotNone(self.login("clear", "pencil"))
        wait_until("keys from the login", lambda: auth_status(server)["without_scram_keys"] == 249)

    def test_import_schemes_and_scram(self):
        """What Dovecot's users have; SCRAM is announced once all who are enabled have keys."""
        server = self.server
        salt = b"saltsalt"
        ssha256 = base64.b64encode(hashlib.sha256(b"secret" + salt).digest() + salt).decode()
        # The second is the example of crypt_blowfish's own test, of the password "U*U".
        lines = ["sha512:{SHA512-CRYPT}" + openssl_passwd("-6") + "::::::",
                 "bcrypt:{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                 "ssha:{SSHA256}" + ssha256, "plain:{PLAIN}secret", "crypt:" + openssl_passwd("-5")]
        passwords = {"bcrypt": "U*U"}
        server.run("account", "import", "-", input="\n".join(lines) + "\n")

        def announced():
            imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
            imap.shutdown()
            return "AUTH=SCRAM-SHA-256" in imap.capabilities

        self.assertFalse(announced())
        for line in lines[:-1]:
            name = line.split(":")[0]
            self.assertIsNone(self.login(name, "wrong"))
            self.assertIsNotNone(self.login(name, passwords.get(name, "secret")), name)
        wait_until("keys", lambda: auth_status(server)["without_scram_keys"] == 1)
        self.assertFalse(announced())
        server.run("account", "disable", "crypt")
        wait_until("SCRAM", announced)
        server.run("account", "enable", "crypt")
        wait_until("no SCRAM", lambda: not announced())
        self.assertIsNotNone(self.login("crypt", "secret"))
        wait_until("SCRAM again", announced)
        imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        self.assertEqual(imap.authenticate("SCRAM-SHA-256", Scram("bcrypt", "U*U"))[0], "OK")
        imap.shutdown()

    def test_without_server(self):
        server = self.server
        server.account("alice", "one", "--quota", "1G", "--alias", "info@example.org")
        self.assertEqual(server.stop(), 0)
        server.account("bob@example.org", "two", "--catch-all", "example.org")
        server.run("account", "passwd", "alice", "--password-stdin", input="three\n")
        done = server.run("account", "add", "ALICE", "--password-stdin", input="x\n", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("already", done.stderr)
        listed = [json.loads(line) for line in server.run("account", "list", "--json").stdout.splitlines()]
        self.assertEqual([a["name"] for a in listed], ["alice", "bob@example.org"])
        self.assertEqual(server.run("check").returncode, 0)
        server.start()
        self.assertIsNone(self.login("alice", "one"))
        self.assertIsNotNone(self.login("alice", "three"))
        self.assertIsNotNone(self.login("bob@example.org", "two"))

    def test_killed(self):
        """What `account` said is done is there after kill -9."""
        names = []
        for n in range(3):
            for k in range(4):
                names.append(f"user{n}.{k}")
                self.server.account(names[-1], "secret")
            self.server.restart()
            listed = self.server.run("account", "list", "--json").stdout.splitlines()
            self.assertEqual(sorted(names), [json.loads(line)["name"] for line in listed])

    def test_addresses(self):
        server = self.server
        server.account("alice@example.org", "secret", "--alias", "info@example.com")
        server.account("bob", "secret")
        server.account("rest@example.org", "secret", "--catch-all", "example.org")
        server.account("gone", "secret")
        server.run("account", "disable", "gone")
        lmtp = smtplib.LMTP("127.0.0.1", server.ports["lmtp"])
        self.addCleanup(lmtp.close)
        lmtp.ehlo()
        lmtp.mail("x@example.net")
        for address, good in (("alice@example.org", True), ("ALICE+list@Example.ORG", True),
                              ("info@example.com", True), ("who@example.org", True),
                              ("bob@localhost", True), ("bob", True), ("bob@example.com", False),
                              ("nobody@localhost", False), ("gone@localhost", False)):
            code, text = lmtp.rcpt(address)
            self.assertEqual(code == 250, good, f"{address}: {code} {text}")
            if address.startswith("nobody"):
                self.assertTrue(text.startswith(b"5.1.1"), text)

    def test_errors_say_what_to_do(self):
        run = self.server.run
        for words, status, text in (
                (["account", "passwd", "nobody", "--password-stdin"], 1, "no such account"),
                (["account", "add", "a b", "--password-stdin"], 1, "that is no name"),
                (["account", "add"], 2, "one name is needed"),
                (["account", "frob"], 2, "--help"),
                (["account", "delete", "nobody"], 1, "--yes"),
                (["deliver", "nobody"], 67, "5.1.1"),
                (["check", "--repair"], 2, "stopped")):
            done = run(*words, input="x\n", check=False)
            self.assertEqual(done.returncode, status, (words, done.stderr))
            self.assertIn(text, done.stderr)


def openssl_passwd(kind):
    """crypt(3) of "secret", made by another program."""
    return subprocess.run(["openssl", "passwd", kind, "-salt", "abcdefgh", "secret"], check=True,
                          capture_output=True, text=True).stdout.strip()


def auth_status(server):
    return next(p for p in server.status()["processes"] if p["process"] == "auth")


if __name__ == "__main__":
    unittest.main()
