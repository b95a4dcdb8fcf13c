#!/usr/bin/env python3
"""Measures Restante beside Dovecot (where it is installed), interleaved, on loopback.

Each server gets a fresh store, the same certificate and the same accounts; each measure runs on one
server, then on the other, ROUNDS times; the median counts. CPU is that of all processes of a server
together, per operation. Prints a table with ratios and writes bench/report/report.json.

usage: bench/run.py [--build DIR] [--rounds N] [--only WORD] [--quick]"""
import argparse
import json
import os
import re
import shutil
import signal
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
MESSAGES = 10000

# name, options of the generator, messages per operation (1: the generator counts them itself)
MEASURES = [
    ("login", "--connections 50 --accounts 50 --operations 4000", 1),
    ("login_tls", "--connections 50 --accounts 50 --operations 3000", 1),
    ("lmtp 4 KB, 1 connection", "--size 4096 --operations 2000 lmtp", 1),
    ("lmtp 4 KB, 32 connections", "--size 4096 --connections 32 --accounts 32 lmtp", 1),
    ("lmtp 40 KB, 32 connections", "--size 40960 --connections 32 --accounts 32 lmtp", 1),
    ("lmtp, 10 recipients", "--size 4096 --connections 4 --accounts 40 --operations 1000 lmtp10", 1),
    ("append 4 KB, 1 connection", "--size 4096 --operations 2000 append", 1),
    ("append 4 KB, 16 connections", "--size 4096 --connections 16 --accounts 16 append", 1),
    ("fetch meta of all", "--operations 10 fetch_meta", MESSAGES),
    ("fetch flags of all", "--operations 50 fetch_flags", MESSAGES),
    ("fetch bodies of all", "--operations 3 fetch_body", MESSAGES),
    ("fetch one, 16 sessions", "--connections 16 --operations 50000 fetch_one", 1),
    ("store one, 1 session", "--operations 5000 store_one", 1),
    ("store one, 16 sessions", "--connections 16 --operations 20000 store_one", 1),
    ("store all", "--operations 10 store_all", MESSAGES),
    ("select", "--operations 500 select", 1),
    ("search subject", "--operations 20 search_subject", 1),
    ("pop3 whole sessions", "--operations 3 pop3", 1),
    ("mixed users", "--connections 16 --accounts 32 --operations 2000 mixed", 1),
]


class Restante:
    name = "restante"

    def __init__(self):
        self.server = Server()
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
        subprocess.run(["dovecot", "-c", f"{self.data}/dovecot.conf"], check=True,
                       stderr=subprocess.DEVNULL)
        pid = f"{self.data}/run/master.pid"
        wait_until("dovecot", lambda: os.path.exists(pid))
        with open(pid) as file:
            self.pid = int(file.read())
        time.sleep(1)  # its processes are forked behind its pid file; nothing tells when

    def close(self):
        os.kill(self.pid, signal.SIGTERM)
        shutil.rmtree(self.data, ignore_errors=True)


def load(build, server, words, seconds):
    done = subprocess.run([f"{build}/bench/bench-load", "--pid", str(server.pid), "--password", PASSWORD,
                           "--imap", str(server.ports["imap"]),
                           "--imaps", str(server.ports["imaps"]),
                           "--pop3", str(server.ports["pop3"]), "--lmtp", str(server.ports["lmtp"]),
                           "--seconds", str(seconds), *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{server.name} {' '.join(words)}: {done.stderr}")
    values = {}
    for line in done.stdout.splitlines():
        name, value, _ = line.split()
        values[name.split(".")[1]] = float(value)
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true", help="one round of at most 2 s each")
    options = parser.parse_args()
    subprocess.run(["ninja", "-C", options.build, "bench/bench-load"], check=True,
                   stdout=subprocess.DEVNULL)
    rounds, seconds = (1, 2) if options.quick else (options.rounds, 8)
    kinds = [Restante] + ([Dovecot] if shutil.which("dovecot") else [])
    servers = [kind() for kind in kinds]
    report = {}
    try:
        print(f"filling {MESSAGES} messages into bench0 ...", flush=True)
        for server in servers:
            load(options.build, server, ["--operations", str(MESSAGES), "lmtp", "--seed", "99"], 120)
        print(f"{'measure':28}" + "".join(f"{s.name:>12}{'cpu us':>10}{'p99 us':>10}"
                                          for s in servers) + f"{'rate':>8}{'cpu':>8}", flush=True)
        for name, words, per in MEASURES:
            if options.only not in name:
                continue
            words = words.split()
            if words[-1].isdigit():
                words.append(name)
            rows = {server.name: [] for server in servers}
            for number in range(rounds):
                for server in servers:
                    values = load(options.build, server, [*words, "--seed", str(number + 1)],
                                  seconds)
                    rows[server.name].append((values["rate"] * per, values.get("cpu", 0) / per,
                                              values.get("p99", 0)))
            medians = {s: [statistics.median(column) for column in zip(*row)]
                       for s, row in rows.items()}
            report[name] = {s: dict(zip(("rate", "cpu_us", "p99_us"), m))
                            for s, m in medians.items()}
            line = f"{name:28}" + "".join(f"{m[0]:12,.0f}{m[1]:10.1f}{m[2]:10,.0f}"
                                          for m in medians.values())
            if len(servers) == 2:
                a, b = medians["restante"], medians["dovecot"]
                line += f"{a[0] / b[0]:7.1f}x" + (f"{b[1] / a[1]:7.1f}x" if a[1] else "")
            print(line, flush=True)
    finally:
        for server in servers:
            server.close()
    os.makedirs(os.path.join(TOP, "bench/report"), exist_ok=True)
    with open(os.path.join(TOP, "bench/report/report.json"), "w") as file:
        json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
