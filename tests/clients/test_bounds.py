"""Clients that mean harm: what they make the server hold stays within its bound, and honest
sessions beside them are served all the while. Counts and memory, never the clock."""
import contextlib
import os
import socket
import ssl
import unittest

from lib.server import PATIENCE, Server, wait_until

MIB = 1 << 20
BIG = 20 * MIB  # of the message that slow readers fetch
# In make test-long more of the same.
COMMANDS = int(os.environ.get("RESTANTE_PIPELINED", "200000"))
GUESSERS = int(os.environ.get("RESTANTE_GUESSERS", "24"))
SLOW = b"Subject: slow\r\n\r\n" + b"x" * 100


def private_kib(pid):
    """What only that process holds. Where smaps_rollup is not shown (an undumpable process of
    another user, asked without privileges) there is no answer."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(("Private_", "Swap:")))


def everything_read(port):
    """Nothing waits in a socket of that port, on its way in or out."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    return all(row[4] == "00000000:00000000" for row in rows if row[3] == "01" and
               f"{port:04X}" in (row[1].partition(":")[2], row[2].partition(":")[2]))


def workers(server):
    for process in server.status()["processes"]:
        if process["process"] == "master":
            return [p["pid"] for p in process["processes"] if p["process"] == "worker"]
    return []


def memory_files(pid):
    """Bytes in the memory files of APPEND that a process holds."""
    total = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            path = f"/proc/{pid}/fd/{name}"
            if os.readlink(path).startswith("/memfd:append"):
                total += os.stat(path).st_size
    return total


