"""kill -9 of each process in turn - master, door, auth, worker, reader, tls - under mixed load of real
protocols: LMTP, IMAP and POP3, with and without TLS. Each person has an account and an outside
checker (checker.py) that remembers every acknowledgement; after every connection that broke, all is
compared, what was in doubt is settled, a delivery without an answer is sent again, and work goes on.

RESTANTE_KILL_SECONDS: how long (default 30). RESTANTE_KILL_SEED: another course of chance."""
import contextlib
import os
import random
import signal
import threading
import time
import unittest

from crash.checker import GONE, Account, Session, Wrong
from crash.steps import build_with_faults
from lib.messages import one
from lib.server import PATIENCE, Server, wait_until

SECONDS = int(os.environ.get("RESTANTE_KILL_SECONDS", "30"))
SEED = int(os.environ.get("RESTANTE_KILL_SEED", "5"))
PROCESSES = ("worker", "door", "reader", "auth", "tls", "master", "worker")
CONFIG = ("process { workers = 2 doors = 1 readers = 1 }\n"
          "store { volumes = 2 segment_size = 1M checkpoint_operations = 200 checkpoint_ms = 300\n"
          "        snapshot_operations = 1000 grace = 0 }\n"
          "timeout { start = 60 }\n")


class Person(threading.Thread):
    """Works on one account until told to stop; the first thing that is wrong ends it."""

    def __init__(self, server, name, seed, tls):
        super().__init__(daemon=True)
        self.account = Account(server, name, tls=tls)
        self.chance = random.Random(seed)
        self.number, self.made, self.sending = seed * 1000000, 0, None
        self.lives, self.failure = 0, None
        self.stopping = threading.Event()

    def run(self):
        last = time.monotonic()
        try:
            while not self.stopping.is_set():
                before = self.account.acknowledged
                try:
                    self.lives += 1
                    self.live()
                except GONE as error:
                    if self.account.acknowledged > before:
                        last = time.monotonic()
                    if time.monotonic() - last > 2 * PATIENCE:
                        raise AssertionError(f"{self.account.name}: no work for a minute: {error}")
                    self.stopping.wait(0.02)
        except BaseException as error:  # shown by the test
            self.failure = error

    def live(self):
        with Session(self.account) as session:
            if self.sending is not None:
                session.again(self.sending)
                self.sending = None
            self.account.settle()
            self.account.check()
            while not self.stopping.is_set():
                self.act(session)

    def act(self, session):
        account, chance = self.account, self.chance
        acts = ["deliver"] * 3 + ["append", "store", "store", "copy", "move", "expunge", "expunge",
                                  "pop3", "mailbox", "look"]
        act = chance.choice(acts)
        boxes = [name for name, box in account.boxes.items() if box.messages]
        if act == "deliver":
            self.number += 1
            self.sending = one(chance, self.number)
            session.deliver(self.sending)
            self.sending = None
        elif act == "append":
            self.number += 1
            session.append(chance.choice(sorted(account.boxes)), one(chance, self.number))
        elif act == "look" or not boxes:
            account.check()
        elif act == "pop3":
            session.pop3_delete(chance.randint(1, 3))
        elif act == "mailbox":
            self.change_mailboxes(session)
        else:
            box = chance.choice(sorted(boxes))
            there = sorted(account.boxes[box].messages)
            uids = sorted(chance.sample(there, min(len(there), chance.randint(1, 4))))
            if act == "store":
                flag = chance.choice(["\\Seen", "\\Answered", "$Work", "\\Draft"])
                session.store(box, uids, flag, add=chance.random() < 0.6)
            elif act == "expunge":
                session.expunge(box, there[:6] if len(there) > 12 else uids)
            else:
                target = chance.choice(sorted(set(account.boxes) - {box}))
                session.copy(box, uids, target, move=act == "move")

    def change_mailboxes(self, session):
        own = sorted(name for name in self.account.boxes if name.startswith("Box"))
        self.made += 1
        if len(own) < 2:
            session.create(f"Box{self.made % 3}")
        elif self.chance.random() < 0.5:
            session.delete(self.chance.choice(own))
        else:
            session.rename(self.chance.choice(own), f"Box-{self.made}")


def children(master):
    """name -> pids, as the kernel says."""
    found = {}
    for task in os.listdir(f"/proc/{master}/task"):
        with open(f"/proc/{master}/task/{task}/children") as file:
            for pid in file.read().split():
                with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/comm") as comm:
                    found.setdefault(comm.read().strip().removeprefix("restante-"),
                                     []).append(int(pid))
    return found


class Killing:
    """People at work on a server while its processes are killed."""

    def __init__(self, server, seed):
        self.server, self.chance = server, random.Random(seed)
        self.kills = {}
        self.people = [Person(server, name, seed * 10 + at, tls=at % 2 == 1)
                       for at, name in enumerate(("ann", "ben", "cleo"))]
        for person in self.people:
            server.account(person.account.name, "secret")

    def failure(self):
        return next((person.failure for person in self.people if person.failure), None)

    def work(self, changes):
        """Waits until everybody has made some more changes."""
        goals = [(p, p.account.acknowledged + self.chance.randint(1, changes)) for p in self.people]
        wait_until("everybody to get on with their work", lambda: self.failure() or all(
            p.account.acknowledged >= goal for p, goal in goals), patience=4 * PATIENCE)
        if self.failure():
            raise self.failure()

    def kill(self, name):
        self.kills[name] = self.kills.get(name, 0) + 1
        if name == "master":
            self.server.process.kill()
            self.server.process.wait(PATIENCE)
            self.server.process = None
            self.server.start()
            return
        pids = children(self.server.process.pid).get(name)
        if pids:  # else it is down: master waits before it starts it again
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.chance.choice(pids), signal.SIGKILL)

    def run(self, more, processes=PROCESSES, changes=12):
        """Kills, one after the other, while more() says so; raises what was found wrong."""
        for person in self.people:
            person.start()
        try:
            while more():
                self.work(changes)
                self.kill(processes[sum(self.kills.values()) % len(processes)])
            self.work(3)
        finally:
            for person in self.people:
                person.stopping.set()
            for person in self.people:
                person.join(2 * PATIENCE)
        if self.failure():
            raise self.failure()
        for person in self.people:
            person.account.check()

    def text(self):
        acknowledged = sum(p.account.acknowledged for p in self.people)
        compared = sum(p.account.checks for p in self.people)
        kills = " ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return f"killed: {kills}; {acknowledged} changes acknowledged, compared {compared} times"


class Kill(unittest.TestCase):
    def test_kill(self):
        with Server(config=CONFIG) as server:
            killing = Killing(server, SEED)
            end = time.monotonic() + SECONDS
            killing.run(lambda: time.monotonic() < end or len(killing.kills) < 6)
            before = [person.account.read() for person in killing.people]
            self.assertEqual(server.stop(), 0)
            self.assertIn("0 damaged", server.run("check").stdout)
            server.start()
            for person in killing.people:
                person.account.check()
            self.assertEqual([person.account.read() for person in killing.people], before)
            print(f"\n{killing.text()}", flush=True)

    def test_control(self):
        """Recovery that forgets what was acknowledged last must be caught."""
        with Server(config=CONFIG, build=build_with_faults(), start=False,
                    env={"RESTANTE_FAULT": "control.unproven=EIO"}) as server:
            server.start()
            killing = Killing(server, SEED)
            with self.assertRaises(Wrong):
                killing.run(lambda: sum(killing.kills.values()) < 40, processes=("worker",))


if __name__ == "__main__":
    unittest.main()
