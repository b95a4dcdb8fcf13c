"""Stop at every step. A worker dies at its Nth step (base/fault.h: of the store, the mailbox layer,
IMAP, POP3, import) of a day in the life of an account, as by kill -9; the whole server is started
again, and the outside checker compares. Then all is started once more, and nothing has changed.
`restante check --repair` is stopped at every step of its own.

RESTANTE_STEPS: how many of the steps are tried, evenly spread (default 16; 0: every one)."""
import os
import random
import shutil
import tempfile
import unittest

from crash.checker import GONE, Account, Change, Refused, Session, Wrong, digest
from crash.steps import build_with_faults
from lib.messages import one
from lib.server import Server

TRIED = int(os.environ.get("RESTANTE_STEPS", "16"))
CONFIG = """
process { workers = 1 doors = 1 readers = 1 }
store { volumes = 1 segment_size = 65536 checkpoint_operations = 20 checkpoint_ms = 10
        snapshot_operations = 60 journal_keep = 0 grace = 0 }
"""


class Day:
    """What is done to the account, always the same."""

    def __init__(self, server, home):
        self.server, self.account = server, Account(server, "ann")
        self.chance = random.Random(11)
        self.messages = [one(self.chance, number) for number in range(16)]
        self.maildir = os.path.join(home, "Maildir")
        self.export = os.path.join(home, "out")
        self.delivering = None
        self.importing = False

    def deliver(self, session, number):
        self.delivering = self.messages[number]
        session.deliver(self.delivering)
        self.delivering = None

    def live(self):
        account = self.account
        with Session(account) as session:
            for number in range(5):
                self.deliver(session, number)
            session.create("Work")
            session.create("Old")
            session.append("Work", self.messages[5], ("\\Seen", "$Todo"))
            account.check()  # a client learns the UIDs of what was delivered
            uids = sorted(account.boxes["INBOX"].messages)
            session.store("INBOX", uids[:4], "\\Answered")
            session.store("INBOX", uids[1:2], "\\Answered", add=False)
            session.copy("INBOX", uids[:3], "Work")
            session.copy("INBOX", uids[3:], "Old", move=True)
            session.expunge("INBOX", uids[1:2])
            session.rename("Work", "Deep/Work")
            session.delete("Old")
            session.create("Old")
            self.deliver(session, 6)
            self.deliver(session, 7)
            account.check()
            session.pop3_delete(2)
            self.import_maildir()
            session.append("INBOX", self.messages[8])
            self.export_maildir()
            session.rename("INBOX", "Saved")
            self.deliver(session, 9)

    def make_maildir(self):
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.maildir, ".Imported", part))
            os.makedirs(os.path.join(self.maildir, part))
        for number in range(10, 16):
            path = os.path.join(self.maildir, ".Imported", "cur", f"{1600000000 + number}.M1.host:2,S")
            with open(path, "wb") as file:
                file.write(self.messages[number])

    def import_maildir(self):
        box = self.account.boxes.get("Imported")
        there = {m.key for m in box.messages.values()} if box else set()
        keys = [digest(m) for m in self.messages[10:]]
        self.importing = True
        self.account.ask(Change(whole=False, created=None if box else "Imported",
                                added=[("Imported", key, frozenset({"\\Seen"})) for key in keys
                                       if key not in there]))
        self.tool("import", "ann", "maildir", self.maildir)
        self.account.answered()
        self.importing = False

    def export_maildir(self):
        self.tool("export", "ann", "maildir", self.export)
        self.account.check()
        kept = sum(len(box.messages) for box in self.account.boxes.values())
        files = [os.path.join(path, name) for path, _, names in os.walk(self.export)
                 for name in names if os.path.basename(path) in ("cur", "new")]
        if len(files) != kept:
            raise Wrong(f"exported {len(files)} of {kept}")

    def tool(self, *words):
        done = self.server.run(*words, check=False)
        if done.returncode != 0:
            raise Refused(done.stderr)

    def finish(self):
        """After the crash: what was cut off is done again, as whoever asked for it would."""
        if self.delivering is not None:
            with Session(self.account) as session:
                session.again(self.delivering)
        self.account.check()
        if self.importing:
            self.import_maildir()
        self.export_maildir()


