"""Programs that people use fetch everything once, every byte right, and nothing the second time."""
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from lib.messages import generated
from lib.server import Server

COUNT = 200


def need(program):
    if shutil.which(program) is None:
        raise unittest.SkipTest(f"{program} is not installed")


class Programs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)
        cls.server.account("alice", "secret")
        cls.messages = list(generated(COUNT, seed=11))
        with cls.server.lmtp() as lmtp:
            for message in cls.messages:
                answers = lmtp.transact("s@example.org", ["alice"], message)
                assert answers["alice"][0] == 250, answers

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="restante-client-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def client(self, *command, good=(0,), **others):
        done = subprocess.run(command, **others, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120,
                              env=dict(os.environ, HOME=self.home, FETCHMAILHOME=self.home))
        self.assertIn(done.returncode, good, done.stdout.decode(errors="replace")[-3000:])
        return done.stdout

    def write(self, name, text):
        path = os.path.join(self.home, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def assert_all_there(self, bodies):
        """Each message sent is the end of exactly one fetched."""
        wanted = sorted(hashlib.sha256(m.replace(b"\r\n", b"\n")).digest() for m in self.messages)
        found = []
        for body in bodies:
            body = re.sub(rb"X-TUID: .*\n", b"", body.replace(b"\r\n", b"\n"))  # mbsync's mark
            start = body.find(b"From: Sender ")
            found.append(hashlib.sha256(body[start:]).digest())
        self.assertEqual(sorted(found), wanted)

    def maildir(self, path):
        """name of file -> inode, of every message."""
        return {name: os.stat(os.path.join(path, part, name)).st_ino
                for part in ("cur", "new") for name in os.listdir(os.path.join(path, part))}

    def test_mbsync(self):
        need("mbsync")
        mail = os.path.join(self.home, "mail")
        os.mkdir(mail)
        rc = self.write("mbsyncrc", f"""
IMAPAccount there
Host 127.0.0.1
Port {self.server.ports['imap']}
User alice
Pass secret
SSLType None
AuthMechs LOGIN

IMAPStore far
Account there

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
SyncState *
""")
        self.client("mbsync", "-c", rc, "-a")
        inbox = os.path.join(mail, "INBOX")
        first = self.maildir(inbox)
        self.assertEqual(len(first), COUNT)
        bodies = []
        for part in ("cur", "new"):
            for name in os.listdir(os.path.join(inbox, part)):
                with open(os.path.join(inbox, part, name), "rb") as file:
                    bodies.append(file.read())
        self.assert_all_there(bodies)
        self.assertTrue({"Drafts", "Sent", "Trash", "Junk", "Archive"} <= set(os.listdir(mail)))
        self.server.restart()
        self.client("mbsync", "-c", rc, "-a")
        self.assertEqual(self.maildir(inbox), first)

    def fetchmail(self, protocol, *options):
        need("fetchmail")
        imap = self.server.imap("alice", "secret")  # it passes over what the other tests have read
        imap.select()
        imap.store("1:*", "-FLAGS.SILENT", "(\\Seen)")
        imap.logout()
        out = os.path.join(self.home, protocol)
        os.mkdir(out)
        rc = self.write("rc", f"""
poll 127.0.0.1 protocol {protocol} service {self.server.ports[protocol]} {' '.join(options)}
  user alice password secret keep
  sslproto '' mda "cat > $(mktemp {out}/XXXXXXXX)"
""")
        self.client("fetchmail", "-f", rc, "--nodetach", "--nosyslog")
        bodies = []
        for name in os.listdir(out):
            with open(os.path.join(out, name), "rb") as file:
                bodies.append(file.read())
        self.assertEqual(len(bodies), COUNT)
        self.server.restart()
        self.client("fetchmail", "-f", rc, "--nodetach", "--nosyslog", good=(1,))  # 1: no mail
        self.assertEqual(len(os.listdir(out)), COUNT)

    def test_fetchmail_pop3(self):
        self.fetchmail("pop3", "uidl")

    def test_fetchmail_imap(self):
        self.fetchmail("imap")

    def test_getmail(self):
        need("getmail")
        mail = os.path.join(self.home, "mail")
        os.mkdir(mail)
        # getmail 6 misses the end of a child that ends before it waits; so ours looks if it does.
        keep = self.write("keep", f"""
until sed -n 's/^State:.//p; s/^SigCgt:.//p' /proc/$PPID/status | tr -d '\\n' |
  grep -q '^S (sleeping).*[13579bdf]....$'; do :; done
cat > $(mktemp {mail}/XXXXXXXX)
""")
        other = {}
        if os.geteuid() == 0:  # which it refuses to be
            subprocess.run(["chown", "-R", "nobody", self.home], check=True)
            other = dict(user="nobody", group="nogroup", extra_groups=[])
        rc = self.write("rc", f"""
[retriever]
type = SimplePOP3Retriever
server = 127.0.0.1
port = {self.server.ports['pop3']}
username = alice
password = secret
[destination]
type = MDA_external
path = /bin/sh
arguments = ("{keep}",)
[options]
read_all = false
delivered_to = false
received = false
""")
        os.chmod(rc, 0o644)
        os.chmod(keep, 0o644)
        getmail = ["getmail", f"--getmaildir={self.home}", f"--rcfile={rc}"]
        self.client(*getmail, **other)
        bodies = []
        for name in os.listdir(mail):
            with open(os.path.join(mail, name), "rb") as file:
                bodies.append(file.read())
            os.unlink(os.path.join(mail, name))
        self.assertEqual(len(bodies), COUNT)
        self.assert_all_there(bodies)
        self.server.restart()
        self.client(*getmail, **other)
        self.assertEqual(os.listdir(mail), [])

    def test_mpop(self):
        need("mpop")
        mail = os.path.join(self.home, "mail")
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(mail, part))
        self.write(".mpoprc", f"""
account there
host 127.0.0.1
port {self.server.ports['pop3']}
user alice
password secret
auth plain
tls off
keep on
uidls_file {self.home}/uidls
received_header off
delivery maildir {mail}
account default : there
""")
        self.client("mpop")
        self.assertEqual(len(os.listdir(os.path.join(mail, "new"))), COUNT)
        bodies = []
        for name in os.listdir(os.path.join(mail, "new")):
            with open(os.path.join(mail, "new", name), "rb") as file:
                bodies.append(file.read())
        self.assert_all_there(bodies)
        self.server.restart()
        said = self.client("mpop")
        self.assertIn(b"new: no messages", said)
        self.assertEqual(len(os.listdir(os.path.join(mail, "new"))), COUNT)

    def test_swaks(self):
        """A mail system's way in, with and without TLS, pipelined too."""
        need("swaks")
        self.server.account("swaks", "secret")
        to = ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--to", "swaks",
              "--port", str(self.server.ports["lmtp"]), "--from", "s@example.org"]
        for n, options in enumerate(([], ["--pipeline"], ["--tls"], ["--pipeline", "--tls"])):
            self.client(*to, *options, "--header", f"Subject: number {n}", "--body", "Gr\u00fc\u00dfe")
        self.client(*to[:-2], "--from", "<>", "--header", "Subject: bounce")
        self.client(*(word if word != "swaks" or i == 0 else "nobody-here" for i, word in enumerate(to)),
                    good=(24,))  # no recipient was taken
        imap = self.server.imap("swaks", "secret")
        self.addCleanup(imap.shutdown)
        self.assertEqual(imap.select()[1], [b"5"])

    def test_curl(self):
        need("curl")
        ports = self.server.ports
        for url, extra in ((f"imap://127.0.0.1:{ports['imap']}/INBOX;UID=", ["--ssl-reqd"]),
                           (f"imaps://127.0.0.1:{ports['imaps']}/INBOX;UID=", []),
                           (f"imap://127.0.0.1:{ports['imap']}/INBOX;UID=", []),
                           (f"pop3://127.0.0.1:{ports['pop3']}/", ["--ssl-reqd"]),
                           (f"pop3s://127.0.0.1:{ports['pop3s']}/", []),
                           (f"pop3://127.0.0.1:{ports['pop3']}/", [])):
            with self.subTest(url=url, extra=extra):
                for number in (1, COUNT):
                    body = self.client("curl", "-sS", "-k", *extra, "-u", "alice:secret",
                                       url + str(number))
                    sent = self.messages[number - 1]
                    self.assertTrue(body.endswith(sent), body[:300])

    def test_scram(self):
        need("gsasl")
        for mechanism, *options in (("SCRAM-SHA-256", "--no-starttls"),
                                    ("SCRAM-SHA-256", "--starttls", "--no-cb"),
                                    ("SCRAM-SHA-256-PLUS", "--starttls"),
                                    ("PLAIN", "--starttls")):
            with self.subTest(mechanism=mechanism, options=options):
                for password, good in (("secret", (0,)), ("wrong", (1,))):
                    self.client("gsasl", "--imap", "--quiet", "--x509-ca-file=", *options,
                                f"--connect=127.0.0.1:{self.server.ports['imap']}",
                                "--mechanism", mechanism, "--authentication-id", "alice",
                                "--password", password, good=good)


if __name__ == "__main__":
    unittest.main()
