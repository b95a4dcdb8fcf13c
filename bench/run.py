#!/usr/bin/env python3
"""Measures Restante beside Dovecot (where it is installed), interleaved, on loopback.

Each server gets a fresh store, the same certificate and the same accounts; each measure runs on one
server, then on the other, ROUNDS times; the median counts. CPU is that of all processes of a server
together, per operation. Prints a table with ratios and writes bench/report/report.json.

usage: bench/run.py [--build DIR] [--rounds N] [--only WORD] [--messages N] [--quick] [--alone]"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests"))
from lib.server import Server, free_ports, wait_until  # noqa: E402

ACCOUNTS = 64
PASSWORD = "bench"
ALL = 0  # an operation is about every message of the mailbox

# What is measured: title, options of the generator, messages per operation (ALL where one command
# is about all of them). bench0 holds --messages messages and gets no others; bench1 ... get the rest.
RATES = [
    ("LOGIN + LOGOUT, 50 at once", "--connections 50 --accounts 50 --operations 8000 login", 1),
    ("the same, TLS", "--connections 50 --accounts 50 --operations 6000 login_tls", 1),
    ("LMTP 4 KB, 1 connection", "--first 1 --size 4096 lmtp", 1),
    ("LMTP 4 KB, 32 connections", "--first 1 --size 4096 --connections 32 --accounts 32 lmtp", 1),
    ("LMTP 40 KB, 32 connections", "--first 1 --size 40960 --connections 32 --accounts 32 lmtp", 1),
    ("LMTP, 10 recipients", "--first 1 --size 4096 --connections 4 --accounts 40 lmtp10", 1),
    ("APPEND 4 KB, 1 connection", "--first 1 --size 4096 append", 1),
    ("APPEND 4 KB, 16 connections", "--first 1 --size 4096 --connections 16 --accounts 16 append", 1),
    ("FETCH meta of all", "--operations 30 fetch_meta", ALL),
    ("FETCH FLAGS of all", "--operations 300 fetch_flags", ALL),
    ("FETCH bodies of all", "--operations 6 fetch_body", ALL),
    ("FETCH one, 16 sessions", "--connections 16 fetch_one", 1),
    ("STORE one, 1 session", "store_one", 1),
    ("STORE one, 16 sessions", "--connections 16 store_one", 1),
    ("STORE 1:*", "--operations 40 store_all", ALL),
    ("SELECT of all", "--operations 20000 select", 1),
    ("SEARCH SUBJECT of all", "--operations 100 search_subject", 1),
    ("SEARCH FROM of all", "--operations 100 search_from", 1),
    ("SEARCH BODY of all", "--operations 2 search_body", 1),
    ("POP3 whole session of all", "--operations 2 pop3", 1),
    ("mixed users", "--first 1 --connections 16 --accounts 32 mixed", 1),
    ("COPY of all", "--operations 2 copy_all", ALL),
]
# title, options, which value of the generator counts, its unit (smaller is better)
OTHERS = [
    ("push: delivery to EXISTS, p50", "--first 60 --operations 500 push", "p50", "us"),
    ("push: delivery to EXISTS, p99", "--first 60 --operations 500 push", "p99", "us"),
    ("idle connection", "--first 1 --accounts 60 --connections 2000 idle", "memory", "bytes"),
    ("idle connection, TLS", "--first 1 --accounts 60 --connections 2000 idle_tls", "memory", "bytes"),
]


class Restante:
    name = "restante"

    def __init__(self):
        begun = time.monotonic()
        self.server = Server()
        self.start = time.monotonic() - begun
        self.pid = self.server.process.pid
        self.ports = self.server.ports
        lines = "".join(f"bench{n}:{{PLAIN}}{PASSWORD}\n" for n in range(ACCOUNTS))
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(lines)
            file.flush()
            self.server.run("account", "import", file.name)

    def close(self):
        self.server.close()


class Dovecot:
    name = "dovecot"

    def __init__(self):
        self.data = tempfile.mkdtemp(prefix="restante-dovecot-")
        os.chmod(self.data, 0o755)
        subprocess.run(["useradd", "-r", "vmail"], stderr=subprocess.DEVNULL)
        for folder in ("run", "state", "mail", "home"):
            os.mkdir(f"{self.data}/{folder}")
        for folder in ("mail", "home"):
            shutil.chown(f"{self.data}/{folder}", "vmail")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{self.data}/key.pem",
                        "-out", f"{self.data}/cert.pem", "-days", "30", "-subj", "/CN=localhost"],
                       check=True, stderr=subprocess.DEVNULL)
        names = ("imap", "imaps", "pop3", "lmtp")
        self.ports = dict(zip(names, free_ports(len(names))))
        with open(os.path.join(TOP, "bench/peers/dovecot.conf")) as file:
            text = file.read()
        values = {"DATA": self.data, "CERT": f"{self.data}/cert.pem", "KEY": f"{self.data}/key.pem",
                  "PASSWORD": PASSWORD, **{k.upper(): str(v) for k, v in self.ports.items()}}
        text = re.sub(r"@([A-Z0-9]+)@", lambda found: values[found.group(1)], text)
        with open(f"{self.data}/dovecot.conf", "w") as file:
            file.write(text)
        begun = time.monotonic()
        subprocess.run(["dovecot", "-c", f"{self.data}/dovecot.conf"], check=True,
                       stderr=subprocess.DEVNULL)
        pid = f"{self.data}/run/master.pid"
        wait_until("dovecot", lambda: os.path.exists(pid))
        with open(pid) as file:
            self.pid = int(file.read())
        wait_until("its greeting", self.greets)
        self.start = time.monotonic() - begun
        time.sleep(1)  # its processes are forked behind its pid file; nothing tells when

    def greets(self):
        try:
            with socket.create_connection(("127.0.0.1", self.ports["imap"]), 5) as s:
                return s.recv(4).startswith(b"* OK")
        except OSError:
            return False

    def close(self):
        os.kill(self.pid, signal.SIGTERM)
        shutil.rmtree(self.data, ignore_errors=True)


def load(build, server, words, seconds):
    ports = [f"--{name}={server.ports[name]}" for name in ("imap", "imaps", "pop3", "lmtp")]
    return generate(build, [f"--pid={server.pid}", f"--password={PASSWORD}", *ports, *words],
                    seconds, server.name)


def generate(build, words, seconds, name=""):
    """Runs the generator once; its values by name."""
    done = subprocess.run([f"{build}/bench/bench-load", f"--seconds={seconds}",
                           "--operations=1000000", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{name} {' '.join(words)}: {done.stderr}")
    return {line.split()[0].split(".")[1]: float(line.split()[1])
            for line in done.stdout.splitlines()}


def memory(server):
    """Proportional set size of the server's processes, in bytes."""
    children = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                children.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(int(pid))
        except OSError:
            pass
    total, todo = 0, [server.pid]
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss: +(\d+)", file.read(), re.M).group(1)) * 1024
    return total


