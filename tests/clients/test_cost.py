"""The guard against regressions: system calls, syncs, allocations and instructions per operation are
counted on fixed dialogues and compared with bench/guard/expected.txt (doc/performance.md)."""
import os
import sys
import unittest

from lib.server import TOP

sys.path.insert(0, os.path.join(TOP, "bench/guard"))
import guard  # noqa: E402


class Cost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = None

    def counted(self, kind):
        problem = guard.missing(kind)
        if problem:
            self.skipTest(problem)
        if Cost.data is None:
            Cost.data = guard.make_data()
        complaints = guard.complaints_about(kind, Cost.data)
        self.assertEqual(complaints, [], "\n".join(complaints))

    def test_system_calls_and_allocations(self):
        self.counted(guard.Native)

    def test_instructions(self):
        self.counted(guard.Instructions)

    @classmethod
    def tearDownClass(cls):
        if cls.data:
            guard.remove_data(cls.data)
            cls.data = None
