"""kill -9 of the whole server, again and again, under mixed load of real protocols.

Each client thread has an account of its own and remembers every acknowledgement. After each restart:
all that was acknowledged is there, what was in doubt is there as a whole or not at all, no UID has
ever meant two messages, UIDVALIDITY stays, nothing is there twice.

RESTANTE_KILLS: how many kills (default 12)."""
import hashlib
import imaplib
import os
import random
import re
import socket
import smtplib
import threading
import time
import unittest

from lib.messages import one
from lib.server import Server, Lmtp

KILLS = int(os.environ.get("RESTANTE_KILLS", "12"))
GONE = (OSError, imaplib.IMAP4.abort, smtplib.SMTPException, EOFError, ConnectionError)


def digest(message):
    return hashlib.sha256(message).hexdigest()


class Client(threading.Thread):
    """One account: knows what must be there. doubt: the change that was asked but not answered."""

    def __init__(self, server, name, seed):
        super().__init__(daemon=True)
        self.server, self.name_, self.chance = server, name, random.Random(seed)
        self.messages = {}   # uid -> [digest, set of flags], acknowledged
        self.unplaced = {}   # digest -> count: delivered, uid not yet seen
        self.ever = {}       # uid -> digest, for all time
        self.validity = None
        self.doubt = None
        self.number = seed * 1000000
        self.acknowledged = 0
        self.failure = None
        self.stopping = False

    def run(self):
        try:
            self.work()
        except GONE:
            pass
        except Exception as error:  # shown by the test
            self.failure = error

    def message(self):
        self.number += 1
        return one(self.chance, self.number)

    def work(self):
        imap = imaplib.IMAP4("127.0.0.1", self.server.ports["imap"], timeout=30)
        imap.login(self.name_, "secret")
        imap.select("INBOX")
        lmtp = Lmtp("127.0.0.1", self.server.ports["lmtp"])
        while not self.stopping:
            kind = self.chance.choice(["deliver", "deliver", "append", "flag", "flag", "expunge"])
            getattr(self, kind)(imap, lmtp)
            self.acknowledged += 1
        imap.logout()

    def deliver(self, imap, lmtp):
        message = self.message()
        self.doubt = ("add", digest(message))
        answer = lmtp.transact("s@example.org", [self.name_], message)[self.name_]
        assert answer[0] == 250, answer
        key = digest(message)
        self.unplaced[key] = self.unplaced.get(key, 0) + 1
        self.doubt = None

    def append(self, imap, lmtp):
        message = self.message()
        self.doubt = ("add", digest(message))
        status, data = imap.append("INBOX", "(\\Flagged)", None, message)
        assert status == "OK", data
        uid = int(re.search(rb"APPENDUID \d+ (\d+)", data[0]).group(1))
        self.place(uid, digest(message), {"\\Flagged"})
        self.doubt = None

    def flag(self, imap, lmtp):
        if not self.messages:
            return
        uid = self.chance.choice(sorted(self.messages))
        flag = self.chance.choice(["\\Seen", "\\Answered", "$Work", "\\Draft"])
        add = self.chance.random() < 0.6
        self.doubt = ("flag", uid, flag)
        status, data = imap.uid("STORE", str(uid), "+FLAGS" if add else "-FLAGS", f"({flag})")
        assert status == "OK", data
        (self.messages[uid][1].add if add else self.messages[uid][1].discard)(flag)
        self.doubt = None

    def expunge(self, imap, lmtp):
        if len(self.messages) < 5:
            return
        uid = self.chance.choice(sorted(self.messages))
        self.doubt = ("flag", uid, "\\Deleted")
        assert imap.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
        self.doubt = ("expunge", uid)
        assert imap.uid("EXPUNGE", str(uid))[0] == "OK"
        del self.messages[uid]
        self.doubt = None

    def place(self, uid, key, flags):
        assert self.ever.setdefault(uid, key) == key, f"UID {uid} means two messages"
        self.messages[uid] = [key, flags]

    def check(self):
        """Compares the server with what was acknowledged; settles what was in doubt."""
        imap = self.server.imap(self.name_, "secret")
        imap.select("INBOX", readonly=True)
        validity = imap.response("UIDVALIDITY")[1]
        assert self.validity in (None, validity), "UIDVALIDITY changed"
        self.validity = validity
        _, data = imap.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")
        there = {}
        for part in data:
            if not isinstance(part, tuple):
                continue
            uid = int(re.search(rb"UID (\d+)", part[0]).group(1))
            flags = set(re.search(rb"FLAGS \(([^)]*)\)", part[0]).group(1).decode().split())
            body = part[1]
            if body.startswith(b"Return-Path:"):
                body = body[body.index(b"\r\nFrom: Sender ") + 2:]
            assert uid not in there
            there[uid] = [digest(body), flags]
        imap.logout()
        for uid, (key, flags) in there.items():
            assert self.ever.setdefault(uid, key) == key, f"UID {uid} means two messages"
        doubt, self.doubt = self.doubt, None
        for uid, (key, flags) in list(self.messages.items()):
            if doubt == ("expunge", uid) and uid not in there:
                del self.messages[uid]
                continue
            assert uid in there, f"{self.name_}: acknowledged UID {uid} is lost"
            assert there[uid][0] == key, f"UID {uid} was altered"
            wrong = there[uid][1] ^ flags
            if doubt and doubt[:2] == ("flag", uid):
                wrong -= {doubt[2]}
            if doubt and doubt[:2] == ("expunge", uid):
                wrong -= {"\\Deleted"}
            assert not wrong, f"{self.name_}: flags of UID {uid} differ by {wrong}"
            self.messages[uid][1] = there[uid][1]
        for uid, (key, flags) in there.items():
            if uid in self.messages:
                continue
            if self.unplaced.get(key):
                self.unplaced[key] -= 1
            else:
                assert doubt == ("add", key), f"{self.name_}: UID {uid} was never sent, or is twice"
                doubt = None
            self.place(uid, key, flags)
        lost = [key for key, count in self.unplaced.items() if count]
        assert not lost, f"{self.name_}: {len(lost)} acknowledged deliveries are lost"

    def again(self):
        """A new thread that goes on with the same memory."""
        fresh = Client(self.server, self.name_, 0)
        fresh.__dict__.update({key: value for key, value in self.__dict__.items()
                               if key in ("chance", "messages", "unplaced", "ever", "validity",
                                          "number", "acknowledged")})
        return fresh


class Kill(unittest.TestCase):
    def test_kill(self):
        chance = random.Random(5)
        config = ("store { segment-size = 1M checkpoint-operations = 200 checkpoint-ms = 300 "
                  "snapshot-operations = 1000 }\n").replace("-", "_")
        with Server(config=config) as server:
            names = ["ann", "ben", "cleo"]
            for name in names:
                server.account(name, "secret")
            clients = [Client(server, name, seed) for seed, name in enumerate(names, 1)]
            for _ in range(KILLS):
                for client in clients:
                    client.start()
                busy = time.monotonic() + 0.3 + chance.random() * 1.2
                while time.monotonic() < busy and all(c.is_alive() for c in clients):
                    time.sleep(0.01)
                server.kill()
                for client in clients:
                    client.join(60)
                    if client.failure:
                        raise client.failure
                server.start()
                for client in clients:
                    client.check()
                clients = [client.again() for client in clients]
            self.assertGreater(sum(c.acknowledged for c in clients), 20 * KILLS)


if __name__ == "__main__":
    unittest.main()
