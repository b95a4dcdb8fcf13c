"""A Restante server for tests: a process group in a data directory of its own, on loopback.

    with Server() as server:
        server.account("alice", "secret")
        server.deliver("alice", b"Subject: x\\r\\n\\r\\nhello\\r\\n")
        imap = server.imap("alice", "secret")

RESTANTE_BUILD names the build to test (default: build)."""
import contextlib
import imaplib
import json
import os
import poplib
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("RESTANTE_BUILD", "build"))
PROGRAM = os.path.join(BUILD, "restante")
NAMES = ("imap", "imaps", "pop3", "pop3s", "lmtp", "http")
poplib._MAXLINE = 1 << 20  # real mail has longer lines than poplib likes
PATIENCE = 30  # seconds until a wait is given up as a failure; never a pause that hopes


def free_ports(count):
    """Ports nobody listens on, all held at once so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def wait_until(what, condition, patience=PATIENCE):
    """Polls until condition() is true and returns it; an AssertionError names what did not come."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s in vain for {what}")
        time.sleep(0.02)


def family(pid):
    """pid and all processes below it."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
            parent = int(file.read().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


class Server:
    def __init__(self, *arguments, data=None, config="", env=None, start=True, build=BUILD):
        self.build, self.program = build, os.path.join(build, "restante")
        self.own_data = data is None
        self.data = data or tempfile.mkdtemp(prefix="restante-test-")
        os.chmod(self.data, 0o755)
        self.arguments = list(arguments)
        self.config = config
        self.env = dict(os.environ, **(env or {}))
        self.ports = dict(zip(NAMES, free_ports(len(NAMES))))
        self.process = None
        beside = os.path.abspath(self.data)
        self.log, self.config_file = beside + ".log", beside + ".conf"
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.kill()
        if self.own_data:
            shutil.rmtree(self.data, ignore_errors=True)
            for path in (self.log, self.config_file):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    # ---- life ----------------------------------------------------------------------------------

    def command(self):
        listen = [f"--listen={name}=127.0.0.1:{port}" for name, port in self.ports.items()]
        command = [self.program, "serve", "--data", self.data, *listen, *self.arguments]
        if self.config:
            with open(self.config_file, "w") as file:
                file.write(self.config)
            command += ["--config", self.config_file]
        return command

    def start(self, wait=True):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=self.env, start_new_session=True)
        if wait:
            wait_until("the server to answer", self.ready)

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"server ended with {self.process.returncode}:\n{self.log_text()}")
        try:
            with socket.create_connection(("127.0.0.1", self.ports["imap"]), 1) as s:
                s.settimeout(5)
                return s.recv(4).startswith(b"* OK")
        except OSError:
            return False

    def stop(self):
        """In order, as systemd would; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(PATIENCE)
        self.process = None
        return status

    def kill(self):
        """kill -9 of every process of the server at once."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process = None

    def restart(self):
        self.kill()
        self.start()

    def log_text(self):
        with open(self.log, errors="replace") as log:
            return log.read()[-20000:]

    # ---- the command line ----------------------------------------------------------------------

    def run(self, *words, input=None, check=True):
        done = subprocess.run([self.program, *words, "--data", self.data], input=input, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
                              timeout=PATIENCE * 4)
        if check and done.returncode != 0:
            raise AssertionError(f"restante {' '.join(words)}: {done.returncode}\n"
                                 f"{done.stdout}{done.stderr}\n{self.log_text()}")
        return done

    def account(self, name, password, *options):
        self.run("account", "add", name, "--password-stdin", *options, input=password + "\n")

    def status(self):
        return json.loads(self.run("status", "--json").stdout)

    def process_list(self):
        """Every process but master: name, index, pid, ..."""
        return [p for p in self.status()["processes"] if p["process"] != "master"]

    def http(self, path):
        """(status, text)"""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    # ---- clients -------------------------------------------------------------------------------

    def tls(self):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def imap(self, name, password, tls=False):
        if tls:
            imap = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=self.tls())
        else:
            imap = imaplib.IMAP4("127.0.0.1", self.ports["imap"])
        try:
            imap.login(name, password)
        except BaseException:
            imap.shutdown()
            raise
        return imap

    def pop3(self, name, password, tls=False):
        if tls:
            pop3 = poplib.POP3_SSL("127.0.0.1", self.ports["pop3s"], context=self.tls())
        else:
            pop3 = poplib.POP3("127.0.0.1", self.ports["pop3"])
        pop3.encoding = "utf-8"
        try:
            pop3.user(name)
            pop3.pass_(password)
        except BaseException:
            pop3.close()
            raise
        return pop3

    def lmtp(self):
        return Lmtp("127.0.0.1", self.ports["lmtp"])

    def deliver(self, recipients, message, sender="sender@example.org"):
        """Over LMTP; raises unless every recipient's copy was taken."""
        with self.lmtp() as lmtp:
            answers = lmtp.transact(sender, recipients, message)
        for recipient, (code, text) in answers.items():
            if code != 250:
                raise AssertionError(f"{recipient}: {code} {text}")


class Lmtp(smtplib.LMTP):
    """smtplib's LMTP, which does not look at the answers per recipient; this one returns them."""

    def __init__(self, host, port):
        super().__init__(host, port)
        self.lhlo_done = False

    def transact(self, sender, recipients, message):
        if isinstance(recipients, str):
            recipients = [recipients]
        if not self.lhlo_done:
            code, text = self.docmd("LHLO", "client.example.org")
            assert code == 250, text
            self.lhlo_done = True
        code, text = self.docmd(f"MAIL FROM:<{sender}>")
        assert code == 250, (code, text)
        answers, good = {}, []
        for recipient in recipients:
            code, text = self.docmd(f"RCPT TO:<{recipient}>")
            if code == 250:
                good.append(recipient)
            else:
                answers[recipient] = (code, text)
        if not good:
            self.docmd("RSET")
            return answers
        code, text = self.docmd("DATA")
        assert code == 354, (code, text)
        self.sock.sendall(dot_stuff(message) + b".\r\n")
        for recipient in good:
            answers[recipient] = self.getreply()
        return answers


def dot_stuff(message):
    """For messages in wire form."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    if message.startswith(b"."):
        message = b"." + message
    return message.replace(b"\r\n.", b"\r\n..")
