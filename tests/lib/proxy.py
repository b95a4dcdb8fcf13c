"""A line between a mail program and the server that breaks where it is told to.

    with Proxy(server.ports["imap"]) as proxy:
        proxy.breaks = [(100000, None), (b"[APPENDUID ", server.restart)]
        ... a program that is pointed at proxy.port ...

Each break counts the bytes from the server since the one before, over all connections: when
exactly so many have passed (or these bytes would come next), its function is called and every
connection ends: in order, as when a process dies, or with a reset, as when a machine between has
forgotten it. `said` is what the programs said, `heard` how many bytes the server answered."""
import contextlib
import re
import socket
import struct
import threading

# What asks for a message or its text: RETR, TOP, BODY[], BODY[TEXT], RFC822, RFC822.TEXT.
ASKS = re.compile(rb"^(?:RETR|TOP) |\bBODY(?:\.PEEK)?\[(?:TEXT)?\]|\bRFC822(?:\.TEXT)?(?=[ )\r])",
                  re.I | re.M)


class Proxy:
    def __init__(self, port, reset=False):
        self.server, self.resets = ("127.0.0.1", port), reset
        self.breaks, self.passed = [], 0
        self.said, self.heard = bytearray(), 0
        self.lock = threading.RLock()
        self.sockets, self.threads = [], []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.begin(self.accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join()
        self.listener.close()
        self.hang_up()
        for thread in self.threads:
            thread.join()

    def forget(self):
        """Counts from here on."""
        with self.lock:
            self.said, self.heard, self.breaks, self.passed = bytearray(), 0, [], 0

    def asked(self):
        """How often a message was asked for."""
        return len(ASKS.findall(self.said))

    def hang_up(self):
        with self.lock:
            for s in self.sockets:
                with contextlib.suppress(OSError):  # one that has ended by itself
                    if self.resets:  # sent when the socket is closed, by who reads there now
                        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    s.shutdown(socket.SHUT_RD if self.resets else socket.SHUT_RDWR)
            self.sockets = []

    # ---- inside --------------------------------------------------------------------------------

    def begin(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        self.threads.append(thread)
        return thread

    def accept(self):
        with contextlib.suppress(OSError):  # shut down: close()
            while True:
                self.begin(self.carry, self.listener.accept()[0])

    def carry(self, client):
        with client, contextlib.suppress(OSError):  # an end of one side is an end of the other
            with socket.create_connection(self.server) as server:
                for s in (client, server):
                    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self.lock:
                    self.sockets += [client, server]
                up = threading.Thread(target=self.pump, args=(client, server, self.from_client))
                up.start()
                try:
                    self.pump(server, client, self.from_server)
                finally:
                    up.join()

    def pump(self, source, target, note):
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and source in self.sockets:
                data, here = note(data)
                target.sendall(data)
                if here:
                    self.end(here)
        with self.lock, contextlib.suppress(OSError):
            if target in self.sockets:
                target.shutdown(socket.SHUT_WR)

    def end(self, here):
        with self.lock:
            if here[1]:
                here[1]()
            self.hang_up()

    def from_client(self, data):
        with self.lock:
            self.said += data
        return data, None

    def from_server(self, data):
        """What is passed on of it, and the break that comes after that."""
        with self.lock:
            self.heard += len(data)
            self.passed += len(data)
            if not self.breaks:
                return data, None
            place = self.breaks[0][0]
            if isinstance(place, bytes):
                keep = data.find(place)  # a line of an answer comes whole here
            else:
                keep = len(data) - (self.passed - place) if self.passed >= place else -1
            if keep < 0:
                return data, None
            self.passed = 0
            return data[:keep], self.breaks.pop(0)