class Steps(unittest.TestCase):
    def setUp(self):
        self.build = build_with_faults()
        self.home = tempfile.mkdtemp(prefix="restante-steps-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        os.chmod(self.home, 0o755)
        self.runs = 0
        with Server(data=self.made("template"), config=CONFIG, build=self.build) as server:
            server.account("ann", "secret")
            self.assertEqual(server.stop(), 0)

    def made(self, name):
        path = os.path.join(self.home, name, "data")
        os.makedirs(path)
        return path

    def begin(self, faults):
        """A server with one account whose worker will die as it is told, not started yet."""
        self.runs += 1
        home = os.path.join(self.home, str(self.runs))
        shutil.copytree(os.path.join(self.home, "template"), home)
        server = Server(data=os.path.join(home, "data"), config=CONFIG, build=self.build,
                        start=False)
        self.addCleanup(server.kill)
        server.env.update(RESTANTE_FAULT=faults, RESTANTE_FAULT_IN="restante-worker",
                          RESTANTE_FAULT_COUNT=os.path.join(server.data, "volumes", "0", "steps"))
        day = Day(server, home)
        day.make_maildir()
        return server, day

    def start(self, server):
        """It may end at once, when the step is one of the start."""
        try:
            server.start()
        except AssertionError:
            if server.process.poll() is None:
                raise
            raise Refused("not started")

    def end(self, server, faults=None):
        server.kill()
        server.env["RESTANTE_FAULT"] = faults or ""
        server.start()

    def one(self, faults, after=None):
        """A day that ends like that. True: it was met. after: faults of the next start too."""
        server, day = self.begin(faults)
        met = True
        try:
            self.start(server)
            day.live()
            server.stop()
            met = "signal=9" in server.log_text()
        except GONE:
            pass
        self.end(server, after)
        day.finish()
        before = day.account.read()
        server.kill()
        server.start()
        day.account.check()
        self.assertEqual(day.account.read(), before)
        server.kill()
        shutil.rmtree(os.path.dirname(server.data))
        return met

    def count(self, server):
        """How many steps the process met that has just ended."""
        with open(os.path.join(server.data, "volumes", "0", "steps")) as file:
            return int(file.read())

    def spread(self, steps):
        return range(1, steps + 1, max(1, steps // TRIED) if TRIED else 1)

    def test_worker(self):
        server, day = self.begin("")
        server.start()
        day.live()
        self.assertEqual(server.stop(), 0)
        steps = self.count(server)
        self.assertGreater(steps, 100)
        met = 0
        for number in self.spread(steps):
            with self.subTest(step=number):
                met += self.one(f"*@{number}=kill")
        print(f"\nworker: {steps} steps in a day, stopped at {met}", flush=True)
        self.assertGreater(met, len(self.spread(steps)) // 2)  # a day has more steps or fewer

    def test_control(self):
        """Recovery that forgets what was acknowledged last must be caught."""
        with self.assertRaises(Wrong):
            for number in range(60, 160, 10):
                self.one(f"*@{number}=kill", "control.unproven=EIO")

    def test_repair(self):
        """`restante check --repair`, stopped at every step, then run to its end."""
        server, day = self.begin("")
        server.start()
        day.live()
        server.kill()
        server.env.update(RESTANTE_FAULT_IN="restante")
        pristine = os.path.join(self.home, "pristine")
        shutil.copytree(server.data, pristine, ignore=shutil.ignore_patterns("run"))
        server.run("check", "--repair")
        steps = self.count(server)
        met = 0
        for at, number in enumerate(self.spread(steps)):
            with self.subTest(step=number):
                shutil.rmtree(server.data)
                shutil.copytree(pristine, server.data)
                server.env["RESTANTE_FAULT"] = f"*@{number}=kill"
                met += server.run("check", "--repair", check=False).returncode == -9
                server.env["RESTANTE_FAULT"] = ""
                if at % 2:  # the next start brings it to its end as well
                    self.assertEqual(server.run("check", "--repair", check=False).returncode, 0)
                    self.assertIn("0 damaged", server.run("check").stdout)
                server.start()
                day.account.check()
                server.kill()
        print(f"\nrepair: {steps} steps, stopped at {met}", flush=True)
        self.assertGreater(met, len(self.spread(steps)) // 2)


if __name__ == "__main__":
    unittest.main()
