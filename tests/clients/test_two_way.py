"""mbsync in both directions: whatever is done to mail on one side is done on the other, once, also
when the server is killed in the middle of it."""
import os
import random
import re
import shutil
import tempfile
import unittest

from lib.messages import generated
from lib.programs import PASSWORD, Mbsync, unix
from lib.proxy import Proxy
from lib.server import Server

LETTERS = {"S": "\\Seen", "F": "\\Flagged", "R": "\\Answered", "D": "\\Draft"}
MESSAGE_ID = re.compile(rb"^Message-ID: (<.*>)", re.M | re.I)


def key(message):
    return MESSAGE_ID.search(message)[1].decode()


def plain(message):
    """As it was before anybody passed it on."""
    return unix(message[message.index(b"From: Sender "):]).strip(b"\n")


class Near:
    """The Maildirs, changed as a program on them would."""

    def __init__(self, top):
        self.top = top

    def folders(self):
        return [entry.name for entry in os.scandir(self.top) if entry.is_dir()]

    def files(self, folder):
        """(path, bytes) of each message."""
        for part in ("cur", "new"):
            for name in os.listdir(os.path.join(self.top, folder, part)):
                if not name.startswith("."):
                    path = os.path.join(self.top, folder, part, name)
                    with open(path, "rb") as file:
                        yield path, file.read()

    def find(self, folder, wanted):
        return next(path for path, message in self.files(folder) if key(message) == wanted)

    def state(self):
        """folder -> [(Message-ID, flags, bytes)], sorted."""
        return {folder: sorted((key(message), flags_of(path), plain(without_mark(message)))
                               for path, message in self.files(folder))
                for folder in self.folders()}

    def flags(self, folder, wanted, flags):
        path = self.find(folder, wanted)
        name = os.path.basename(path).split(":2,")[0]
        letters = "".join(sorted(letter for letter, flag in LETTERS.items() if flag in flags))
        os.rename(path, os.path.join(self.top, folder, "cur", name + ":2," + letters))

    def move(self, folder, wanted, to):
        path = self.find(folder, wanted)
        name = re.sub(r",U=\d+", "", os.path.basename(path))  # a UID of the other folder
        name = name if ":2," in name else name + ":2,"
        os.rename(path, os.path.join(self.top, to, "cur", name))

    def delete(self, folder, wanted):
        os.unlink(self.find(folder, wanted))

    def create(self, folder):
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.top, folder, part))

    def add(self, folder, message):
        name = f"{len(list(self.files(folder)))}.{key(message).strip('<>')}:2,"
        with open(os.path.join(self.top, folder, "cur", name), "wb") as file:
            file.write(unix(message))

    def settle(self):
        """mbsync waits until a directory is a second old; nobody changes these any more."""
        for folder in self.folders():
            for part in ("cur", "new"):
                os.utime(os.path.join(self.top, folder, part), (1, 1))


def flags_of(path):
    return tuple(sorted(LETTERS[letter] for letter in path.partition(":2,")[2]))


def without_mark(message):
    return re.sub(rb"^X-TUID: \S{12}\n", b"", message, flags=re.M)


