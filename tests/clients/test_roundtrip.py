"""Every byte that came in over LMTP comes out over IMAP and POP3, also after kill -9; in the order in
which it came. What clients make of it, and of real mail, is in test_programs.py."""
import unittest

from lib.messages import generated
from lib.server import Server

PREFIX_END = b"\r\n"


def without_prefix(served, original):
    """The delivery prefix is Return-Path, Delivered-To and Received, ahead of what came."""
    assert served.endswith(original), "the message itself was altered"
    prefix = served[:len(served) - len(original)]
    names = [line.split(b":")[0] for line in prefix.split(b"\r\n")
             if line and not line.startswith((b" ", b"\t"))]
    assert names == [b"Return-Path", b"Delivered-To", b"Received"], names
    assert len(prefix) <= 2048
    return prefix


def imap_messages(server, name, password):
    """uid -> bytes of the INBOX; sizes announced are sizes sent."""
    imap = server.imap(name, password)
    imap.select("INBOX", readonly=True)
    found = {}
    status, data = imap.uid("FETCH", "1:*", "(UID RFC822.SIZE BODY.PEEK[])")
    assert status == "OK", data
    for part in data:
        if isinstance(part, tuple):
            words = part[0].split()
            uid = int(words[words.index(b"(UID") + 1] if b"(UID" in words else
                      words[words.index(b"UID") + 1])
            size = int(words[words.index(b"RFC822.SIZE") + 1] if b"RFC822.SIZE" in words else
                       words[words.index(b"(RFC822.SIZE") + 1])
            assert size == len(part[1]), (uid, size, len(part[1]))
            found[uid] = part[1]
    imap.logout()
    return found


class RoundTrip(unittest.TestCase):
    def check(self, messages, server, kill):
        sent = []
        with server.lmtp() as lmtp:
            for message in messages:
                answers = lmtp.transact("s@example.org", ["alice"], message)
                self.assertEqual(answers["alice"][0], 250, answers)
                sent.append(message)
        if kill:
            server.restart()
        got = imap_messages(server, "alice", "secret")
        self.assertEqual(sorted(got), list(range(1, len(sent) + 1)))
        for uid, message in enumerate(sent, 1):
            without_prefix(got[uid], message)
        pop3 = server.pop3("alice", "secret")
        count, octets = pop3.stat()
        self.assertEqual(count, len(sent))
        sizes = [int(line.split()[1]) for line in pop3.list()[1]]
        uidls = [line.split()[1].decode() for line in pop3.uidl()[1]]
        self.assertEqual(len(set(uidls)), count)
        for number in range(1, count + 1):
            _, lines, _ = pop3.retr(number)
            body = b"".join(line + b"\r\n" for line in lines)
            self.assertEqual(body, got[number])
            self.assertEqual(len(body), sizes[number - 1])
        self.assertEqual(sum(sizes), octets)
        pop3.quit()

    def test_generated(self):
        for kill in (False, True):
            with self.subTest(kill=kill), Server() as server:
                server.account("alice", "secret")
                self.check(generated(1000, seed=7), server, kill)


if __name__ == "__main__":
    unittest.main()
