"""Programs that people use fetch everything once, every byte right, and nothing the second time,
with lines that break and a server that dies in between."""
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from lib import programs
from lib.messages import corpus, generated, wire
from lib.programs import need
from lib.proxy import Proxy
from lib.server import Server

COUNT = 1000
# The fields that a delivery puts ahead of what came, in this order and nothing else.
PREFIX = re.compile(rb"(?:Return-Path: <s@example\.org>\r?\n)?"
                    rb"Delivered-To: \w+\r?\n"
                    rb"Received: from .*\r?\n(?:\t.*\r?\n)+")


class Fetching(unittest.TestCase):
    """One server for the tests of a class; deriving classes say what it holds."""
    @classmethod
    def setUpClass(cls):
        cls.messages = list(cls.what())  # before a server is there: this may skip the class
        cls.server = Server()
        cls.addClassCleanup(cls.server.close)
        cls.server.account(programs.USER, programs.PASSWORD)
        with cls.server.lmtp() as lmtp:
            for message in cls.messages:
                answers = lmtp.transact("s@example.org", [programs.USER], message)
                assert answers[programs.USER][0] == 250, answers

    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="restante-client-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)

    def check(self, make):
        program = make(self.home)
        third = sum(map(len, self.messages)) // 3
        with Proxy(self.server.ports[program.protocol], program.needs_reset) as proxy:
            proxy.breaks = [(third, None), (third, self.server.restart)]
            program.fetch(proxy.port, good=None)
            program.fetch(proxy.port, good=None)
            program.fetch(proxy.port, good=(0, program.nothing_new))
            self.assertEqual(proxy.breaks, [])
            self.assert_all_there(program)
            self.server.restart()
            proxy.forget()
            before = program.files()
            program.fetch(proxy.port, good=(program.nothing_new,))
            self.assertEqual(program.files(), before)
            self.assertEqual(proxy.asked(), program.asks_again(self.messages))

    def assert_all_there(self, program):
        """Each message that was sent is there once, behind what its delivery put ahead."""
        found = collections.Counter()
        for message in program.messages():
            prefix = PREFIX.match(message)
            self.assertTrue(prefix, message[:1000])
            found[message[prefix.end():]] += 1
        if program.forgets:
            found = collections.Counter(dict.fromkeys(found, 1))
        wanted = collections.Counter(program.as_kept(message) for message in self.messages
                                     if not program.passes_over(message))
        for message in wanted - found:
            self.fail(f"{(wanted - found).total()} missing or altered, one is\n{message[:1000]}")
        for message in found - wanted:
            self.fail(f"{(found - wanted).total()} too many, one is\n{message[:1000]}")


