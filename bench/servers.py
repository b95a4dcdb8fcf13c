"""The servers that are measured: each with a fresh store, the same accounts and the same kind of
certificate, on loopback, in a control group of its own where the machine lets us make one."""
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests"))
from lib.server import Server, family, free_ports, wait_until  # noqa: E402

ACCOUNTS = 64     # bench0 ...: these log in
PASSWORD = "bench"
PROTOCOLS = ("imap", "imaps", "pop3", "lmtp")


class Group:
    """A memory control group, version 1 or 2, or none: then kernel() is None."""

    def __init__(self, name):
        self.path = self.procs = None
        with open("/proc/self/cgroup") as file:
            groups = dict(line.strip().split(":", 2)[1:] for line in file)
        self.old = "memory" in groups
        parent = "/sys/fs/cgroup" + ("/memory" if self.old else "") + groups.get(
            "memory" if self.old else "", "")
        path = os.path.join(parent, f"restante-bench-{os.getpid()}-{name}")
        with contextlib.suppress(OSError):
            os.mkdir(path)
            self.path = path
            if self.kernel() is None:
                self.remove()
        self.procs = os.path.join(self.path, "cgroup.procs") if self.path else None

    def kernel(self):
        """Bytes of kernel memory of its processes: sockets' buffers, stacks, page tables, files."""
        if self.path is None:
            return None
        total = 0
        try:
            if self.old:
                for name in ("kmem", "kmem.tcp"):
                    with open(f"{self.path}/memory.{name}.usage_in_bytes") as file:
                        total += int(file.read())
            else:
                with open(f"{self.path}/memory.stat") as file:
                    stat = dict(line.split() for line in file)
                total = int(stat["kernel"]) + int(stat["sock"])
        except (OSError, KeyError):
            return None
        return total

    def enter(self, command):
        """The command, started inside."""
        if self.procs is None:
            return command
        return ["sh", "-c", 'echo $$ >"$0" && exec "$@"', self.procs, *command]

    def remove(self):
        if self.path:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)
            self.path = None


class Measured:
    """name, ports, pid of the first process, start: seconds until it greeted."""

    def __init__(self):
        self.group = Group(self.name)

    def memory(self):
        """Proportional set size of its processes, in bytes."""
        total = 0
        for pid in family(self.pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
                total += int(re.search(r"^Pss: +(\d+)", file.read(), re.M).group(1)) * 1024
        return total

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.ports["imap"]), 5) as s:
                return s.recv(4).startswith(b"* OK")
        except OSError:
            return False

    def close(self):
        self.group.remove()


class Restante(Measured, Server):
    name = "restante"

    def __init__(self, config="", accounts=ACCOUNTS, data=None):
        Measured.__init__(self)
        begun = time.monotonic()
        Server.__init__(self, config=config, data=data)
        self.start_seconds = time.monotonic() - begun
        self.pid = self.process.pid
        if accounts:
            self.add_accounts(0, accounts)

    def add_accounts(self, first, count):
        """The many have the hash of their password already: making it is meant to take long."""
        ready = "{SHA512-CRYPT}" + subprocess.run(["openssl", "passwd", "-6", "-salt", "bench", PASSWORD],
                                                  stdout=subprocess.PIPE, text=True, check=True).stdout
        with tempfile.NamedTemporaryFile("w") as file:
            file.writelines(f"bench{n}:" + (f"{{PLAIN}}{PASSWORD}\n" if n < ACCOUNTS else ready)
                            for n in range(first, first + count))
            file.flush()
            self.run("account", "import", file.name)

    def command(self):
        return self.group.enter(Server.command(self))

    def start_again(self, cold=False):
        """Stopped in order and started: nothing is in its memory, or even in the kernel's."""
        self.stop()
        if cold:
            drop_caches()
        begun = time.monotonic()
        self.start()
        self.start_seconds = time.monotonic() - begun
        self.pid = self.process.pid

    def close(self):
        Server.close(self)
        Measured.close(self)


