"""Too little of what the machine lends: whoever comes too late is told so in the words of the
protocol, nobody else loses anything, and when there is room again everything is as before."""
import socket
import ssl
import unittest

from lib.server import PATIENCE, Server, wait_until

DESCRIPTORS = 200  # of each process, instead of thousands
MANY = 160


class Descriptors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(config="process { workers = 1\n doors = 1\n readers = 1 }\n",
                            start=False)
        command = cls.server.command
        cls.server.command = lambda: ["prlimit", f"--nofile={DESCRIPTORS}", *command()]
        cls.server.start()
        cls.addClassCleanup(cls.server.close)
        for name in ("alice", "bob"):
            cls.server.account(name, "secret")

    def connect(self, name, held):
        s = socket.create_connection(("127.0.0.1", self.server.ports[name]), PATIENCE)
        held.append(s)
        self.addCleanup(s.close)
        return s

    def hear(self, s, *ends):
        said = b""
        while not any(end in said for end in ends):
            data = s.recv(4096)
            if not data:
                break
            said += data
        return said

    def served(self):
        """Everybody, over everything, by the processes that were there all the while."""
        self.server.deliver("bob", b"Subject: x\r\n\r\n%d\r\n" % id(self))
        for tls in (False, True):
            imap = self.server.imap("bob", "secret", tls=tls)
            self.assertEqual(imap.select()[0], "OK")
            self.assertEqual(imap.fetch("*", "(BODY.PEEK[])")[0], "OK")
            imap.logout()
            self.server.pop3("bob", "secret", tls=tls).quit()
        (master,) = [p for p in self.server.status()["processes"] if p["process"] == "master"]
        self.assertEqual([p for p in master["processes"] if p["restarts"]], [])
        self.assertNotIn("ipc_broken", self.server.log_text())

    def test_sessions(self):
        """More logged in than a worker has descriptors for."""
        held, good, told = [], 0, 0
        for _ in range(MANY):
            s = self.connect("imap", held)
            s.sendall(b"a LOGIN alice secret\r\n")
            said = self.hear(s, b"a OK", b"* BYE", b"a NO")
            good += b"a OK" in said
            told += b"* BYE [UNAVAILABLE] Too many connections" in said
        self.assertEqual((good >= 40, good + told), (True, MANY))
        self.assertIn("event=session_refused account=alice", self.server.log_text())
        for s in held:
            s.close()
        wait_until("room", lambda: self.gone("worker"))
        self.served()

    def test_silent(self):
        """More before login than a door, or tls, has descriptors for."""
        for name in ("imap", "imaps"):
            held = []
            for _ in range(MANY):
                self.connect(name, held)
            wait_until("a refusal", lambda: b"* BYE Too many connections" in
                       self.hear(self.connect("imap", held), b"\r\n"))
            self.assertIn("event=connection_refused", self.server.log_text())
            for s in held:
                s.close()
            wait_until("room", lambda: self.gone("door"))
            self.served()

    def test_tls_sessions(self):
        held, good = [], 0
        for _ in range(MANY):
            s = self.connect("imaps", held)
            try:
                tls = self.server.tls().wrap_socket(s)
                self.addCleanup(tls.close)
                held.append(tls)
                tls.sendall(b"a LOGIN alice secret\r\n")
                good += b"a OK" in self.hear(tls, b"a OK", b"* BYE", b"a NO")
            except (ssl.SSLError, ConnectionError):
                pass  # refused before there was anybody who could say it in TLS
        self.assertGreaterEqual(good, 40)
        for s in held:
            s.close()
        wait_until("room", lambda: self.gone("worker") and self.gone("door"))
        self.served()

    def gone(self, process):
        """No session or connection is left in it."""
        metrics = self.server.http("/metrics")[1]
        return f'restante_sessions{{process="{process}",index="0"}} 0' in metrics


if __name__ == "__main__":
    unittest.main()
