"""A mail system that keeps what it is given: LMTP (RFC 2033), for programs that pass mail on to one.
Each message becomes a file as it came; take() is asked for the path."""
import socketserver
import threading


class Sink(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, take):
        super().__init__(("127.0.0.1", 0), Session)
        self.take = take
        self.port = self.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.05,)).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Session(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text + b"\r\n")

    def handle(self):
        self.say(b"220 sink LMTP")
        recipients = 0
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"LHLO":
                self.say(b"250-sink\r\n250 8BITMIME")
            elif verb == b"DATA":
                self.say(b"354 go on")
                self.keep()
                for _ in range(recipients):
                    self.say(b"250 kept")
                recipients = 0
            elif verb == b"QUIT":
                self.say(b"221 bye")
                return
            else:
                recipients += verb == b"RCPT"
                self.say(b"250 ok")

    def keep(self):
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return  # the rest never came
            lines.append(line[1:] if line.startswith(b".") else line)
        with open(self.server.take(), "wb") as file:
            file.writelines(lines)
