"""What the guard counts: strictly serial dialogues. One client, one command at a time, the same
messages each time, so that a server has no choice in how much work there is."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests"))
from lib.server import dot_stuff  # noqa: E402

MANY, SOME = 1000, 100  # messages of accounts "many" and "some"
ACCOUNTS = ("many", "some", "one", *(f"r{n}" for n in range(10)))
PASSWORD = "guard"
WORDS = "letter stamp parcel counter window queue receipt sender owner keep until morning".split()


def message(number, size):
    """Plain text; the number makes it unlike every other one."""
    head = (f"From: Sender {number} <s{number}@example.org>\r\nTo: owner@example.net\r\n"
            f"Subject: {WORDS[number % 12]} {WORDS[number // 12 % 12]} {number}\r\n"
            f"Date: Sun, 22 Nov 2026 07:{number // 60 % 60:02}:{number % 60:02} +0000\r\n"
            f"Message-ID: <{number}.{size}@example.org>\r\n\r\n")
    line = " ".join(WORDS) + "\r\n"
    return (head + line * ((size - len(head)) // len(line))).encode()


class Client:
    """Sends, and waits for the line that ends the answer."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", 1 << 16)

    def line(self, starts):
        line = self.file.readline()
        if not line.startswith(starts):
            raise AssertionError(f"wanted {starts!r}, got {line!r}")
        return line

    def close(self):
        """Waits until the server has closed, too."""
        self.file.read()
        self.file.close()
        self.socket.close()


class Imap(Client):
    def __init__(self, server, account=None, mailbox=None):
        super().__init__(server.ports["imap"])
        self.line(b"* OK")
        if account:
            self.ask(f"LOGIN {account} {PASSWORD}")
        if mailbox:
            self.ask(f"SELECT {mailbox}")

    def ask(self, command):
        self.socket.sendall(b"x " + command.encode() + b"\r\n")
        line = self.file.readline()
        while not line.startswith(b"x "):
            if not line:
                raise AssertionError(f"{command}: closed")
            if line.endswith(b"}\r\n"):
                self.file.read(int(line[line.rindex(b"{") + 1:-3]))
            line = self.file.readline()
        if not line.startswith(b"x OK"):
            raise AssertionError(f"{command}: {line!r}")

    def append(self, text):
        self.socket.sendall(b"x APPEND INBOX {%d}\r\n" % len(text))
        self.line(b"+")
        self.socket.sendall(text + b"\r\n")
        self.line(b"x OK")

    def logout(self):
        self.ask("LOGOUT")
        self.close()


class Lmtp(Client):
    def __init__(self, server):
        super().__init__(server.ports["lmtp"])
        self.line(b"220")
        self.replies(b"LHLO guard.example.org\r\n", 1)

    def replies(self, data, count):
        self.socket.sendall(data)
        while count:
            count -= self.line(b"2" if data[:5] != b"DATA\r" else b"3")[3:4] == b" "

    def deliver(self, accounts, text):
        self.replies(b"MAIL FROM:<s@example.org>\r\n", 1)
        for account in accounts:
            self.replies(b"RCPT TO:<%s>\r\n" % account.encode(), 1)
        self.replies(b"DATA\r\n", 1)
        self.replies(dot_stuff(text) + b".\r\n", len(accounts))

    def logout(self):
        self.replies(b"QUIT\r\n", 1)
        self.close()


class Pop3(Client):
    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.line(b"+OK")

    def lines(self, command):
        self.ask(command)
        while self.file.readline() != b".\r\n":
            pass


def fill(server):
    """Both mailboxes, and Archive; everybody has logged in once: the first time hashes a password."""
    lmtp = Lmtp(server)
    for number in range(MANY):
        lmtp.deliver(["many"], message(number, 4096))
    for number in range(SOME):
        lmtp.deliver(["some"], message(number, 4096))
    lmtp.logout()


def warm(server):
    for account in ("many", "some", "one"):
        Imap(server, account, "INBOX").logout()
    many = Imap(server, "many", "INBOX")
    many.ask("FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)")
    many.ask("SEARCH BODY zebrafish")
    many.logout()