class Programs(Fetching):
    @staticmethod
    def what():
        return generated(COUNT, seed=11)

    def client(self, *command, good=(0,)):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=120)
        self.assertIn(done.returncode, good, done.stdout.decode(errors="replace")[-3000:])
        return done.stdout

    def test_mbsync(self):
        self.check(programs.Mbsync)
        self.assertTrue({"Drafts", "Sent", "Trash", "Junk", "Archive"} <=
                        set(os.listdir(os.path.join(self.home, "mail"))))

    def test_offlineimap(self):
        self.check(programs.OfflineImap)

    def test_fetchmail_pop3(self):
        self.check(programs.FetchmailPop3)

    def test_fetchmail_imap(self):
        imap = self.server.imap("alice", "secret")  # it passes over what others have read
        imap.select()
        imap.store("1:*", "-FLAGS.SILENT", "(\\Seen)")
        imap.logout()
        self.check(programs.Fetchmail)

    def test_getmail_pop3(self):
        self.check(programs.GetmailPop3)

    def test_getmail_imap(self):
        self.check(programs.Getmail)

    def test_mpop(self):
        self.check(programs.Mpop)

    def test_neomutt(self):
        self.check(programs.Neomutt)

    def test_neomutt_without_header(self):
        """It shows only messages of whose header something comes (as from Dovecot)."""
        program = programs.Neomutt(self.home, "bare")
        self.server.account("bare", programs.PASSWORD)
        imap = self.server.imap("bare", programs.PASSWORD)
        for message in (b"// not a message\r\n", b"X-None: of those asked for\r\n", b"\r\nbody\r\n"):
            self.assertEqual(imap.append("INBOX", None, None, message)[0], "OK")
        imap.logout()
        program.fetch(self.server.ports["imap"])
        self.assertEqual(len(list(program.messages())), 3)

    def test_curl_imap(self):
        self.check(programs.Curl)

    def test_curl_pop3(self):
        self.check(programs.CurlPop3)

    def test_imaplib(self):
        self.check(programs.Imaplib)

    def test_poplib(self):
        self.check(programs.Poplib)

    def test_swaks(self):
        """1,000 deliveries, of which some lose their answer: those are repeated, and kept once. The
        others go on while the server is killed in between."""
        self.server.account("swaks", programs.PASSWORD)
        port = self.server.ports["lmtp"]
        quarters = [self.messages[n::4] for n in range(4)]
        senders = []
        for n in range(4):
            senders.append(programs.Swaks(os.path.join(self.home, str(n)), "swaks"))
        with Proxy(port) as proxy, concurrent.futures.ThreadPoolExecutor() as pool:
            self.assertEqual(senders[0].deliver(proxy.port, quarters[0][:1]), [0])
            whole, lost = proxy.heard, 10
            answer = whole - len(b"250 2.0.0 <swaks> kept\r\n") - len(self.farewell()) + 1
            proxy.forget()
            proxy.breaks = [(whole * 10 + answer, None)] * lost  # one byte of it comes through
            proxy.breaks[3] = (whole * 10 + answer, self.server.restart)
            done = list(pool.map(lambda n: senders[n].deliver(port if n else proxy.port, quarters[n]),
                                 range(4)))
            self.assertEqual(proxy.breaks, [])
        again = [message for sent, statuses in zip(quarters, done)
                 for message, status in zip(sent, statuses, strict=True) if status]
        imap = self.server.imap("swaks", programs.PASSWORD)
        kept = int(imap.select()[1][0])
        imap.logout()
        self.assertGreaterEqual(kept, COUNT - len(again) + lost)
        self.assertEqual(senders[0].deliver(port, again), [0] * len(again))
        reader = programs.Imaplib(os.path.join(self.home, "reader"), "swaks")
        reader.fetch(self.server.ports["imap"])
        self.assert_all_there(reader)

    def farewell(self):
        with self.server.lmtp() as lmtp:
            return b"%d %s\r\n" % lmtp.quit()

    def test_swaks_options(self):
        """A mail system's way in, with and without TLS, pipelined too."""
        need("swaks")
        self.server.account("options", "secret")
        to = ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--to", "options",
              "--port", str(self.server.ports["lmtp"]), "--from", "s@example.org"]
        for n, options in enumerate(([], ["--pipeline"], ["--tls"], ["--pipeline", "--tls"])):
            self.client(*to, *options, "--header", f"Subject: number {n}", "--body", "Gr\u00fc\u00dfe")
        self.client(*to[:-2], "--from", "<>", "--header", "Subject: bounce")
        self.client(*("nobody-here" if word == "options" else word for word in to),
                    good=(24,))  # no recipient was taken
        imap = self.server.imap("options", "secret")
        self.addCleanup(imap.shutdown)
        self.assertEqual(imap.select()[1], [b"5"])

    def test_curl_tls(self):
        need("curl")
        ports = self.server.ports
        for url, extra in ((f"imap://127.0.0.1:{ports['imap']}/INBOX;UID=", ["--ssl-reqd"]),
                           (f"imaps://127.0.0.1:{ports['imaps']}/INBOX;UID=", []),
                           (f"pop3://127.0.0.1:{ports['pop3']}/", ["--ssl-reqd"]),
                           (f"pop3s://127.0.0.1:{ports['pop3s']}/", [])):
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


class Corpus(Fetching):
    """Mail as it is, for the programs that are quick and keep the bytes that they are given: the
    others, and why they are not here, are in doc/real-mail.md."""
    @staticmethod
    def what():
        return dict.fromkeys(wire(raw) for _, raw in corpus())  # equal ones once

    def test_mbsync(self):
        self.check(programs.Mbsync)

    def test_mpop(self):
        self.check(programs.Mpop)

    def test_curl_imap(self):
        self.check(programs.Curl)

    def test_curl_pop3(self):
        self.check(programs.CurlPop3)

    def test_imaplib(self):
        self.check(programs.Imaplib)

    def test_poplib(self):
        self.check(programs.Poplib)


if __name__ == "__main__":
    unittest.main()