class Far:
    """The server, changed as another client would."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.imap = self.server.imap("alice", PASSWORD)
        return self

    def __exit__(self, *_):
        self.imap.logout()

    def did(self, answer):
        assert answer[0] == "OK", answer
        return answer[1]

    def folders(self):
        return [line.split()[-1].decode().strip('"') for line in self.did(self.imap.list())]

    def uid(self, folder, wanted):
        self.did(self.imap.select(folder))
        return self.did(self.imap.uid("SEARCH", "HEADER", "Message-ID", f'"{wanted}"'))[0].decode()

    def state(self):
        found = {}
        for folder in self.folders():
            found[folder] = []
            if self.did(self.imap.select(folder, readonly=True)) == [b"0"]:
                continue
            for part in self.did(self.imap.fetch("1:*", "(FLAGS BODY.PEEK[])")):
                if isinstance(part, tuple):
                    flags = re.search(rb"FLAGS \(([^)]*)\)", part[0])[1].decode().split()
                    message = unix(part[1])
                    found[folder].append((key(message), tuple(sorted(set(flags) - {"\\Recent"})),
                                          plain(without_mark(message))))
            found[folder].sort()
        return found

    def flags(self, folder, wanted, flags):
        uid = self.uid(folder, wanted)
        self.did(self.imap.uid("STORE", uid, "FLAGS", f"({' '.join(flags)})"))

    def move(self, folder, wanted, to):
        self.did(self.imap.uid("MOVE", self.uid(folder, wanted), to))

    def delete(self, folder, wanted):
        uid = self.uid(folder, wanted)
        self.did(self.imap.uid("STORE", uid, "+FLAGS", "(\\Deleted)"))
        self.did(self.imap.uid("EXPUNGE", uid))

    def create(self, folder):
        self.did(self.imap.create(folder))

    def add(self, folder, message):
        self.did(self.imap.append(folder, None, None, message))


class TwoWay(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="restante-two-way-")
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.account("alice", PASSWORD)
        self.program = Mbsync(self.home)
        self.program.rules = "Create Both\nExpunge Both"
        self.near = Near(self.program.mail)
        self.messages = generated(1000, seed=41)
        self.chance = random.Random(41)
        with self.server.lmtp() as lmtp:
            for _ in range(60):
                answers = lmtp.transact("s@example.org", ["alice"], next(self.messages))
                self.assertEqual(answers["alice"][0], 250, answers)

    def change(self, side, model, mine, new):
        """Does something to the messages that are this side's to change, and adds some."""
        chance = self.chance
        model[new] = {}
        side.create(new)
        for folder, wanted in mine:
            flags, message = model[folder][wanted]
            what = chance.random()
            if what < 0.5:
                flags = tuple(sorted(flag for flag in LETTERS.values() if chance.random() < 0.4))
                side.flags(folder, wanted, flags)
                model[folder][wanted] = flags, message
            elif what < 0.7:
                to = chance.choice([name for name in ("INBOX", "Archive", new) if name != folder])
                side.move(folder, wanted, to)
                model[to][wanted] = model[folder].pop(wanted)
            elif what < 0.85:
                side.delete(folder, wanted)
                del model[folder][wanted]
        for folder in ("INBOX", new):
            message = next(self.messages)
            side.add(folder, message)
            model[folder][key(message)] = (), plain(message)

    def changes(self, far, model, name):
        """On both sides, each to messages of its own; the model then says what both must have."""
        some = [(folder, wanted) for folder in sorted(model) for wanted in sorted(model[folder])
                if self.chance.random() < 0.4]
        self.chance.shuffle(some)
        half = len(some) // 2
        self.change(self.near, model, some[:half], f"Near{name}")
        self.change(far, model, some[half:], f"F&APw-r{name}")
        self.near.settle()

    def assert_both_have(self, far, model):
        wanted = {folder: sorted((name, *what) for name, what in messages.items())
                  for folder, messages in model.items()}
        self.assertEqual(self.near.state(), wanted)
        self.assertEqual(far.state(), wanted)

    def model(self, far):
        return {folder: {name: (flags, message) for name, flags, message in messages}
                for folder, messages in far.state().items()}

    def test_changes(self):
        with Far(self.server) as far:
            self.program.fetch(self.server.ports["imap"])
            model = self.model(far)
            self.assertEqual(len(model["INBOX"]), 60)
            self.assert_both_have(far, model)
            for name in range(3):
                self.changes(far, model, name)
                self.program.fetch(self.server.ports["imap"])
                self.assert_both_have(far, model)

    def test_server_killed(self):
        """In each round at another place: anywhere, and where it has done what it was told to and
        has not said so."""
        places = (5000, b"[APPENDUID ", 10000, b"CREATE completed", 15000, b"STORE completed", 20000,
                  b"CLOSE completed")
        with Proxy(self.server.ports["imap"]) as proxy:
            self.program.fetch(proxy.port)
            with Far(self.server) as far:
                model = self.model(far)
            for name, place in enumerate(places):
                with Far(self.server) as far:
                    self.changes(far, model, name)
                proxy.forget()
                proxy.breaks = [(place, self.server.restart)]
                self.program.fetch(proxy.port, good=None)
                self.assertEqual(proxy.breaks, [], "the server was not killed")
                for _ in range(2):
                    self.near.settle()
                    self.program.fetch(proxy.port)
                with Far(self.server) as far:
                    self.assert_both_have(far, model)


if __name__ == "__main__":
    unittest.main()
