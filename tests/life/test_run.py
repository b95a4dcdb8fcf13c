"""`make run` as a stranger meets it: one screen, mail in a mail program, Ctrl-C. Once as who we are,
once as an ordinary user; on a terminal, as people have one."""
import imaplib
import os
import pty
import pwd
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from lib.server import BUILD, PATIENCE, TOP

USER = "restante-test-user"


class Terminal:
    """A program on a terminal of its own, with make's way of being started by a shell."""

    def __init__(self, command, user=None):
        self.text = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            # As a login shell would have it: whoever started the tests may ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            try:
                if user is not None:
                    entry = pwd.getpwnam(user)
                    os.setgroups([])
                    os.setgid(entry.pw_gid)
                    os.setuid(entry.pw_uid)
                    os.environ["HOME"] = entry.pw_dir
                os.chdir(TOP)
                os.execvp(command[0], command)
            finally:
                os._exit(127)

    def until(self, pattern):
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.text, re.S)):
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"waited for {pattern} in vain:\n{self.text}")
            try:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:  # all of it is gone
                raise AssertionError(f"ended without {pattern}:\n{self.text}") from None
        return found

    def type(self, text):
        os.write(self.terminal, text.encode())

    def status(self):
        """The exit status, once it has ended."""
        self.until_end()
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def until_end(self):
        try:
            self.until("$^never")
        except AssertionError:
            pass

    def close(self):
        if self.pid != 0:
            os.kill(self.pid, signal.SIGTERM)
            self.status()
        os.close(self.terminal)


class Run(unittest.TestCase):
    def setUp(self):
        """A build directory as `make` leaves it, without what has been run in it."""
        self.build = tempfile.mkdtemp(prefix="restante-test-")
        self.addCleanup(shutil.rmtree, self.build, ignore_errors=True)
        for name in os.listdir(BUILD):
            path = os.path.join(BUILD, name)
            if re.fullmatch(r"restante(-\w+)?", name) and os.path.isfile(path):
                shutil.copy(path, self.build)
        os.chmod(self.build, 0o755)

    def screen(self, user=None, command=None):
        # scripts/run is what `make run` calls when all is built.
        makefile = os.path.join(self.build, "Makefile")
        with open(makefile, "w") as file:
            file.write(f"run:\n\t@scripts/run {self.build}\n")
        terminal = Terminal(["make", "-f", makefile, "run"], user)
        self.addCleanup(terminal.close)
        return terminal

    def address(self, terminal, name):
        found = terminal.until(rf"  {name} +127\.0\.0\.1:(\d+) ")
        return "127.0.0.1", int(found[1])

    def check(self, user=None, name="alice"):
        terminal = self.screen(user)
        password = terminal.until(r"user name  demo\s+password   (\S+) ")[1]
        terminal.until("Ctrl-C stops")
        for words in (r"Mail is kept in \S+/run", r"SHA-256 ([0-9A-F]{2}:){31}", "account add NAME"):
            terminal.until(words)
        self.assertLess(terminal.text.count("\n"), 40, "more than a screen:\n" + terminal.text)
        self.assertNotIn("level=", terminal.text)
        imap = imaplib.IMAP4(*self.address(terminal, "imap"))
        self.addCleanup(imap.shutdown)
        imap.login("demo", password)
        self.assertEqual(imap.select()[1], [b"3"])  # and not six the second time
        # What it says to type, works as it stands.
        add = re.search(r"Add an account:  (.*) account add NAME --data (\S+)", terminal.text)
        done = subprocess.run([add[1], "account", "add", name, "--password-stdin", "--data", add[2].strip()],
                              cwd=TOP, input="secret\n", capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        terminal.type("\x03")  # Ctrl-C
        terminal.until("Stopped.")
        self.assertEqual(terminal.status(), 0)
        with self.assertRaises(OSError):
            socket.create_connection(self.address(terminal, "imap"), 1).close()
        return terminal.text

    def test_run_twice(self):
        self.check()
        text = self.check(name="bob")  # with what is there: a new password
        self.assertNotIn("restante serve:", text)

    def test_busy_port_is_named(self):
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                taken.bind(("127.0.0.1", 1143))
                taken.listen()
            except OSError:
                pass  # somebody else has it: as good
            text = self.check()
        self.assertRegex(text, r"imap   127\.0\.0\.1:(?!1143)\d+ .*port 1143 is in use by another program")

    def test_terminated(self):
        """SIGTERM to make, as `timeout` does it."""
        terminal = self.screen()
        terminal.until("Ctrl-C stops")
        os.kill(terminal.pid, signal.SIGTERM)
        terminal.until("Stopped.")
        terminal.until_end()
        with self.assertRaises(OSError):
            socket.create_connection(self.address(terminal, "imap"), 1).close()

    @unittest.skipUnless(os.geteuid() == 0, "needs root, to become another user")
    def test_ordinary_user(self):
        done = subprocess.run(["useradd", "--system", "--create-home", "--shell", "/bin/sh", USER],
                              capture_output=True)
        if done.returncode not in (0, 9):  # 9: it is there
            self.skipTest("no user can be added here")
        self.addCleanup(subprocess.run, ["userdel", "--remove", USER], capture_output=True)
        if subprocess.run(["runuser", "-u", USER, "--", "test", "-x", os.path.join(TOP, "scripts/run")],
                          capture_output=True).returncode != 0:
            self.skipTest("an ordinary user cannot read this checkout")
        os.chown(self.build, pwd.getpwnam(USER).pw_uid, -1)
        self.check(USER)


if __name__ == "__main__":
    unittest.main()
