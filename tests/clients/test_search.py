"""SEARCH over IMAP: words that Python decodes out of real messages are found in them; a reader that
is killed while it searches costs nothing; a client that is gone ends its search."""
import email
import email.header
import email.policy
import os
import re
import signal
import unittest

from lib.messages import corpus, generated, wire
from lib.server import Server, wait_until


def words(text, most=3):
    """The longest words of letters, which nobody could wrap or change."""
    found = {word for word in re.findall(r"[^\W\d_]{5,30}", text) if "\ufffd" not in word}
    return sorted(found, key=lambda word: (-len(word.encode()), word))[:most]


def decoded_subject(message):
    raw = message.get("Subject")
    if raw is None or any(ord(c) > 127 for c in str(raw)):
        return ""  # raw 8-bit: which set is meant is anybody's guess
    parts = email.header.decode_header(str(raw))
    return " ".join(part if isinstance(part, str) else part.decode(charset or "ascii")
                    for part, charset in parts)


def decoded_text(message):
    """Of the first text/plain that Python decodes strictly; empty when there is none."""
    for part in message.walk():
        if part.get_content_type() == "text/plain" and not part.is_multipart():
            charset = part.get_content_charset()
            return (part.get_payload(decode=True) or b"").decode(charset) if charset else ""
    return ""


def uids(imap, *criteria, literal=None):
    if literal is not None:
        imap.literal = literal.encode()
    kind, data = imap.uid("SEARCH", *criteria)
    assert kind == "OK", data
    return {int(uid) for uid in data[0].split()}


class Search(unittest.TestCase):
    def open(self, server):
        imap = server.imap("alice", "secret")
        imap.select("INBOX")
        return imap

    def append(self, imap, raw):
        kind, data = imap.append("INBOX", None, None, wire(raw))
        self.assertEqual(kind, "OK", data)
        return int(re.search(rb"APPENDUID \d+ (\d+)", data[0]).group(1))

    def test_corpus(self):
        wanted = 200
        with Server() as server:
            server.account("alice", "secret")
            imap = self.open(server)
            tried = 0
            for name, raw in corpus():
                if tried == wanted:
                    break
                message = email.message_from_bytes(raw, policy=email.policy.compat32)
                try:
                    texts = {"SUBJECT": decoded_subject(message), "BODY": decoded_text(message)}
                except (LookupError, UnicodeError, ValueError):
                    continue
                if message.defects or not any(words(text) for text in texts.values()):
                    continue
                if all(ord(c) < 128 for c in "".join(texts.values())) and tried % 4:
                    continue  # most mail is ASCII
                tried += 1
                uid = self.append(imap, raw)
                imap.noop()
                for key, text in texts.items():
                    for word in words(text):
                        for form in (word, word.upper(), word.lower()):
                            for where in (key, "TEXT"):
                                found = uids(imap, "CHARSET", "UTF-8", "UID", str(uid), where,
                                             literal=form)
                                self.assertEqual(found, {uid}, f"{name}: {where} {form!r}")
            self.assertEqual(tried, wanted)
            imap.logout()

    def test_many(self):
        """What is found in many messages of many sets is what their text says."""
        raws = list(generated(400, seed=11))
        with Server() as server:
            server.account("alice", "secret")
            imap = self.open(server)
            expected = {word: set() for word in ("window", "naïve", "ПРИВЕТ", "こんにちは", "größer")}
            unlabelled = set()
            for raw in raws:
                uid = self.append(imap, raw)
                message = email.message_from_bytes(raw)
                part = message.get_payload(0) if message.is_multipart() else message
                charset = part.get_content_charset()
                if charset is None:
                    unlabelled.add(uid)
                    continue
                text = (part.get_payload(decode=True) or b"").decode(charset, "replace").casefold()
                for word, found in expected.items():
                    if word.casefold() in text:
                        found.add(uid)
            imap.noop()
            for word, found in expected.items():
                hits = uids(imap, "CHARSET", "UTF-8", "BODY", literal=word)
                self.assertEqual(hits - unlabelled, found, word)
            self.assertTrue(all(expected.values()))
            imap.logout()

    def test_reader_killed(self):
        with Server(config="process { readers = 2 }\n") as server:
            server.account("alice", "secret")
            imap = self.open(server)
            needle = b"needle" + b"y" * 10
            for n in range(60):
                self.append(imap, b"Subject: %d\r\n\r\n" % n + b"x" * 200000 + b" " + needle)
            imap.noop()
            for _ in range(5):
                # Both there again: with one that died for the second time, a batch counts as searched.
                pids = wait_until("both readers", lambda: self.readers(server))
                imap.send(b"k SEARCH BODY needleyyyy\r\n")
                os.kill(pids[0], signal.SIGKILL)
                lines = self.until(imap, b"k ")
                self.assertEqual(lines[-1][:4], b"k OK", lines)
                self.assertEqual(len(lines[0].split()) - 2, 60, lines)
            imap.logout()

    def readers(self, server):
        master = next(p for p in server.status()["processes"] if p["process"] == "master")
        pids = [p["pid"] for p in master["processes"]
                if p["process"] == "reader" and p["state"] == "ready"]
        return pids if len(pids) == 2 else None

    def until(self, imap, tag):
        lines = []
        while not lines or not lines[-1].startswith(tag):
            lines.append(imap.readline())
        return lines

    def test_gone(self):
        """A client that closes in the middle of a search is forgotten; the next one is served."""
        with Server() as server:
            server.account("alice", "secret")
            imap = self.open(server)
            for n in range(40):
                self.append(imap, b"Subject: %d\r\n\r\n" % n + b"x" * 100000)
            for _ in range(10):
                gone = self.open(server)
                gone.send(b"g SEARCH BODY nothing\r\n")
                gone.shutdown()
            self.assertEqual(len(uids(imap, "TEXT", "xxxx")), 40)
            imap.logout()
            self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
