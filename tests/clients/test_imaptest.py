"""The dialogues of ImapTest, written for other servers, as they lie beside the odd messages of the
corpus: BODYSTRUCTURE, ENVELOPE, sections, BINARY, SEARCH and ESEARCH.

A script appends the messages of the mbox beside it, then has commands ("ok fetch 1 body") and the
answers wanted below each ("*": must come, "!": must not). Answers are compared as data: case of
atoms, order of FETCH items, flags and numbers, and quoted or literal do not matter."""
import os
import re
import socket
import subprocess
import tempfile
import unittest

from lib.messages import CORPUS
from lib.server import Server

SCRIPTS = ("esearch", "fetch-binary-mime", "fetch-binary-mime-base64", "fetch-body",
           "fetch-body-message-rfc822", "fetch-bodystructure", "fetch-envelope", "search-addresses",
           "search-body", "search-date", "search-header", "search-size")
# Played by nobody here: sort-*, thread-* and urlauth-* (not offered), select (it wants \Recent, which
# is always 0 here: doc/rfc.md), broken/* (ImapTest's own word for it: they depend on a time zone).


class Literal(bytes):
    pass


def tokens(text):
    """Atoms (bytes, lower case; with all of [...] and <...>), strings (Literal), and lists."""
    at, stack = 0, [[]]
    while at < len(text):
        c = text[at:at + 1]
        literal = re.compile(rb"~?\{(\d+)\+?\}\r\n").match(text, at)
        block = re.compile(rb"(~?)\{\{\{\n(.*?)\n\}\}\}", re.S).match(text, at)
        if c in b" \r\n":
            at += 1
        elif c == b"(":
            stack.append([])
            at += 1
        elif c == b")":
            done = stack.pop()
            stack[-1].append(done)
            at += 1
        elif block:
            value = block.group(2)  # behind "~" as it stands, else in lines
            stack[-1].append(Literal(value if block.group(1)
                                     else re.sub(rb"(?<!\r)\n", b"\r\n", value)))
            at = block.end()
        elif literal:
            size = int(literal.group(1))
            stack[-1].append(Literal(text[literal.end():literal.end() + size]))
            at = literal.end() + size
        elif c == b'"':
            quoted = re.compile(rb'"((?:[^"\\]|\\.)*)"').match(text, at)
            stack[-1].append(Literal(re.sub(rb"\\(.)", rb"\1", quoted.group(1))))
            at = quoted.end()
        else:
            atom = re.compile(rb'[^ ()\r\n"\[]*(\[[^\]]*\]\S*?(?=[ )\r\n]|$))?').match(text, at)
            stack[-1].append(atom.group().lower())
            at = atom.end()
    return stack[0]


