"""A client of Marionette, the remote control that Mozilla's programs have built in (`--marionette`):
frames of `<length>:<JSON>` over TCP. Just enough to run JavaScript inside the program."""
import json
import socket

from lib.server import wait_until


class Marionette:
    def __init__(self, port):
        self.last = 0
        wait_until("the program's remote control", lambda: self.connect(port), 120)
        self.command("WebDriver:NewSession", {"unhandledPromptBehavior": "accept"})
        self.command("Marionette:SetContext", {"value": "chrome"})
        self.command("WebDriver:SetTimeouts", {"script": 110000})

    def connect(self, port):
        """True when the greeting was read: while it starts, the program may close again."""
        self.buffer = b""
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), 120)
        except OSError:
            return False
        try:
            return self.frame()["marionetteProtocol"] == 3
        except OSError:
            self.socket.close()
            return False

    def frame(self):
        while True:
            head, colon, rest = self.buffer.partition(b":")
            if colon and len(rest) >= int(head):
                size = int(head)
                self.buffer = rest[size:]
                return json.loads(rest[:size])
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionResetError("the program ended the remote control")
            self.buffer += more

    def command(self, name, parameters):
        self.last += 1
        text = json.dumps([0, self.last, name, parameters]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        while True:
            kind, number, error, result = self.frame()
            if kind == 1 and number == self.last:
                break
        if error:
            raise AssertionError(f"{error['error']}: {error['message']}\n{error.get('stacktrace')}")
        return result

    def run(self, script, *args):
        """The script's value; it may await, and finds what it is given in `arguments`."""
        answer = self.command("WebDriver:ExecuteScript",
                              {"script": f"return (async (...arguments) => {{ {script} }})(...arguments)",
                               "args": list(args), "sandbox": "system", "newSandbox": False})
        return answer["value"]

    def close(self):
        self.socket.close()
