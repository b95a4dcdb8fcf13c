"""Every format that was ever released is opened by today's program, and clients see no difference:
tests/data/store-*.tar.xz, written by life/formats.py."""
import glob
import json
import os
import tarfile
import tempfile
import unittest

from life.formats import DATA, seen
from lib.server import Server


class Formats(unittest.TestCase):
    def each(self):
        paths = sorted(glob.glob(os.path.join(DATA, "store-*.tar.xz")))
        self.assertTrue(paths)
        for path in paths:
            with self.subTest(os.path.basename(path)), tempfile.TemporaryDirectory() as home:
                os.chmod(home, 0o755)
                with tarfile.open(path) as tar:
                    tar.extractall(home)
                with open(os.path.join(home, "seen.json")) as file:
                    yield os.path.join(home, "store"), json.load(file)

    def test_opened(self):
        for data, before in self.each():
            with Server(data=data) as server:
                self.assertEqual(seen(server), before)
                self.assertIn("0 damaged", server.run("check").stdout)
                uid = before["boxes"]["INBOX"]["UIDNEXT"]
                server.deliver("alice", b"From: today\r\n\r\nNew.\r\n")
                after = seen(server)
                self.assertEqual(set(after["boxes"]["INBOX"]["messages"]),
                                 set(before["boxes"]["INBOX"]["messages"]) | {uid})
                server.restart()
                self.assertEqual(seen(server), after)

    def test_repaired(self):
        """Index and all made anew, from what that program wrote."""
        for data, before in self.each():
            with Server(data=data, start=False) as server:
                server.run("check", "--repair")
                server.start()
                self.assertEqual(seen(server), before)


if __name__ == "__main__":
    unittest.main()
