"""A client that resynchronises by QRESYNC (RFC 7162) always ends with exactly what the server has:
after random changes by others, lost connections, kill -9, and a restore of older data."""
import os
import random
import re
import shutil
import socket
import struct
import unittest

from lib.server import Server

FLAGS = ["\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Junk", "$Work"]


def numbers(text):
    """Of a set: "1:3,7"."""
    for part in text.split(","):
        first, _, last = part.partition(":")
        yield from range(int(first), int(last or first) + 1)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class Connection:
    def __init__(self, server):
        self.socket = socket.create_connection(("127.0.0.1", server.ports["imap"]), 30)
        self.file = self.socket.makefile("rb")
        self.tag = 0
        self.file.readline()
        self.command("LOGIN alice secret")

    def command(self, text, untagged=lambda line: None, allow_no=False):
        self.tag += 1
        tag = f"t{self.tag} "
        self.socket.sendall((tag + text + "\r\n").encode())
        while True:
            line = self.file.readline().decode().rstrip("\r\n")
            assert line, "connection closed at " + text
            if line.startswith(tag):
                assert line.startswith(tag + "OK") or (allow_no and line.startswith(tag + "NO")), \
                    (text, line)
                return line
            untagged(line)

    def close(self):
        self.file.close()
        self.socket.close()


class Client:
    """Keeps uid -> flags, UIDVALIDITY and HIGHESTMODSEQ by the rules of RFC 7162 6, no more."""

    def __init__(self, server, rng):
        self.server, self.rng = server, rng
        self.flags, self.modseq, self.uidvalidity = {}, 0, 0
        self.next = 1  # UIDs below have been asked for
        self.connection = None

    def untagged(self, line):
        if match := re.match(r"\* VANISHED \(EARLIER\) (\S+)$", line):
            for uid in numbers(match[1]):
                self.flags.pop(uid, None)
        elif match := re.match(r"\* VANISHED (\S+)$", line):
            gone = list(numbers(match[1]))
            self.exists -= len(gone)
            assert self.exists >= 0
            for uid in gone:
                assert uid in self.flags or uid >= self.next, "not visible: " + line
                self.flags.pop(uid, None)
        elif match := re.match(r"\* (\d+) EXISTS$", line):
            self.exists = int(match[1])
        elif match := re.match(r"\* (\d+) FETCH \((.*)\)$", line):
            self.fetched(int(match[1]), match[2])
        elif match := re.match(r"\* OK \[HIGHESTMODSEQ (\d+)\]", line):
            self.highest = int(match[1])
        elif match := re.match(r"\* OK \[UIDVALIDITY (\d+)\]", line):
            self.told_uidvalidity = int(match[1])
        assert " EXPUNGE" not in line, line

    def fetched(self, sequence, items):
        assert sequence <= self.exists, items
        uid = int(re.search(r"UID (\d+)", items)[1])
        self.seen.append(uid)
        if match := re.search(r"MODSEQ \((\d+)\)", items):
            self.modseqs.append(int(match[1]))
        if match := re.search(r"FLAGS \(([^)]*)\)", items):
            self.flags[uid] = frozenset(match[1].split())
        elif self.silent and uid in self.flags:  # our own STORE .SILENT
            self.flags[uid] |= {self.silent}

    def command(self, text, silent=None, allow_no=False):
        self.seen, self.modseqs, self.highest, self.silent = [], [], None, silent
        tagged = self.connection.command(text, self.untagged, allow_no)
        if match := re.search(r"\[HIGHESTMODSEQ (\d+)\]", tagged):
            self.highest = int(match[1])
        if self.highest is not None:
            self.modseq = self.highest
        else:
            self.modseq = max([self.modseq] + self.modseqs)

    def ask_new(self):
        self.command(f"UID FETCH {self.next}:* (FLAGS)")
        self.next = max([self.next - 1] + self.seen) + 1

    def sync(self):
        self.connection = Connection(self.server)
        self.command("ENABLE QRESYNC")
        self.exists, told = 0, self.uidvalidity
        how = "SELECT INBOX"
        if self.modseq:
            known = f" 1:{self.next - 1}" if self.next > 1 and self.rng.random() < .3 else ""
            if known and self.rng.random() < .5 and self.flags:
                uids = sorted(self.flags)
                sample = sorted(self.rng.sample(range(len(uids)), min(3, len(uids))))
                known += f" ({','.join(str(i + 1) for i in sample)} " \
                         f"{','.join(str(uids[i]) for i in sample)})"
            how += f" (QRESYNC ({self.uidvalidity} {self.modseq}{known}))"
        self.command(how)
        self.uidvalidity = self.told_uidvalidity
        assert told in (0, self.uidvalidity), "UIDVALIDITY must not change"
        self.ask_new()

    def drop(self):
        self.connection.close()
        self.connection = None

    def act(self):
        """Something a session does; numbers hold back expunges, so MODSEQs may be held too."""
        uid = self.rng.choice(sorted(self.flags) or [1])
        kind = self.rng.randrange(8)
        if kind == 0:
            self.command("NOOP")
        elif kind == 1 and self.exists:
            self.command(f"FETCH 1:{self.exists} (UID MODSEQ)")
        elif kind == 2 and self.exists:
            flag = self.rng.choice(FLAGS)
            self.command(f"STORE {self.rng.randint(1, self.exists)} +FLAGS.SILENT ({flag})", flag,
                         allow_no=True)  # NO: expunged by others
        elif kind == 3:
            flag = self.rng.choice(FLAGS)
            self.command(f"UID STORE {uid} (UNCHANGEDSINCE {self.modseq}) +FLAGS.SILENT ({flag})",
                         flag)
        elif kind == 4:
            self.command(f"UID STORE {uid} +FLAGS (\\Deleted)")
            self.command(self.rng.choice(["EXPUNGE", f"UID EXPUNGE {uid}"]))
        elif kind == 5:
            self.command(f"UID FETCH 1:* (FLAGS) (CHANGEDSINCE {self.modseq} VANISHED)")
        elif kind == 6:
            self.command(f"UID SEARCH MODSEQ {max(1, self.modseq)}")
        else:
            self.ask_new()


