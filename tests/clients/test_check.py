"""`restante check`: clean while running and while stopped; a flipped byte is named; a repair keeps
UIDs, flags and every byte that is not itself damaged."""
import glob
import json
import os
import re
import shutil
import unittest

from lib.messages import generated
from lib.server import Server, wait_until

COUNT = 60


class Store(unittest.TestCase):
    STORE = ""

    def setUp(self):
        self.server = Server(config=f"store {{ volumes = 1 {self.STORE} }}\n"
                                    "process { workers = 1 }\n")
        self.addCleanup(self.server.close)
        self.server.account("alice", "secret")
        self.messages = list(generated(COUNT, seed=21))
        with self.server.lmtp() as lmtp:
            for message in self.messages:
                assert lmtp.transact("s@example.org", ["alice"], message)["alice"][0] == 250
        imap = self.server.imap("alice", "secret")
        imap.select()
        imap.store("3:9", "+FLAGS.SILENT", "(\\Seen Project)")
        imap.store("10:20", "+FLAGS.SILENT", "\\Deleted")
        imap.expunge()
        imap.copy("1:5", "Archive")
        imap.logout()
        self.volume = os.path.join(self.server.data, "volumes", "0")

    def state(self, mailbox="INBOX"):
        """(UIDVALIDITY, UIDNEXT), {uid: (flags, bytes)}; a message that cannot be read is None."""
        imap = self.server.imap("alice", "secret")
        imap.select(mailbox, readonly=True)
        where = imap.response("UIDVALIDITY")[1], imap.response("UIDNEXT")[1]
        found = {}
        for uid in imap.uid("SEARCH", "ALL")[1][0].split():
            status, data = imap.uid("FETCH", uid, "(UID FLAGS BODY.PEEK[])")
            whole = [part for part in data if isinstance(part, tuple)]
            flags = whole and whole[0][0].split(b"FLAGS (")[1].split(b")")[0]
            found[int(uid)] = (flags, whole[0][1]) if status == "OK" and whole else None
        imap.logout()
        return where, found

    def flip(self, path, at, mask=0x10):
        with open(path, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ mask]))

    def place_of(self, needle):
        """(file, offset) of these bytes in a segment."""
        for path in glob.glob(os.path.join(self.volume, "segments", "*.seg")):
            with open(path, "rb") as file:
                at = file.read().find(needle)
            if at >= 0:
                return path, at
        raise unittest.SkipTest("bodies are stored compressed")

    def check(self, *options, status):
        done = self.server.run("check", *options, check=False)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def place_of_message(self, message):
        return self.place_of(message[message.find(b"Message-ID:"):message.find(b"MIME-Version")])