# ---- the measures: each is a generator. Before its first yield it prepares; what it does between
# ---- two yields is counted, and divided by what it yields: operations, each time.

SERIAL = iter(range(10 ** 6, 10 ** 9))  # no message comes twice


def imap_measure(count, command, account="many", per=1, first="NOOP"):
    """The same commands, each time; {n} is the message, {sign} changes when all had their turn."""
    def measure(server):
        client = Imap(server, account, "INBOX")
        client.ask(first)
        done = 0
        yield 0
        while True:
            for number in range(count):
                client.ask(command.format(n=done % count * 7 + 1, sign="+-"[done // count % 2]))
                done += 1
            yield count * per
    return measure


def logins(server):
    yield 0
    while True:
        for _ in range(20):
            Imap(server, "one").logout()
        yield 20


def selects(server):
    client = Imap(server, "many")
    yield 0
    while True:
        for _ in range(10):
            client.ask("SELECT INBOX")
        yield 10


def deliveries(count, size, accounts=("one",)):
    def measure(server):
        client = Lmtp(server)
        client.deliver(accounts, message(next(SERIAL), size))
        yield 0
        while True:
            texts = [message(next(SERIAL), size) for _ in range(count)]
            for text in texts:
                client.deliver(accounts, text)
            yield count * len(accounts)
    return measure


def appends(server):
    client = Imap(server, "one")
    yield 0
    while True:
        for _ in range(20):
            client.append(message(next(SERIAL), 4096))
        yield 20


def pushes(server):
    """A delivery, and the IDLE connection that is told."""
    watcher, client = Imap(server, "one", "INBOX"), Lmtp(server)
    watcher.socket.sendall(b"x IDLE\r\n")
    watcher.line(b"+")
    yield 0
    while True:
        for _ in range(10):
            client.deliver(["one"], message(next(SERIAL), 4096))
            while b"EXISTS" not in watcher.file.readline():
                pass
        yield 10


def pop3_sessions(server):
    yield 0
    while True:
        client = Pop3(server.ports["pop3"])
        client.line(b"+OK")
        client.ask("USER some")
        client.ask(f"PASS {PASSWORD}")
        client.ask("STAT")
        client.lines("UIDL")
        for number in range(SOME):
            client.lines(f"RETR {number + 1}")
        client.ask("QUIT")
        client.close()
        yield SOME


META = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)"
MEASURES = {
    "login_logout": logins,
    "noop": imap_measure(20, "NOOP"),
    "lmtp_4k": deliveries(20, 4096),
    "lmtp_40k": deliveries(10, 40960),
    "lmtp_10_recipients": deliveries(4, 4096, ACCOUNTS[3:]),
    "append_4k": appends,
    "push_to_idle": pushes,
    "select_1000": selects,
    "fetch_meta": imap_measure(1, f"FETCH 1:* {META}", per=MANY),
    "fetch_flags": imap_measure(1, "FETCH 1:* (FLAGS)", per=MANY),
    "fetch_bodies": imap_measure(1, "FETCH 1:* (BODY.PEEK[])", per=MANY),
    "fetch_one_body": imap_measure(20, "FETCH {n} (BODY.PEEK[])"),
    "store_one": imap_measure(20, "STORE {n} {sign}FLAGS (\\Flagged)",
                              first="STORE 1:* -FLAGS.SILENT (\\Flagged)"),
    "store_all": imap_measure(1, "STORE 1:* {sign}FLAGS.SILENT (\\Answered)", per=MANY,
                              first="STORE 1:* -FLAGS.SILENT (\\Answered)"),
    "copy_100": imap_measure(1, "COPY 1:100 Archive", account="some", per=SOME),
    "search_subject": imap_measure(2, "SEARCH SUBJECT zebrafish", per=MANY),
    "search_body": imap_measure(1, "SEARCH BODY zebrafish", per=MANY),
    "pop3_session": pop3_sessions,
}