class Table:
    """Rows on the terminal as they come, and all of them as JSON."""

    def __init__(self, servers):
        self.names, self.report = [s.name for s in servers], {}
        print(f"\n{'measure':34}" + "".join(f"{n:>12}{'cpu us':>9}{'p99 us':>9}" for n in self.names) +
              f"{'rate':>9}{'cpu':>8}", flush=True)

    def rate(self, title, rows):
        """rows: per server (rate, cpu, p99); ratios above 1 are in Restante's favour."""
        self.report[title] = {n: dict(zip(("rate", "cpu_us", "p99_us"), r)) for n, r in rows.items()}
        line = f"{title:34}" + "".join(f"{r[0]:12,.0f}{r[1]:9.1f}{r[2]:9,.0f}" for r in rows.values())
        if len(rows) == 2:
            a, b = rows.values()
            line += f"{a[0] / b[0]:8.1f}x" + (f"{b[1] / a[1]:7.1f}x" if a[1] else "")
        print(line, flush=True)

    def other(self, title, values, unit):
        self.report[title] = {**values, "unit": unit}
        line = f"{title:34}" + "".join(f"{v:12,.0f} {unit:17}" for v in values.values())
        if len(values) == 2:
            a, b = values.values()
            line += f"{b / a:8.1f}x"
        print(line, flush=True)


def measure_all(options, servers, rounds, seconds, table):
    for title, words, per in RATES:
        if options.only.lower() not in title.lower():
            continue
        rows, units = {server.name: [] for server in servers}, per or options.messages
        for number in range(rounds):
            for server in servers:
                values = load(options.build, server,
                              [*words.split(), "--seed", str(number + 1)], seconds)
                if values.get("failed"):
                    print(f"  {server.name}: {values['failed']:.0f} operations failed")
                rows[server.name].append((values["rate"] * units, values.get("cpu", 0) / units,
                                          values.get("p99", 0)))
        table.rate(title, {s: [statistics.median(column) for column in zip(*row)]
                           for s, row in rows.items()})
    for title, words, value, unit in OTHERS:
        if options.only.lower() not in title.lower():
            continue
        rows = {server.name: [load(options.build, server, words.split(), 20)[value]
                              for _ in range(rounds if unit == "us" else 1)] for server in servers}
        table.other(title, {s: statistics.median(row) for s, row in rows.items()}, unit)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="measures whose title holds this")
    parser.add_argument("--messages", type=int, help="in the mailbox that is read (10,000)")
    parser.add_argument("--quick", action="store_true",
                        help="one round of at most 1 s each, 2,000 messages: a first look")
    parser.add_argument("--alone", action="store_true", help="without Dovecot")
    options = parser.parse_args()
    subprocess.run(["ninja", "-C", options.build, "bench/bench-load"], check=True,
                   stdout=subprocess.DEVNULL)
    options.messages = options.messages or (2000 if options.quick else 10000)
    rounds, seconds = (1, 1) if options.quick else (options.rounds, 6)
    peers = [Dovecot] if shutil.which("dovecot") and not options.alone else []
    servers = []
    try:
        servers += [kind() for kind in [Restante, *peers]]
        raw = {name: generate(options.build, [name], 2)["rate"]
               for name in ("raw_sync", "raw_send", "raw_connect")}
        print(f"this machine: {raw['raw_sync']:,.0f} fdatasync/s, loopback {raw['raw_send']:,.0f} MB/s, "
              f"{raw['raw_connect']:,.0f} connect + close/s; filling {options.messages:,} messages ...")
        idle = {s.name: memory(s) / 1e3 for s in servers}
        for server in servers:
            load(options.build, server, ["--connections=8", f"--operations={options.messages}", "--seed=99", "lmtp"], 120)
            # Everybody has been here before: the first login of an account hashes its password.
            load(options.build, server, f"--connections 8 --accounts {ACCOUNTS} --operations "
                 f"{ACCOUNTS * 2} login".split(), 60)
        table = Table(servers)
        table.report["machine"] = raw
        table.other("start to first greeting", {s.name: s.start * 1e3 for s in servers}, "ms")
        table.other("idle server, all processes", idle, "KB")
        measure_all(options, servers, rounds, seconds, table)
    finally:
        for server in servers:
            server.close()
    os.makedirs(os.path.join(TOP, "bench/report"), exist_ok=True)
    with open(os.path.join(TOP, "bench/report/report.json"), "w") as file:
        json.dump(table.report, file, indent=1)


if __name__ == "__main__":
    main()