class Check(Store):
    def test_clean(self):
        self.assertIn("clean: 0 damaged", self.check(status=0))
        self.assertEqual(self.server.stop(), 0)
        self.assertIn("clean: 0 damaged", self.check(status=0))
        before = {path: os.stat(path).st_mtime_ns
                  for path in glob.glob(os.path.join(self.volume, "segments", "*"))}
        self.check(status=0)  # looks, and changes nothing
        self.assertEqual(before, {path: os.stat(path).st_mtime_ns for path in before})
        self.server.start()
        self.server.kill()
        self.assertIn("0 damaged", self.check(status=0))

    def test_flipped_in_a_body(self):
        before = self.state()
        uid, message = next((uid, part[1]) for uid, part in before[1].items() if uid > 25)
        path, at = self.place_of_message(message)
        self.flip(path, at + 15)
        # While it runs: the check names file and offset of the frame.
        found = [json.loads(text) for text in self.check("--json", status=1).splitlines()]
        damage = [f for f in found if f["severity"] == 2]
        self.assertTrue(damage)
        self.assertTrue(any(os.path.basename(path) in f["file"] and f["offset"] <= at for f in damage),
                        damage)
        self.assertIn(os.path.basename(path), self.check(status=1))
        self.assertEqual(self.server.stop(), 0)
        self.assertIn(os.path.basename(path), self.check(status=1))
        # A repair cannot bring back bytes that are nowhere else. All others are as they were, and
        # the damaged one is refused, never altered.
        self.server.run("check", "--repair", check=False)
        self.server.start()
        after = self.state()
        self.assertEqual(after[0], before[0])
        self.assertEqual(set(after[1]), set(before[1]))
        self.assertIsNone(after[1][uid])
        for other in before[1]:
            if other != uid:
                self.assertEqual(after[1][other], before[1][other], other)

    def test_flipped_in_the_index(self):
        before = self.state(), self.state("Archive")
        self.assertEqual(self.server.stop(), 0)
        index = os.path.join(self.volume, "index", "data.mdb")
        for at in range(2 * 4096 + 64, os.path.getsize(index), 4096):
            self.flip(index, at)
        self.assertIn("index", self.check(status=1))
        self.check("--repair", status=0)
        self.assertIn("clean", self.check(status=0))
        self.server.start()
        self.assertEqual((self.state(), self.state("Archive")), before)

    def test_index_lost(self):
        """No index at all, or one that is no index: rebuilt at the start, without being asked."""
        before = self.state(), self.state("Archive")
        for harm in (shutil.rmtree, self.scribble):
            self.server.kill()
            harm(os.path.join(self.volume, "index"))
            self.server.start()
            self.assertEqual((self.state(), self.state("Archive")), before)
            self.assertIn("clean", self.check(status=0))

    def scribble(self, index):
        with open(os.path.join(index, "data.mdb"), "r+b") as file:
            file.write(b"this is not an index " * 1000)

    def test_refused_while_running(self):
        done = self.server.run("check", "--repair", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("stopped", done.stderr)

    def test_newer_format_is_refused(self):
        self.assertEqual(self.server.stop(), 0)
        path = os.path.join(self.server.data, "restante.id")
        with open(path) as file:
            text = file.read()
        with open(path, "w") as file:
            file.write(text.replace("restante 1", "restante 9"))
        done = self.server.run("check", check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("newer restante", done.stderr)
        with self.assertRaisesRegex(AssertionError, "newer restante"):
            self.server.start()


class Scrub(Store):
    """What is stored is read in idle time, here in no time."""
    STORE = "scrub = 1 segment_size = 65536"

    def volume_status(self):
        return next(p for p in self.server.status()["processes"]
                    if p["process"] == "worker")["volumes"][0]

    def rounds(self):
        """Waits for two ends of a round: one of them began after now."""
        until = self.volume_status()["scrub_rounds"] + 2
        return wait_until("the scrub to come round",
                          lambda: self.volume_status()["scrub_rounds"] >= until
                          and self.volume_status())

    def metric(self, name):
        return sum(int(line.split()[-1]) for line in self.server.http("/metrics")[1].splitlines()
                   if line.startswith(f"restante_{name}{{"))

    def test_clean(self):
        status = self.rounds()
        self.assertEqual((status["scrub_damages"], status["trouble"]), (0, ""))
        self.assertGreater(status["scrub_bytes"], sum(map(len, self.messages)))
        self.assertGreaterEqual(self.metric("scrub_rounds"), 2)
        self.assertEqual(self.metric("scrub_damages"), 0)

    def test_flipped_byte(self):
        """Named in log, status and metrics, after a restart too, until a round finds all well."""
        uid, message = next((uid, part[1]) for uid, part in self.state()[1].items() if uid > 25)
        path, at = self.place_of_message(message)
        self.rounds()
        self.flip(path, at + 15)
        status = wait_until("the scrub to find it",
                            lambda: self.volume_status()["scrub_damages"] and self.volume_status())
        self.assertIn(os.path.basename(path), status["trouble"])
        self.assertIn(f"UID {uid}", status["trouble"])
        self.assertGreaterEqual(self.metric("scrub_damages"), 1)
        self.assertRegex(self.server.log_text(), "event=scrub_damage .*" + os.path.basename(path))
        self.server.stop()
        self.server.start()
        self.assertIn(os.path.basename(path), self.volume_status()["trouble"])
        self.flip(path, at + 15)  # the disk is well again
        self.rounds()
        self.assertEqual(self.volume_status()["trouble"], "")

    def test_pauses(self):
        """A round goes on after a restart where it was, it does not begin anew."""
        self.server.stop()
        self.server.config = self.server.config.replace("scrub = 1", "scrub = 1000000")
        self.server.start()
        place = os.path.join(self.volume, "scrub")
        self.server.stop()
        segments = sorted(os.listdir(os.path.join(self.volume, "segments")))
        self.assertGreater(len(segments), 3)
        middle = int(segments[1].split(".")[0], 16)
        with open(place, "w") as file:
            file.write(f"restante-scrub 1\n1000 2000 0 {middle} 0\n\n")
        self.server.config = self.server.config.replace("scrub = 1000000", "scrub = 1")
        path = os.path.join(self.volume, "segments", segments[0])
        self.flip(path, 20)  # in what is done already
        self.server.start()
        wait_until("a round to end", lambda: "event=scrub_round" in self.server.log_text())
        first = re.search(r"event=scrub_round .* damages=(\d+)", self.server.log_text())
        self.assertEqual(first.group(1), "0")
        wait_until("the next round to find it", lambda: self.volume_status()["scrub_damages"])


if __name__ == "__main__":
    unittest.main()