class Peer(Measured):
    """One from Debian; WORD between two at signs is filled into its files below bench/peers/."""

    def __init__(self, build):
        super().__init__()
        self.build = build
        self.pid = 0
        self.data = tempfile.mkdtemp(prefix=f"restante-{self.name}-")
        os.chmod(self.data, 0o755)
        self.ports = dict(zip(PROTOCOLS, free_ports(len(PROTOCOLS))))
        try:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{self.data}/key.pem",
                            "-out", f"{self.data}/cert.pem", "-days", "30", "-subj", "/CN=localhost"],
                           check=True, stderr=subprocess.DEVNULL)
            command = self.prepare()
            begun = time.monotonic()
            subprocess.run(self.group.enter(command), check=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wait_until(f"{self.name}'s pid", self.find_pid)
            wait_until(f"{self.name}'s greeting", self.greets)
            self.start_seconds = time.monotonic() - begun
        except BaseException:
            self.close()
            raise

    def fill_in(self, file, **more):
        values = {"DATA": self.data, "CERT": f"{self.data}/cert.pem", "KEY": f"{self.data}/key.pem",
                  "PASSWORD": PASSWORD, **more, **{k.upper(): str(v) for k, v in self.ports.items()}}
        with open(os.path.join(TOP, "bench/peers", file)) as source:
            text = re.sub(r"@([A-Z0-9]+)@", lambda found: values[found.group(1)], source.read())
        with open(f"{self.data}/{file}", "w") as target:
            target.write(text)
        return f"{self.data}/{file}"

    def find_pid(self):
        with contextlib.suppress(OSError, ValueError), open(self.pid_file) as file:
            self.pid = int(file.read())
        return self.pid

    def close(self):
        """Its processes end one after another; the last ones by force."""
        if self.pid:
            pids = family(self.pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                wait_until("its end", lambda: not any(os.path.exists(f"/proc/{p}") for p in pids), 10)
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.data, ignore_errors=True)
        super().close()


class Dovecot(Peer):
    name = "dovecot"
    program = "/usr/sbin/dovecot"

    def prepare(self):
        subprocess.run(["useradd", "-r", "vmail"], stderr=subprocess.DEVNULL)
        for folder in ("run", "state", "mail", "home"):
            os.mkdir(f"{self.data}/{folder}")
        for folder in ("mail", "home"):
            shutil.chown(f"{self.data}/{folder}", "vmail")
        self.pid_file = f"{self.data}/run/master.pid"
        return [self.program, "-c", self.fill_in("dovecot.conf")]


class Cyrus(Peer):
    name = "cyrus"
    program = "peers/usr/lib/cyrus/bin/master"  # below the build: scripts/bench-peers

    def prepare(self):
        subprocess.run(["useradd", "-r", "-g", "mail", "cyrus"], stderr=subprocess.DEVNULL)
        # Copied to where its user may read it.
        shutil.copytree(os.path.join(self.build, "peers/usr"), f"{self.data}/usr")
        binaries, libraries = f"{self.data}/usr/lib/cyrus/bin", f"{self.data}/usr/lib/x86_64-linux-gnu"
        for folder in ("config", "mail", "config/db", "config/socket"):
            os.mkdir(f"{self.data}/{folder}")
        conf = self.fill_in("imapd.conf")
        for number in range(ACCOUNTS):
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", f"{self.data}/sasldb", "-u", "localhost",
                            f"bench{number}"], input=PASSWORD, text=True, check=True)
        subprocess.run(["chown", "-R", "cyrus:mail", self.data], check=True)
        subprocess.run(["su", "-s", "/bin/sh", "cyrus", "-c",
                        f"LD_LIBRARY_PATH={libraries} {binaries}/makedirs -C {conf}"],
                       check=True, stdout=subprocess.DEVNULL)
        self.pid_file = f"{self.data}/pid"
        services = self.fill_in("cyrus.conf", CONF=conf, BIN=binaries)
        return ["env", f"LD_LIBRARY_PATH={libraries}", f"{binaries}/master", "-d", "-C", conf, "-M", services, "-p", self.pid_file]


def peers(build):
    """Those that are here (make bench-peers), as kinds."""
    return [kind for kind in (Dovecot, Cyrus) if os.path.exists(os.path.join(build, kind.program))]


def generate(build, words, seconds, name=""):
    """Runs the generator once; its values by name."""
    done = subprocess.run([f"{build}/bench/bench-load", f"--seconds={seconds}", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=900)
    if done.returncode != 0:
        raise RuntimeError(f"{name} {' '.join(words)}: {done.stderr}")
    return {line.split()[0].split(".")[1]: float(line.split()[1])
            for line in done.stdout.splitlines()}


def target(server):
    """The generator's options that name the server."""
    return [f"--pid={server.pid}", f"--password={PASSWORD}", "--operations=1000000",
            *(f"--{name}={server.ports[name]}" for name in PROTOCOLS)]


def load(build, server, words, seconds):
    return generate(build, [*target(server), *words], seconds, server.name)


def grow(imap, count, mailbox="INBOX"):
    """Copies the mailbox into itself until it holds so many: it doubles each time."""
    have = int(imap.select(mailbox)[1][0])
    while have < count:
        step = min(have, count - have)
        answer, text = imap.copy(f"1:{step}", mailbox)
        if answer != "OK":
            raise RuntimeError(f"COPY: {text}")
        have = int(imap.select(mailbox)[1][0])


@contextlib.contextmanager
def held(build, server, connections, *words, measure="hold"):
    """So many connections in IDLE meanwhile."""
    command = [f"{build}/bench/bench-load", "--seconds=600", *target(server),
               f"--connections={connections}", *words, measure]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        try:
            if not process.stdout.readline():
                raise RuntimeError(f"{server.name} {connections} {measure}: {process.stderr.read()}")
            yield
        finally:
            process.kill()


def most_connections():
    """What the limit of descriptors lets a server hold that has two for each, and some of its own."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 2200) // 2


def drop_caches():
    """True when the kernel has forgotten what it has read; root only."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("3")
    except OSError:
        return False
    return True