class Player:
    def __init__(self, server, name, messages):
        self.socket = socket.create_connection(("127.0.0.1", server.ports["imap"]), 30)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.count = 0
        self.names = {}
        self.run("LOGIN alice secret")
        self.run(f"CREATE {name}")
        for message in messages:
            self.run(f"APPEND {name} {{{len(message)}+}}\r\n".encode() + message)
        self.run(f"SELECT {name}")

    def close(self):
        self.file.close()
        self.socket.close()

    def run(self, command):
        """(result, untagged answers as tokens)"""
        self.count += 1
        tag = b"t%d" % self.count
        command = command if isinstance(command, bytes) else command.encode()
        self.socket.sendall(tag + b" " + command + b"\r\n")
        answers = []
        while True:
            line = self.file.readline()
            while re.search(rb"\{\d+\}\r\n\Z", line):
                size = int(re.search(rb"\{(\d+)\}\r\n\Z", line).group(1))
                line += self.file.read(size) + self.file.readline()
            if not line:
                raise AssertionError(f"closed at {command!r}")
            if line.startswith(tag + b" "):
                return line.split()[1].lower().decode(), answers
            answers.append(tokens(line))

    # ---- comparing ---------------------------------------------------------------------------------

    def same(self, wanted, got):
        if isinstance(wanted, list) or isinstance(got, list):
            return (isinstance(wanted, list) and isinstance(got, list) and
                    len(wanted) == len(got) and all(map(self.same, wanted, got)))
        if isinstance(wanted, Literal):
            return wanted == got
        if wanted.startswith(b"$") and wanted.count(b"$") == 1 and b":" not in wanted:
            return self.names.setdefault(wanted, got) == got
        wanted = re.sub(rb"\$\w+", lambda name: self.names.get(name.group(), name.group()), wanted)
        if re.fullmatch(rb"[\d:,]+", wanted) and re.fullmatch(rb"[\d:,]+", bytes(got)):
            return numbers(wanted) == numbers(bytes(got))
        return wanted == bytes(got).lower()

    def answers(self, wanted, got):
        if wanted[:2] == [b"*", b"search"]:
            return got[:2] == wanted[:2] and set(got[2:]) == {self.names.get(n, n) for n in wanted[2:]}
        if len(wanted) == 4 and wanted[2] == b"fetch" and len(got) == 4 and isinstance(got[3], list):
            if got[1:3] != wanted[1:3]:
                return False
            items = dict(zip(got[3][::2], got[3][1::2]))
            for name, value in zip(wanted[3][::2], wanted[3][1::2]):
                there = items.get(name)
                if name == b"flags":
                    if there is None or set(there) - {b"\\recent"} != set(value):
                        return False
                elif name in (b"body", b"bodystructure"):  # there case says nothing
                    if not self.same(folded(value), folded(there)):
                        return False
                elif there is None or not self.same(value, there):
                    return False
            return True
        return self.same(wanted, got)

    def play(self, script):
        """What did not go as the script says: [(command, what)]."""
        wrong = []
        for command, wants in steps(script):
            word, _, rest = command.partition(" ")
            for name, value in self.names.items():
                rest = rest.replace(name.decode(), value.decode())
            self.names[b"$tag"] = b"t%d" % (self.count + 1)
            result, got = self.run(rest)
            if result != word:
                wrong.append((command, f"{result}"))
            for want in wants:
                there = any(self.answers([b"*"] + tokens(want[1:]), answer) for answer in got)
                if there != want.startswith(b"*"):
                    wrong.append((command, f"wanted {want!r}, got {got!r}"))
            del self.names[b"$tag"]
        return wrong


def folded(value):
    return [folded(each) for each in value] if isinstance(value, list) else value.lower()


def numbers(text):
    found = set()
    for part in text.split(b","):
        first, _, last = part.partition(b":")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def steps(script):
    """(command, [wanted])"""
    lines = iter(script.split(b"\n\n", 1)[1].split(b"\n"))
    found = []
    for line in lines:
        while line.count(b"{{{") > line.count(b"}}}"):
            line += b"\n" + next(lines)
        if line[:1] in (b"*", b"!"):
            found[-1][1].append(line)
        elif line.strip() and not line.startswith(b"#"):
            found.append((line.decode(), []))
    return found


def mbox(raw):
    parts = re.split(rb"(?m)^From [^\n]*\n", raw)[1:]
    return [re.sub(rb"(?<!\r)\n", b"\r\n", part) for part in parts]


class ImapTest(unittest.TestCase):
    def test_scripts(self):
        archive = os.path.join(CORPUS, "odd", "odd.tar.zst")
        if not os.path.exists(archive):
            raise unittest.SkipTest("no corpus (RESTANTE_CORPUS)")
        with tempfile.TemporaryDirectory(prefix="restante-imaptest-") as folder, Server() as server:
            subprocess.run(["tar", "--zstd", "-xf", archive, "-C", folder, "--wildcards", "imaptest/*"],
                           check=True)
            server.account("alice", "secret")
            for name in SCRIPTS:
                with open(os.path.join(folder, "imaptest", name + ".mbox"), "rb") as file:
                    messages = mbox(file.read())
                with open(os.path.join(folder, "imaptest", name + ".mbox.expect"), "rb") as file:
                    script = file.read()
                with self.subTest(name):
                    self.assertGreater(len(steps(script)), 0)
                    player = Player(server, name, messages)
                    try:
                        wrong = player.play(script)
                    finally:
                        player.close()
                    self.assertEqual(wrong, [])


if __name__ == "__main__":
    unittest.main()