class Bounds(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(config="auth { penalty_max = 1 }\n")
        cls.addClassCleanup(cls.server.close)
        cls.server.account("alice", "secret")
        cls.server.account("bob", "secret")
        line = b"0123456789 ten and some more of the same line of text\r\n"
        cls.server.deliver("alice", b"Subject: big\r\n\r\n" + line * (BIG // len(line)))

    def connect(self, name="imap"):
        s = socket.create_connection(("127.0.0.1", self.server.ports[name]), PATIENCE)
        self.addCleanup(s.close)
        return s

    def file(self, s):
        file = s.makefile("rb")
        self.addCleanup(file.close)
        return file

    def login(self):
        s = self.connect()
        file = self.file(s)
        file.readline()
        s.sendall(b"a LOGIN alice secret\r\n")
        self.until(file, b"a OK")
        return s, file

    def until(self, file, start):
        while not (line := file.readline()).startswith(start):
            self.assertTrue(line, f"closed before {start}")
        return line

    def honest(self, rounds=3):
        """Somebody else logs in, gets mail and leaves; over IMAP and POP3, and mail comes in."""
        for n in range(rounds):
            self.server.deliver("bob", b"Subject: honest\r\n\r\n%d %d\r\n" % (n, id(self)))
            imap = self.server.imap("bob", "secret")
            self.assertEqual(imap.select()[0], "OK")
            self.assertEqual(imap.fetch("*", "(BODY.PEEK[])")[0], "OK")
            imap.logout()
            self.server.pop3("bob", "secret").quit()

    def memory(self, process):
        (pid,) = [p["pid"] for p in self.processes() if p["process"] == process][:1]
        try:
            return private_kib(pid)
        except PermissionError:
            self.skipTest("memory of other users' processes is not shown")

    def processes(self):
        for process in self.server.status()["processes"]:
            if process["process"] == "master":
                return process["processes"]
        return []

    def restarts(self):
        return sum(p["restarts"] for p in self.processes())

    def grows_less(self, process, before, kib, what):
        grown = self.memory(process) - before
        self.assertLess(grown, kib, f"{what}: {process} holds {grown} KiB more")

    def test_slow_readers(self):
        """100 MB asked for and never read, by ten sessions each: the message is not in memory."""
        before = self.memory("worker")
        held = [self.login() for _ in range(10)]
        for s, file in held:
            s.sendall(b"b SELECT INBOX\r\n")
            self.until(file, b"b OK")
            s.sendall(b"".join(b"c%d FETCH 1 BODY.PEEK[]\r\n" % n for n in range(5)))
        for s, _ in held:
            self.assertTrue(s.recv(10))  # each is being answered
        self.honest()
        self.grows_less("worker", before, 10 * 2048 + 8192, "ten slow readers")

    def test_literals_never_sent(self):
        """Announced in full size; what is not sent is not held."""
        before_door, before = self.memory("door"), self.memory("worker")
        for _ in range(100):
            self.connect().sendall(b"a LOGIN {4096}\r\n")
        held = []
        for _ in range(40):
            s, file = self.login()
            s.sendall(b"b APPEND INBOX {%d}\r\n" % (20 * MIB))
            self.until(file, b"+ ")
            held.append((s, file))
        self.honest()
        self.grows_less("door", before_door, 100 * 20 + 4096, "a hundred literals before login")
        self.grows_less("worker", before, 40 * 128 + 8192, "forty literals of 20 MiB")

    def test_literals_all_but_sent(self):
        """Sessions that send all of a large message but its end: together they are bounded, and
        when they go the room is there again."""
        size = MIB
        if os.geteuid() != 0:
            self.skipTest("the memory of other users' processes is not shown")
        with Server(config='message { size = 1M }\n') as server:
            server.account("alice", "secret")
            imap = server.imap("alice", "secret")
            message = b"Subject: x\r\n\r\n" + b"y" * 50000
            self.assertEqual(imap.append("INBOX", None, None, message)[0], "OK")
            held = []
            for _ in range(40):
                held.append(server.imap("alice", "secret"))
                held[-1].send(b"x APPEND INBOX {%d+}\r\n" % size + b"y" * (size - 1))
            wait_until("all to be read", lambda: everything_read(server.ports["imap"]))
            total = sum(memory_files(pid) for pid in workers(server))
            self.assertGreater(total, 8 * size)
            self.assertLessEqual(total, 16 * size)
            for other in held:
                other.shutdown()
            wait_until("room", lambda: imap.append("INBOX", None, None, message)[0] == "OK")
            imap.logout()

    def test_many_commands_pipelined(self):
        """Hundreds of thousands, sent without reading: each is answered, in order, once it is read."""
        count, at_once = COMMANDS, 2000
        before = self.memory("worker")
        s, file = self.login()
        s.settimeout(PATIENCE)
        sent = 0
        for start in range(0, count, at_once):
            s.sendall(b"".join(b"n%d NOOP\r\n" % n for n in range(start, start + at_once)))
            for n in range(start, start + at_once):
                line = file.readline()
                while line.startswith(b"* "):
                    line = file.readline()
                self.assertTrue(line.startswith(b"n%d OK" % n), line)
                sent += 1
        self.assertEqual(sent, count)
        self.honest(1)
        self.grows_less("worker", before, 8192, "pipelined commands")

    def test_pipelined_and_never_read(self):
        """The server stops reading from who does not read: the sender's socket fills."""
        before = self.memory("worker")
        s, _ = self.login()
        s.setblocking(False)
        noops = b"x CAPABILITY\r\n" * 4096
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += s.send(noops)
        except BlockingIOError:
            pass
        self.honest()
        try:
            while sent < 64 * MIB:
                sent += s.send(noops)
        except BlockingIOError:
            pass
        self.assertLess(sent, 32 * MIB, "it was read without end")
        self.grows_less("worker", before, 16384, "answers that nobody reads")

    def test_deep_mime(self):
        """10,000 messages in each other, and as many multiparts: kept as they are, and shown."""
        nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
                          for n in range(10000)) + b"\r\nend\r\n"
        inside = b"Content-Type: message/rfc822\r\n\r\n" * 10000 + b"Subject: in\r\n\r\nend\r\n"
        restarts = self.restarts()
        for message in (nested, inside):
            self.server.deliver("bob", b"Subject: deep\r\n" + message)
        imap = self.server.imap("bob", "secret")
        count = int(imap.select()[1][0])
        numbers = b"%d %d" % (count - 1, count)
        self.assertEqual(imap.search(None, "BODY", "end"), ("OK", [numbers]))
        for what in ("BODYSTRUCTURE", "ENVELOPE", "BODY.PEEK[1.1.1.1]", "RFC822.SIZE"):
            self.assertEqual(imap.fetch("1:*", f"({what})")[0], "OK")
        self.assertEqual(imap.search(None, "BODY", "end"), ("OK", [numbers]))
        imap.logout()
        self.honest(1)
        self.assertEqual(self.restarts(), restarts)

    def test_names(self):
        """Names that would leave the store, end a string or draw on a terminal are only names, or
        refused; nothing of them appears outside the account."""
        s, file = self.login()
        s.sendall(b"z LIST \"\" *\r\n")
        self.until(file, b"z OK")
        for n, name in enumerate((b"../../../x", b"..", b"/etc/passwd", b"a//b", b"/", b"~root/x",
                                  b"a\x00b", b"a\x01\x1b[2Jb", b"\x7f", b"\xff\xfe", b"&AAAA-",
                                  b"&-&-&", b"%", b"*", b"a" * 5000, b"a/" * 2000 + b"b",
                                  b"INBOX/../../bob", b"\xe2\x80\xae", b"")):
            s.sendall(b"c%d CREATE {%d+}\r\n" % (n, len(name)) + name + b"\r\n")
            line = file.readline()
            while line.startswith(b"* ") and not line.startswith(b"* BYE"):
                line = file.readline()
            self.assertIn(line.split(b" ")[1], (b"OK", b"NO", b"BAD", b"BYE"), line)
            if line.startswith(b"* BYE"):
                s, file = self.login()
        for root, directories, files in os.walk(self.server.data):
            for name in directories + files:
                self.assertNotIn(name, ("x", "passwd", "bob"), root)
        log = self.server.log_text()
        self.assertNotIn("\x1b", log)
        self.honest(1)

    def test_idle_storm(self):
        """Sessions in IDLE on a mailbox into which mail comes: all hear of it."""
        held = []
        for _ in range(100):
            s, file = self.login()
            s.sendall(b"b SELECT INBOX\r\n")
            self.until(file, b"b OK")
            s.sendall(b"c IDLE\r\n")
            self.until(file, b"+ ")
            held.append((s, file))
        for _ in range(5):
            for s, file in held[:50]:
                s.sendall(b"DONE\r\nc IDLE\r\n" * 20)
        self.server.deliver("alice", b"Subject: news\r\n\r\n.\r\n")
        for s, file in held[50:]:
            self.until(file, b"* ")
        self.honest(1)

    def test_handshake_floods(self):
        """Half a handshake, garbage, and clients that ask to renegotiate."""
        before = self.memory("tls")
        half = [self.connect("imaps") for _ in range(200)]
        for n, s in enumerate(half):
            s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" if n % 2 else b"GET / HTTP/1.0\r\n")
        for _ in range(50):
            with self.server.tls().wrap_socket(self.connect("imaps")) as s:
                self.assertIn(b"* OK", s.recv(1000))
        imap = self.server.imap("bob", "secret", tls=True)
        self.assertEqual(imap.select()[0], "OK")
        imap.logout()
        self.grows_less("tls", before, 200 * 100 + 8192, "two hundred half handshakes")

    def test_end_in_the_middle_of_a_record(self):
        """A client that vanishes in a record: nothing of the record is a command."""
        restarts = self.restarts()
        for cut in (1, 5, 20, 60):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing)
            s = self.connect("imaps")
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(s.recv(65536))
            s.sendall(outgoing.read())
            tls.write(b"a LOGIN alice secret\r\nb CREATE half%d\r\n" % cut)
            record = outgoing.read()
            s.sendall(record[:-cut])
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass  # until it is closed
        imap = self.server.imap("alice", "secret")
        self.assertNotIn(b"half", b"".join(imap.list()[1]))
        imap.logout()
        self.assertEqual(self.restarts(), restarts)

    def test_http(self):
        """Hundreds that hold connections to the metrics and say nothing, or half of something:
        64 are kept, the oldest makes room, and who asks is answered."""
        (pid,) = [p["pid"] for p in self.processes() if p["process"] == "control"]
        refused = self.count("connections_refused")
        held = [self.connect("http") for _ in range(300)]
        for n, s in enumerate(held):
            with contextlib.suppress(OSError):
                s.sendall((b"", b"G", b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"x" * 4000)[n % 4])
        self.assertEqual(self.server.http("/healthz"), (200, "ok\n"))
        self.assertGreaterEqual(self.count("connections_refused") - refused, 300 - 64)
        self.assertIn("event=connection_refused protocol=http", self.server.log_text())
        if os.access(f"/proc/{pid}/fd", os.R_OK):
            self.assertLess(len(os.listdir(f"/proc/{pid}/fd")), 64 + 40)
        self.honest(1)

    def test_http_answers(self):
        """RFC 9112: what is asked wrongly is told so, and nothing is read behind the answer."""
        for ask, code in ((b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200),
                          (b"HEAD /metrics HTTP/1.0\n\n", 200),
                          (b"GET http://h:1/healthz?a HTTP/1.1\r\nhost:h\r\n\r\n", 200),
                          (b"GET /healthz HTTP/1.1\r\n\r\n", 400),  # 3.2: without Host
                          (b"GET /../etc/passwd HTTP/1.0\r\n\r\n", 404),
                          (b"POST /metrics HTTP/1.0\r\nContent-Length: 4\r\n\r\nGET ", 405),
                          (b"GET  HTTP/1.0\r\n\r\n", 400), (b"\r\n\r\n", 400),
                          (b"GET /metrics HTTP/1.0\r\nX: \x00\r\n\r\n", 400),
                          (b"GET /" + b"a" * (8192 - 5), 400)):
            with self.subTest(ask=ask[:40]):
                s = self.connect("http")
                s.sendall(ask)
                head, _, body = self.file(s).read().partition(b"\r\n\r\n")
                self.assertEqual(int(head.split()[1]), code)
                if ask.startswith(b"HEAD"):
                    self.assertEqual(body, b"")
                else:
                    self.assertIn(b"Content-Length: %d\r\n" % len(body), head)

    def test_password_guessing(self):
        """Guesses for one account, from many connections at once: all refused, others log in."""
        guessers = [self.connect() for _ in range(30)]
        for s in guessers:
            s.sendall(b"a LOGIN alice wrong\r\n")
        self.honest()
        for s in guessers:
            self.assertIn(b"AUTHENTICATIONFAILED", self.until(self.file(s), b"a NO"))
        wait_until("a count of them", lambda: self.count("auth_failed") >= 30)

    def test_guessing_from_many_addresses(self):
        """One guess from each of many addresses: for an account that exists and for those that do
        not the answer is the same, and whoever knows the secret still gets in."""
        refused, guessers = self.count("auth_failed"), []
        for n in range(GUESSERS):
            s = socket.create_connection(
                ("127.0.0.1", self.server.ports["imap"]), PATIENCE,
                source_address=(f"127.{1 + n // 250 % 250}.{n // 62500}.{1 + n % 250}", 0))
            self.addCleanup(s.close)
            s.sendall(b"a LOGIN alice wrong%d\r\n" % n if n % 2 else b"a LOGIN nobody%d x\r\n" % n)
            guessers.append(s)
        imap = self.server.imap("alice", "secret")
        imap.logout()
        self.honest(1)
        for s in guessers:
            said = self.until(self.file(s), b"a ")
            self.assertIn(b"a NO [AUTHENTICATIONFAILED]", said)
        wait_until("a count of them", lambda: self.count("auth_failed") >= refused + GUESSERS)

    def test_byte_by_byte(self):
        """Clients that take a literal and their answers in single bytes: who sends slowly holds a
        connection and what it sent, nobody else waits."""
        slow = [self.login() for _ in range(20)]
        for s, file in slow:
            s.sendall(b"b APPEND INBOX {%d}\r\n" % len(SLOW))
            self.until(file, b"+ ")
        for at in range(len(SLOW)):
            for s, _ in slow:
                s.sendall(SLOW[at:at + 1])
            if at % 20 == 0:
                self.honest(1)
        for s, file in slow:
            s.sendall(b"\r\n")
            self.assertIn(b"b OK", self.until(file, b"b "))

    def test_slow_searches(self):
        """Patterns of which a naive matcher would think for hours, in LIST and SEARCH."""
        self.server.account("carol", "secret")
        imap = self.server.imap("carol", "secret")
        imap.create("a" * 60 + "/" + "a" * 60)
        for _ in range(20):
            self.server.deliver("carol", b"Subject: " + b"a" * 900 + b"\r\n\r\n" +
                                (b"a" * 998 + b"\r\n") * 300 + b"%d %d\r\n" % (_, id(self)))
        imap.select()
        self.assertEqual(imap.list('""', '"' + "*a%a" * 200 + 'b"'), ("OK", [None]))
        self.assertEqual(imap.search(None, "BODY", '"' + "a" * 900 + 'b"'), ("OK", [b""]))
        deep = "OR " * 40 + "BODY aab " * 40 + "BODY aac"
        self.assertEqual(imap.search(None, deep), ("OK", [b""]))
        self.assertEqual(imap.search(None, "NOT " * 40 + "ALL")[0], "OK")
        imap.logout()
        self.honest(1)

    def count(self, name):
        total = 0
        with socket.create_connection(("127.0.0.1", self.server.ports["http"]), PATIENCE) as s:
            s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            for line in s.makefile():
                if line.startswith("restante_" + name):
                    total += int(line.split()[-1])
        return total


if __name__ == "__main__":
    unittest.main()
