"""Three sessions change flags and expunge in one mailbox at once. What each has been told adds up to
what is there."""
import random
import re
import threading
import unittest

from clients.test_push import Line
from lib.server import Server

COUNT, STEPS = 120, 60


class Session(threading.Thread):
    """Keeps, by what it is told alone, the list of UIDs and their flags."""

    def __init__(self, server, seed):
        super().__init__()
        self.line = Line(server)
        self.chance = random.Random(seed)
        self.uids, self.flags = [], {}
        self.failure = None
        for said in self.line.command("SELECT INBOX"):
            self.hear(said)
        for said in self.line.command("FETCH 1:* (UID FLAGS)"):
            self.hear(said)

    def hear(self, said):
        found = re.fullmatch(r"\* (\d+) (EXISTS|EXPUNGE|FETCH) ?(.*)", said)
        if found is None:
            return
        number, what, rest = int(found[1]), found[2], found[3]
        if what == "EXISTS":
            assert number >= len(self.uids), said
            self.uids += [None] * (number - len(self.uids))
        elif what == "EXPUNGE":
            del self.uids[number - 1]
        else:
            uid = int(re.search(r"UID (\d+)", rest)[1]) if "UID " in rest else self.uids[number - 1]
            if self.uids[number - 1] is None:
                self.uids[number - 1] = uid
            assert self.uids[number - 1] == uid, (said, self.uids[number - 1])
            self.flags[uid] = frozenset(re.search(r"FLAGS \(([^)]*)\)", rest)[1].split())

    def command(self, text):
        for said in self.line.command(text):
            self.hear(said)

    def step(self):
        uid = self.chance.choice([uid for uid in self.uids if uid is not None])
        what = self.chance.randrange(8)
        if what < 5:
            sign = self.chance.choice("+-")
            flag = self.chance.choice(["\\Seen", "\\Flagged", "\\Answered", "Work", "$Forwarded"])
            self.command(f"UID STORE {uid} {sign}FLAGS ({flag})")
        elif what == 5:
            self.command(f"UID STORE {uid} +FLAGS (\\Deleted)")
        elif what == 6:
            self.command("EXPUNGE")
        else:
            self.command("NOOP")

    def run(self):
        try:
            for _ in range(STEPS):
                self.step()
        except Exception as error:
            self.failure = error


class Consistency(unittest.TestCase):
    def test_three_sessions(self):
        with Server() as server:
            server.account("alice", "secret")
            with server.lmtp() as lmtp:
                for n in range(COUNT):
                    lmtp.transact("s@example.org", ["alice"], b"Subject: %d\r\n\r\nx\r\n" % n)
            sessions = [Session(server, seed) for seed in range(3)]
            for session in sessions:
                self.addCleanup(session.line.close)
                session.start()
            for n in range(20):  # mail comes in meanwhile
                server.deliver("alice", b"Subject: later %d\r\n\r\nx\r\n" % n)
            for session in sessions:
                session.join()
                if session.failure:
                    raise session.failure
            for session in sessions:
                session.command("NOOP")
                for number, uid in enumerate(session.uids, 1):
                    if uid is None:  # new mail it has not asked about yet
                        session.command(f"FETCH {number} (UID FLAGS)")
            last = Session(server, 9)  # what is there
            self.addCleanup(last.line.close)
            self.assertLess(len(last.uids), COUNT + 20, "nothing was expunged")
            for session in sessions:
                self.assertEqual(session.uids, last.uids)
                for uid in last.uids:
                    self.assertEqual(session.flags[uid] - {"\\Recent"}, last.flags[uid], uid)
            server.restart()
            after = Session(server, 10)
            self.addCleanup(after.line.close)
            self.assertEqual((after.uids, {uid: after.flags[uid] for uid in after.uids}),
                             (last.uids, {uid: last.flags[uid] for uid in last.uids}))


if __name__ == "__main__":
    unittest.main()
