"""The mail programs that tests drive, each with a configuration and a directory of its own.

    program = Mbsync(home)
    program.fetch(port)            one run against 127.0.0.1:port, account alice, password secret
    program.messages()              what it has: the bytes of each message
    program.files()                 the same as files, by name: what no second run may change

Bytes that a program adds are taken off by messages(); how it changes those that it was given is
said by as_kept()."""
import contextlib
import imaplib
import os
import poplib
import pty
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

from lib.server import dot_stuff
from lib.sink import Sink

PATIENCE = 250  # seconds that one run may take, on a busy machine
USER, PASSWORD = "alice", "secret"


def need(*programs):
    for program in programs:
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
            raise unittest.SkipTest(f"{program} is not installed")


def whole(message):
    return message


def unix(message):
    return message.replace(b"\r\n", b"\n")


class Program:
    protocol = "imap"
    command = None  # what must be installed
    nothing_new = 0  # exit status of a run that found nothing new
    forgets = False  # what it had got in a run that ended in an error
    needs_reset = False  # does not see that a connection has ended in order

    def __init__(self, home, user=USER):
        need(*([self.command] if self.command else []))
        self.home, self.user = home, user
        self.mail = os.path.join(home, "mail")
        os.makedirs(self.mail, exist_ok=True)
        self.prepare()

    def prepare(self):
        pass

    def write(self, name, text):
        path = os.path.join(self.home, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def run(self, *command, good=(0,), env={}, **others):
        """Its output; AssertionError unless its exit status is good, where None is any."""
        defaults = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        done = subprocess.run(command, cwd=self.home, timeout=PATIENCE,
                              env=dict(os.environ, HOME=self.home, FETCHMAILHOME=self.home, **env),
                              **dict(defaults, **others))
        if good is not None and done.returncode not in good:
            raise AssertionError(f"{command[0]}: exit status {done.returncode}\n" +
                                 (done.stdout or b"").decode(errors="replace")[-3000:])
        return done.stdout

    def files(self):
        """path -> inode of every file with a message, without the flags in the name."""
        found = {}
        for folder, _, names in os.walk(self.mail):
            if os.path.basename(folder) not in ("cur", "new") and folder != self.mail:
                continue
            for name in names:
                if not name.startswith("."):
                    path = os.path.join(folder, name)
                    found[os.path.relpath(path, self.mail)] = os.stat(path).st_ino
        return found

    def messages(self):
        for name in self.files():
            with open(os.path.join(self.mail, name), "rb") as file:
                yield file.read()

    as_kept = staticmethod(unix)  # what it makes of the bytes that it is given

    def passes_over(self, message):
        """Does not keep this message, and says so."""
        return False

    def asks_again(self, messages):
        """How many of the messages it asks for in every run, whatever it has."""
        return 0


class Mbsync(Program):
    command = "mbsync"
    patterns = "*"
    rules = "Create Both"

    @staticmethod
    def as_kept(message):
        return message.replace(b"\r", b"")

    def passes_over(self, message):
        """What has no empty line behind the header ("incomplete header; skipping")."""
        return b"\n\n" not in b"\n" + self.as_kept(message)

    def fetch(self, port, good=(0,)):
        rc = self.write("mbsyncrc", f"""
FSync no

IMAPAccount there
Host 127.0.0.1
Port {port}
User {self.user}
Pass {PASSWORD}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account there

MaildirStore near
Path {self.mail}/
Inbox {self.mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns {self.patterns}
{self.rules}
SyncState *
""")
        return self.run("mbsync", "-c", rc, "-a", good=good)

    def messages(self):
        for message in super().messages():
            yield re.sub(rb"^X-TUID: \S{12}\n", b"", message, count=1, flags=re.M)


class OfflineImap(Program):
    command = "offlineimap"

    def fetch(self, port, good=(0,)):
        rc = self.write("offlineimaprc", f"""
[general]
accounts = there
metadata = {self.home}/metadata
fsync = no
ui = basic

[Account there]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {self.mail}

[Repository far]
type = IMAP
remotehost = 127.0.0.1
remoteport = {port}
remoteuser = {self.user}
remotepass = {PASSWORD}
ssl = no
starttls = no
auth_mechanisms = LOGIN
maxconnections = 1
retrycount = 1
""")
        return self.run("offlineimap", "-c", rc, "-o", good=good)


class Fetchmail(Program):
    command = "fetchmail"
    options = ""
    nothing_new = 1
    as_kept = staticmethod(whole)

    def fetch(self, port, good=(0,)):
        rc = self.write("fetchmailrc", f"""
poll 127.0.0.1 protocol {self.protocol} service {port} {self.options}
  user {self.user} password {PASSWORD} keep sslproto ''
  bsmtp "{self.home}/bsmtp"
""")
        try:
            return self.run("fetchmail", "-f", rc, "--nodetach", "--nosyslog", "--invisible",
                            "--pidfile", os.path.join(self.home, "fetchmail.pid"), good=good)
        finally:
            self.unpack(os.path.join(self.home, "bsmtp"))

    def unpack(self, path):
        """Files from what it writes as if it spoke SMTP. A message without its end, from a line
        that broke, is none; so no message is in two runs."""
        if not os.path.exists(path):
            return
        with open(path, "rb") as file:
            *letters, _ = file.read().split(b"\r\n.\r\n")
        os.unlink(path)
        for letter in letters:
            data = letter.split(b"\r\nDATA\r\n", 1)[1] + b"\r\n"
            with tempfile.NamedTemporaryFile(dir=self.mail, delete=False) as file:
                file.write(re.sub(rb"^\.", b"", data, flags=re.M))

    def messages(self):
        """Without what fetchmail puts into lines longer than its buffer: whatever lies behind that,
        up to a line end."""
        for message in super().messages():
            yield re.sub(rb"([^\0\n]{8191})\0[^\n]*\n", rb"\1", message)


class FetchmailPop3(Fetchmail):
    protocol = "pop3"
    options = "uidl"


class Getmail(Program):
    """Through LMTP: for its other ways out it forks for each message."""
    command = "getmail"
    retriever = "SimpleIMAPRetriever"

    @staticmethod
    def as_kept(message):
        head, body = message.split(b"\r\n\r\n", 1)
        return head + b"\r\n\r\n" + re.sub(rb"^From ", b">From ", body, flags=re.M)

    def messages(self):
        for message in super().messages():
            yield message.replace(b"X-getmail-retrieved-from-mailbox: INBOX\r\n", b"", 1)

    def fetch(self, port, good=(0,)):
        with Sink(self.next_file) as sink:
            rc = self.write("getmailrc", f"""
[retriever]
type = {self.retriever}
server = 127.0.0.1
port = {port}
username = {self.user}
password = {PASSWORD}
[destination]
type = MDA_lmtp
host = 127.0.0.1
port = {sink.port}
override = {self.user}
[options]
read_all = false
delivered_to = false
received = false
""")
            return self.run("getmail", f"--getmaildir={self.home}", f"--rcfile={rc}", good=good)

    def next_file(self):
        return os.path.join(self.mail, str(len(os.listdir(self.mail))))


class GetmailPop3(Getmail):
    protocol = "pop3"
    retriever = "SimplePOP3Retriever"
    forgets = True


class Mpop(Program):
    command = "mpop"
    protocol = "pop3"
    needs_reset = True  # the end within a message is empty lines to it, for ever

    def prepare(self):
        for part in ("cur", "new", "tmp"):
            os.makedirs(os.path.join(self.mail, part), exist_ok=True)

    def fetch(self, port, good=(0,)):
        self.write(".mpoprc", f"""
account there
host 127.0.0.1
port {port}
user {self.user}
password {PASSWORD}
auth plain
tls off
keep on
uidls_file {self.home}/uidls
received_header off
delivery maildir {self.mail}
account default : there
""")
        return self.run("mpop", good=good)


def drain(terminal):
    """Reads what nobody looks at, until nobody holds the other end."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass
    os.close(terminal)


class Neomutt(Program):
    """On a terminal that nobody looks at: copies all mail to a Maildir; keeps what it fetched."""
    command = "neomutt"

    def prepare(self):
        os.mkdir(os.path.join(self.home, "bodies"))
        os.mkdir(os.path.join(self.home, "headers"))

    def fetch(self, port, good=(0,)):
        shutil.rmtree(self.mail)
        rc = self.write("neomuttrc", f"""
set spoolfile=imap://127.0.0.1:{port}/INBOX
set imap_user={self.user} imap_pass={PASSWORD} imap_authenticators=login
set ssl_starttls=no ssl_force_tls=no
set header_cache={self.home}/headers message_cachedir={self.home}/bodies
set folder={self.home} mbox_type=Maildir quit=yes sleep_time=0 mark_old=no
set confirmappend=no confirmcreate=no
set connect_timeout=30
push "<tag-pattern>~A<enter><tag-prefix><copy-message>{self.mail}<enter><quit>"
""")
        ours, its = pty.openpty()
        reader = threading.Thread(target=drain, args=(ours,))
        reader.start()
        try:
            self.run("neomutt", "-n", "-F", rc, good=good, stdin=its, stdout=its, stderr=its,
                     env={"TERM": "vt100"})
        finally:
            os.close(its)
            reader.join()

    def asks_again(self, messages):
        """Those without a body, which it does not keep, from any server."""
        return sum(message.find(b"\r\n\r\n") == len(message) - 4 for message in messages)

    def files(self):
        bodies = os.path.join(self.home, "bodies")
        return {entry.name: entry.inode() for folder, _, _ in os.walk(bodies)
                for entry in os.scandir(folder) if entry.is_file()}

    def messages(self):
        for name in super().files():
            with open(os.path.join(self.mail, name), "rb") as file:
                message = file.read()
            yield re.sub(rb"^Content-Length: \d+\n(?:Lines: \d+\n)?\n", b"\n", message, count=1, flags=re.M)


class Curl(Program):
    """As in a script: asks for the list, then for what is not there yet, each to a file."""
    command = "curl"
    list = "UID SEARCH ALL"
    place = "INBOX"
    one = ";UID="
    as_kept = staticmethod(whole)

    def fetch(self, port, good=(0,)):
        url = f"{self.protocol}://127.0.0.1:{port}/{self.place}"
        curl = ["curl", "-sS", "-u", f"{self.user}:{PASSWORD}"]
        wanted = "".join(f'url = "{url}{self.one}{number}"\noutput = "{self.mail}/{name}"\n'
                         for number, name in self.listed(self.run(*curl, url, "-X", self.list, good=good))
                         if not os.path.exists(os.path.join(self.mail, name)))
        if wanted:
            rc = self.write("curlrc", wanted)
            self.run(*curl, "--fail-early", "--remove-on-error", "-K", rc, good=good)

    def listed(self, answer):
        """(what to ask for, what never changes) of each message; none after an error."""
        return [(uid, uid) for uid in re.findall(r" (\d+)", answer.decode())
                if answer.startswith(b"* SEARCH")]


class CurlPop3(Curl):
    protocol = "pop3"
    needs_reset = True  # the end within a message is the message's end
    list = "UIDL"
    place = one = ""

    def listed(self, answer):
        return re.findall(r"^(\d+) (\S+)\r$", answer.decode(), re.M)


class Script(Program):
    """Python's own library, in this process."""
    as_kept = staticmethod(whole)

    def fetch(self, port, good=(0,)):
        try:
            self.session(port)
        except (imaplib.IMAP4.error, poplib.error_proto, OSError):
            if good is not None:
                raise

    def path(self, name):
        return os.path.join(self.mail, name)

    def keep(self, name, size, data):
        assert len(data) == size, (name, size, len(data))
        with open(self.path(name), "wb") as file:
            file.write(data)


class Imaplib(Script):
    def session(self, port):
        imap = imaplib.IMAP4("127.0.0.1", port)
        try:
            imap.login(self.user, PASSWORD)
            imap.select(readonly=True)
            new = [uid for uid in imap.uid("SEARCH", "ALL")[1][0].decode().split()
                   if not os.path.exists(self.path(uid))]
            while new:
                data = imap.uid("FETCH", ",".join(new[:50]), "(UID RFC822.SIZE BODY.PEEK[])")[1]
                for line, message in (part for part in data if isinstance(part, tuple)):
                    self.keep(re.search(rb"UID (\d+)", line)[1].decode(),
                              int(re.search(rb"RFC822.SIZE (\d+)", line)[1]), message)
                del new[:50]
            imap.logout()
        finally:
            with contextlib.suppress(OSError):  # closed already
                imap.shutdown()


class Poplib(Script):
    protocol = "pop3"

    def session(self, port):
        pop3 = poplib.POP3("127.0.0.1", port)
        try:
            pop3.user(self.user)
            pop3.pass_(PASSWORD)
            count, octets = pop3.stat()
            sizes = [int(line.split()[1]) for line in pop3.list()[1]]
            uidls = [line.split()[1].decode() for line in pop3.uidl()[1]]
            assert len(sizes) == len(set(uidls)) == count and sum(sizes) == octets
            for number, (uidl, size) in enumerate(zip(uidls, sizes), 1):
                if not os.path.exists(self.path(uidl)):
                    lines = pop3.retr(number)[1]
                    self.keep(uidl, size, b"".join(line + b"\r\n" for line in lines))
            pop3.quit()
        finally:
            pop3.close()


class Swaks(Program):
    """Not one that fetches: it delivers over LMTP."""
    command = "swaks"

    def deliver(self, port, messages):
        """Each in a run of its own; their exit statuses."""
        jobs = []
        for number, message in enumerate(messages):
            path = os.path.join(self.mail, str(number))
            with open(path, "wb") as file:
                file.write(dot_stuff(message) + b".")
            jobs.append(["--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(port),
                         "--from", "s@example.org", "--to", self.user, "--data", "@" + path,
                         "--no-data-fixup", "--suppress-data", "--hide-all"])
        jobs = self.write("jobs", "".join("\t".join(job) + "\n" for job in jobs))
        said = self.run("perl", "-I" + os.path.dirname(__file__), "-MSwaks=" + jobs,
                        shutil.which("swaks"))
        return [int(status) for status in re.findall(rb"^STATUS (\d+)$", said, re.M)]
