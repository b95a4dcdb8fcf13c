"""Messages for tests: made from a seed, and those of the corpus where it is there."""
import base64
import glob
import os
import random
import re
import subprocess
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORPUS = os.environ.get("RESTANTE_CORPUS", os.path.join(TOP, "../shared/corpus"))

WORDS = ("post office letter stamp parcel counter window queue receipt sender owner keep until "
         "morning train harbour island Gruß café naïve Übung größer Привет 世界 こんにちは").split()
CHARSETS = ("utf-8", "iso-8859-1", "us-ascii", "windows-1252", "koi8-r", "shift_jis", "gb2312")


def generated(count, seed=1):
    """count messages in wire form: plain, 8-bit, multipart, base64, dots, long lines, no body."""
    chance = random.Random(seed)
    for number in range(count):
        yield one(chance, number)


def text(chance, lines):
    out = []
    for _ in range(lines):
        line = " ".join(chance.choice(WORDS) for _ in range(chance.randint(0, 12)))
        out.append(chance.choice(["", "", "", ".", "..", "From ", "> "]) + line)
    return "\r\n".join(out) + "\r\n"


def one(chance, number):
    charset = chance.choice(CHARSETS)
    body = text(chance, chance.choice([0, 1, 5, 40, 200])).encode(charset, "replace")
    head = (f"From: Sender {number} <s{number}@example.org>\r\nTo: alice@example.net\r\n"
            f"Subject: message {number} {chance.choice(WORDS)}\r\n"
            f"Date: Sun, 22 Nov 2026 07:{number // 60 % 60:02}:{number % 60:02} +0000\r\n"
            f"Message-ID: <{number}.{chance.getrandbits(64):x}@example.org>\r\nMIME-Version: 1.0\r\n")
    kind = chance.randrange(5)
    if kind < 2:
        head += f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: 8bit\r\n"
        return head.encode() + b"\r\n" + body
    if kind == 2:
        return head.encode() + b"\r\n" + b"x" * chance.randint(1000, 30000) + b"\r\n" + body
    if kind == 3 and number % 10 == 3:
        return head.encode() + b"\r\n"
    boundary = f"=_{chance.getrandbits(40):x}"
    data = base64.encodebytes(chance.randbytes(chance.choice([10, 3000, 60000])))
    data = data.replace(b"\n", b"\r\n")
    head += f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n'
    return (head.encode() + b"\r\nThis is MIME.\r\n" +
            f"--{boundary}\r\nContent-Type: text/plain; charset={charset}\r\n\r\n".encode() + body +
            f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Transfer-Encoding: base64\r\n\r\n".encode() + data +
            f"\r\n--{boundary}--\r\n".encode())


def wire(raw):
    """What a mail system hands over: no mbox line, CRLF line ends, a line end at the end. Lone CR,
    NUL and 8-bit stay."""
    if raw.startswith(b"From "):
        raw = raw[raw.find(b"\n") + 1:]
    raw = re.sub(rb"(?<!\r)\n", b"\r\n", raw)
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def corpus():
    """(name, bytes) of every message of the corpus; skips the test where it is missing."""
    archives = [os.path.join(CORPUS, part, part + ".tar.zst") for part in ("real", "odd")]
    if not all(os.path.exists(archive) for archive in archives):
        raise unittest.SkipTest("no corpus (RESTANTE_CORPUS)")
    with tempfile.TemporaryDirectory(prefix="restante-corpus-") as folder:
        for archive in archives:
            subprocess.run(["tar", "--zstd", "-xf", archive, "-C", folder], check=True)
        for part in ("real", "odd"):
            with open(os.path.join(CORPUS, part, "INDEX.tsv")) as index:
                names = [line.split("\t")[0] for line in index if not line.startswith("name\t")]
            for name in names:
                for path in glob.glob(glob.escape(os.path.join(folder, name))):
                    if os.path.isfile(path):
                        with open(path, "rb") as file:
                            yield name, file.read()
