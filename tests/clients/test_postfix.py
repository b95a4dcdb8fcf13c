"""Postfix in front: passwords asked over auth=unix:, mail handed in over LMTP, read over IMAP. The
protocol first by a script, then by Debian's Postfix in a directory of its own, on loopback."""
import base64
import os
import shutil
import smtplib
import socket
import subprocess
import tempfile
import unittest

from lib.server import Server, free_ports, wait_until


def plain(name, password, admin=""):
    return base64.b64encode(f"{admin}\0{name}\0{password}".encode()).decode()


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Asker:
    """As Postfix' smtpd does it."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.lines = self.socket.makefile("rb")
        self.greeting = []
        while not self.greeting or self.greeting[-1] != ["DONE"]:
            self.greeting.append(self.line())
        self.say("VERSION\t1\t0\nCPID\t4711")

    def line(self):
        return self.lines.readline().decode().rstrip("\n").split("\t")

    def say(self, text):
        self.socket.sendall(text.encode() + b"\n")

    def ask(self, text):
        self.say(text)
        return self.line()

    def close(self):
        self.lines.close()
        self.socket.close()


class Base(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="restante-postfix-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        os.chmod(self.home, 0o755)
        self.auth = os.path.join(self.home, "auth")
        self.lmtp = os.path.join(self.home, "lmtp")
        self.server = Server(f"--listen=auth=unix:{self.auth},mode=0666",
                             f"--listen=lmtp=unix:{self.lmtp},mode=0666")
        self.addCleanup(self.server.close)
        self.server.account("alice@example.net", "secret")


class Protocol(Base):
    def asker(self):
        asker = Asker(self.auth)
        self.addCleanup(asker.close)
        return asker

    def test_greeting(self):
        greeting = {line[0]: line[1:] for line in self.asker().greeting}
        self.assertEqual(greeting["VERSION"][0], "1")
        self.assertEqual(len(greeting["COOKIE"][0]), 32)
        self.assertTrue({"SPID", "CUID", "DONE"} <= set(greeting))
        self.assertEqual([line[1] for line in self.asker().greeting if line[0] == "MECH"],
                         ["PLAIN", "LOGIN"])

    def test_plain(self):
        asker = self.asker()
        ask = "AUTH\t{}\tPLAIN\tservice=smtp\tnologin\trip=127.0.0.1\tsecured\tresp={}"
        good = ["OK", "1", "user=alice@example.net"]
        self.assertEqual(asker.ask(ask.format(1, plain("alice@example.net", "secret"))), good)
        self.assertEqual(asker.ask(ask.format(2, plain("Alice@Example.NET", "secret"))),
                         ["OK", "2", "user=alice@example.net"])
        for number, initial in ((3, plain("alice@example.net", "wrong")),
                                (4, plain("nobody@example.net", "secret")), (5, "!!!"), (6, "")):
            answer = asker.ask(ask.format(number, initial))
            self.assertEqual(answer[:2], ["FAIL", str(number)], answer)

    def test_login(self):
        asker = self.asker()
        self.assertEqual(asker.ask("AUTH\t7\tLOGIN\tservice=smtp\trip=127.0.0.1\tsecured")[:2],
                         ["CONT", "7"])
        self.assertEqual(asker.ask("CONT\t7\t" + b64("alice@example.net"))[:2], ["CONT", "7"])
        self.assertEqual(asker.ask("CONT\t7\t" + b64("secret")),
                         ["OK", "7", "user=alice@example.net"])

    def test_plain_asked_for(self):
        asker = self.asker()
        self.assertEqual(asker.ask("AUTH\t1\tPLAIN\tservice=smtp\tsecured\trip=127.0.0.1"),
                         ["CONT", "1", ""])
        self.assertEqual(asker.ask("CONT\t1\t" + plain("alice@example.net", "secret"))[0], "OK")

    def test_not_secure(self):
        """A clear-text password from another machine is not looked at."""
        answer = self.asker().ask("AUTH\t1\tPLAIN\tservice=smtp\trip=192.0.2.7\tresp=" +
                                  plain("alice@example.net", "secret"))
        self.assertEqual(answer[:2], ["FAIL", "1"])

    def test_other_mechanism(self):
        self.assertEqual(self.asker().ask("AUTH\t1\tSCRAM-SHA-256\tservice=smtp\tresp=" +
                                          b64("n,,n=alice,r=x"))[:2], ["FAIL", "1"])

    def test_nonsense_ends_it(self):
        for text in ("AUTH\tx\tPLAIN", "CONT\t1\tAAAA", "VERSION\t2\t0", "AUTH", "A" * 40000):
            asker = self.asker()
            asker.say(text)
            self.assertEqual(asker.lines.read(), b"", text)

    def test_only_unix(self):
        done = subprocess.run([*self.server.command()[:4], "--listen=auth=127.0.0.1:0"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)

    def test_no_session(self):
        """Nothing but a verdict: no worker gets a session."""
        asker = self.asker()
        asker.ask("AUTH\t1\tPLAIN\trip=127.0.0.1\tsecured\tresp=" +
                  plain("alice@example.net", "secret"))
        workers = [p for p in self.server.status()["processes"] if p["process"] == "worker"]
        self.assertEqual([p["sessions"] for p in workers], [0] * len(workers))


class Postfix(Base):
    MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

    def start_postfix(self):
        postfix = "/usr/sbin/postfix"
        if not os.path.exists(postfix):
            raise unittest.SkipTest("postfix is not installed")
        if os.geteuid() != 0:
            raise unittest.SkipTest("postfix runs only as root")
        self.port = free_ports(1)[0]
        config = os.path.join(self.home, "postfix")
        for name in ("postfix", "queue", "postfix-data", "log"):
            os.mkdir(os.path.join(self.home, name))
        shutil.chown(os.path.join(self.home, "postfix-data"), "postfix")
        with open(os.path.join(config, "main.cf"), "w") as file:
            file.write(f"""