class Qresync(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.close)
        self.server.account("alice", "secret")
        self.messages = 0

    def message(self):
        self.messages += 1
        return f"Subject: {self.messages}\r\n\r\n{'x' * (self.messages % 50)}\r\n".encode()

    def disturb(self, rng, other, changes):
        """Changes by somebody else, on a connection that has INBOX open."""
        for _ in range(changes):
            kind = rng.randrange(9)
            uid = rng.randint(1, self.messages + 2)
            if kind <= 1:
                self.server.deliver("alice", self.message())
            elif kind == 2:
                message = self.message().decode()
                other.command(f"APPEND INBOX ({rng.choice(FLAGS)}) {{{len(message)}+}}\r\n{message}")
            elif kind <= 5:
                how = rng.choice(["+FLAGS", "-FLAGS", "FLAGS", "+FLAGS.SILENT"])
                other.command(f"UID STORE {uid}:{uid + rng.randrange(6)} {how} "
                              f"({rng.choice(FLAGS)} {rng.choice(FLAGS)})")
            elif kind == 6:
                other.command(f"UID STORE {uid}:{uid + rng.randrange(3)} +FLAGS (\\Deleted)")
                other.command("EXPUNGE")
            elif kind == 7:
                other.command(f"UID MOVE {uid} Archive")
            else:
                other.command(f"UID COPY {uid}:{uid + 1} INBOX")

    def other(self):
        other = Connection(self.server)
        other.command("SELECT INBOX")
        return other

    def check(self, client):
        """Exactly the server's state."""
        truth, count = {}, []

        def untagged(line):
            if match := re.match(r"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)$", line):
                truth[int(match[1])] = frozenset(match[2].split())
            elif match := re.match(r"\* (\d+) EXISTS$", line):
                count.append(int(match[1]))

        other = Connection(self.server)
        other.command("EXAMINE INBOX", untagged)
        other.command("UID FETCH 1:* (FLAGS)", untagged)
        other.close()
        self.assertEqual(client.flags, truth)
        self.assertEqual(len(truth), count[-1])

    def live(self, rng, client, rounds):
        for _ in range(rounds):
            client.sync()
            self.assertEqual(client.exists, len(client.flags))
            self.check(client)
            other = self.other()
            for _ in range(rng.randrange(6)):
                self.disturb(rng, other, rng.randrange(4))
                client.act()
            client.drop()
            self.disturb(rng, other, rng.randrange(12))
            other.close()

    def test_random(self):
        for seed in range(2):
            rng = random.Random(seed)
            client = Client(self.server, rng)
            self.live(rng, client, 15)
            self.server.restart()
            self.live(rng, client, 10)
            client.sync()
            self.check(client)
            client.drop()

    def test_match(self):
        """3.2.5.2: the client's numbers narrow what a server that does not remember must tell. A
        MODSEQ that was never given out is such a case."""
        connection, lines = Connection(self.server), []
        for _ in range(10):
            self.server.deliver("alice", self.message())
        connection.command("ENABLE QRESYNC")
        connection.command("SELECT INBOX", lines.append)
        uidvalidity = re.search(r"UIDVALIDITY (\d+)", "".join(lines))[1]
        connection.command("STORE 2,5 +FLAGS.SILENT (\\Deleted)")
        connection.command("EXPUNGE")
        for known, vanished in (("", "2,5"), (" 3:9", "5"), (" 1:10 (1,3,5 1,4,7)", None),
                                (" 1:10 (1,3,5 1,4,6)", "5"), (" 1:10 (2 2)", "2,5"),
                                (" (1:3 1,3:4)", "5"), (" 1:20 (8 10)", None)):
            lines.clear()
            connection.command(f"SELECT INBOX (QRESYNC ({uidvalidity} 99999999{known}))",
                               lines.append)
            told = [line for line in lines if "VANISHED" in line]
            self.assertEqual(told, [f"* VANISHED (EARLIER) {vanished}"] if vanished else [], known)
        connection.close()

    def volume(self):
        return os.path.join(self.server.data, "volumes", "0")

    def test_restored(self):
        """Older data comes back: what the client saw since was never there, or is there again."""
        rng = random.Random(7)
        client = Client(self.server, rng)
        self.live(rng, client, 6)
        for _ in range(2):
            self.server.stop()
            kept = self.volume() + ".kept"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.volume(), kept)
            self.server.start()
            self.live(rng, client, 4)
            client.sync()
            client.drop()
            self.server.stop()
            shutil.rmtree(self.volume())
            shutil.move(kept, self.volume())
            self.next_epoch()
            self.server.start()
            self.live(rng, client, 4)

    def next_epoch(self):
        """As whoever restores a volume does (doc/formats: the file `volume`)."""
        path = os.path.join(self.volume(), "volume")
        with open(path, "r+b") as file:
            data = bytearray(file.read())
            data[24:32] = struct.pack("<Q", struct.unpack("<Q", data[24:32])[0] + 1)
            data[60:64] = struct.pack("<I", crc32c(bytes(data[:60])))
            file.seek(0)
            file.write(data)


if __name__ == "__main__":
    unittest.main()
