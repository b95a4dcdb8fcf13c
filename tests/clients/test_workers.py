"""A store filled with one worker opens with two and three: the same accounts, UIDs and bytes."""
import tempfile
import shutil
import unittest

from lib.messages import generated
from lib.server import Server

CONFIG = "process {{ workers = {} }}\nstore {{ volumes = 2 }}\n"


def state(server, name):
    imap = server.imap(name, "secret")
    imap.select("INBOX", readonly=True)
    validity = imap.response("UIDVALIDITY")[1]
    _, data = imap.uid("FETCH", "1:*", "(UID FLAGS INTERNALDATE BODY.PEEK[])")
    imap.logout()
    return validity, data


class Workers(unittest.TestCase):
    def test_more_workers(self):
        data = tempfile.mkdtemp(prefix="restante-test-")
        self.addCleanup(shutil.rmtree, data, ignore_errors=True)
        names = [f"user{n}" for n in range(6)]
        before = {}
        for workers in (1, 2, 3, 1):
            with Server(data=data, config=CONFIG.format(workers)) as server:
                if not before:
                    for name in names:
                        server.account(name, "secret")
                    for n, message in enumerate(generated(60, seed=3)):
                        server.deliver(names[n % len(names)], message)
                    before = {name: state(server, name) for name in names}
                for name in names:
                    self.assertEqual(state(server, name), before[name], f"{workers} workers")
                self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    unittest.main()