compatibility_level = 3.6
queue_directory = {self.home}/queue
data_directory = {self.home}/postfix-data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {self.home}
maillog_file = {self.home}/log/postfix
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.net
mydestination =
mynetworks =
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.net
virtual_transport = lmtp:unix:{self.lmtp}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {self.auth}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
smtpd_client_restrictions =
""")
        with open(os.path.join(config, "master.cf"), "w") as file:
            file.write(self.MASTER.format(port=self.port))
        process = subprocess.Popen([postfix, "-c", config, "start-fg"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def stop():
            subprocess.run([postfix, "-c", config, "stop"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=60)
            process.wait(30)

        self.addCleanup(stop)

        def ready():
            if process.poll() is not None:
                raise AssertionError("Postfix ended: " + self.postfix_log())
            with socket.socket() as s:
                s.settimeout(10)
                return s.connect_ex(("127.0.0.1", self.port)) == 0 and s.recv(3) == b"220"

        wait_until("Postfix to answer", ready)

    def postfix_log(self):
        try:
            with open(os.path.join(self.home, "log", "postfix")) as log:
                return log.read()[-4000:]
        except OSError:
            return "no log"

    def test_submission(self):
        self.start_postfix()
        for number, mechanism in enumerate(("plain", "login")):
            with smtplib.SMTP("127.0.0.1", self.port, timeout=60) as smtp:
                smtp.ehlo()
                self.assertIn("PLAIN", smtp.esmtp_features.get("auth", ""), self.postfix_log())
                smtp.user, smtp.password = "alice@example.net", "wrong"
                method = {"plain": smtp.auth_plain, "login": smtp.auth_login}[mechanism]
                with self.assertRaises(smtplib.SMTPAuthenticationError):
                    smtp.auth(mechanism.upper(), method)
                self.assertEqual(smtp.mail("alice@example.net")[0], 250)
                self.assertGreaterEqual(smtp.rcpt("alice@example.net")[0], 500)
                smtp.rset()
                smtp.password = "secret"
                smtp.auth(mechanism.upper(), method)
                refused = smtp.sendmail("alice@example.net", ["alice@example.net"],
                                        f"Subject: by {mechanism}\r\n\r\nhello\r\n")
                self.assertEqual(refused, {})
            imap = self.server.imap("alice@example.net", "secret")

            def arrived():
                imap.select(readonly=True)
                return imap.search(None, "SUBJECT", f'"by {mechanism}"')[1][0]

            try:
                wait_until("the message", arrived)
            except AssertionError as error:
                raise AssertionError(f"{error}: {self.postfix_log()}") from None
            imap.logout()


if __name__ == "__main__":
    unittest.main()
