#!/usr/bin/env python3
"""Measures Restante beside Dovecot and Cyrus (those that are here: make bench-peers), interleaved, on
loopback.

Each server gets a fresh store, the same kind of certificate and the same accounts; each measure runs
on one server, then on the next, ROUNDS times; the median counts. CPU is that of all processes of a
server together, per operation. Prints a table with ratios; bench/report/ gets it as JSON and plots.

usage: bench/run.py [--build DIR] [--rounds N] [--only WORD] [--messages N] [--quick] [--alone]"""
import argparse
import imaplib
import os
import signal
import statistics
import subprocess
import sys
import time

os.environ.setdefault("RESTANTE_BUILD", "build")
import report  # noqa: E402
import servers as systems  # noqa: E402
from servers import ACCOUNTS, PASSWORD, Restante, drop_caches, generate, held, load  # noqa: E402

ALL = 0  # an operation is about every message of the mailbox

# What is measured: title, options of the generator, messages per operation (ALL where one command
# is about all of them), the target of issue 4 as ratios to Dovecot (rate, CPU). bench0 holds
# --messages messages, bench41 to 56 hold 51 each, and get no others: who delivers faster would have
# more to show. bench1 to 40 get the rest.
FIRST = [  # only the first time is the first time
    ("FETCH meta of all, first", "--operations 1 fetch_meta", ALL, "25x"),
    ("SEARCH SUBJECT of all, first", "--operations 1 search_subject", 1, "20x"),
]
RATES = [
    ("LOGIN + LOGOUT, 50 at once", "--connections 50 --accounts 50 --operations 8000 login", 1, "4x 8x"),
    ("the same, TLS", "--connections 50 --accounts 50 --operations 6000 login_tls", 1, "2x 4x"),
    ("LMTP 4 KB, 1 connection", "--first 1 --size 4096 lmtp", 1, "3x"),
    ("LMTP 4 KB, 32 connections", "--first 1 --size 4096 --connections 32 --accounts 32 lmtp", 1,
     "8x 15x"),
    ("LMTP 40 KB, 32 connections", "--first 1 --size 40960 --connections 32 --accounts 32 lmtp", 1,
     "6x 10x"),
    ("LMTP, 10 recipients", "--first 1 --size 4096 --connections 4 --accounts 40 lmtp10", 1, "20x"),
    ("LMTP, first to an account", "--first {fresh} --accounts 4000 --operations 4000 --size 4096 "
     "--connections 32 lmtp_first", 1, "15x"),
    ("APPEND 4 KB, 1 connection", "--first 1 --size 4096 append", 1, "2x"),
    ("APPEND 4 KB, 16 connections", "--first 1 --size 4096 --connections 16 --accounts 16 append", 1,
     "4x 8x"),
    ("FETCH meta of all, again", "--operations 30 fetch_meta", ALL, "6x"),
    ("FETCH meta of newest 50", "--messages {messages} --operations 2000 fetch_newest", 1, ""),
    ("FETCH FLAGS of all", "--operations 300 fetch_flags", ALL, "3x"),
    ("FETCH bodies of all", "--operations 6 fetch_body", ALL, "2x 4x"),
    ("FETCH one, 16 sessions", "--connections 16 fetch_one", 1, "3x 6x"),
    ("STORE one, 1 session", "store_one", 1, "0.6x"),
    ("STORE one, 16 sessions", "--connections 16 store_one", 1, "2x 6x"),
    ("STORE 1:*", "--operations 40 store_all", ALL, "1x"),
    ("SELECT", "--operations 20000 select", 1, "2x"),
    ("SEARCH SUBJECT of all, again", "--operations 100 search_subject", 1, ""),
    ("SEARCH FROM of all", "--operations 100 search_from", 1, "20x"),
    ("SEARCH BODY of all", "--operations 2 search_body", 1, "4x"),
    ("POP3 whole session of all", "--operations 2 pop3", 1, "3x 8x"),
    ("mixed users", "--first 41 --connections 16 --accounts 16 mixed", 1, "4x 8x"),
    ("NOOP", "--first 1 --operations 20000 noop", 1, ""),
    ("COPY of all", "--operations 2 copy_all", ALL, "3x"),
]
COLD = [  # after the kernel has dropped its caches; bench0's mailbox is open in no session
    ("FETCH meta of all, cold disk", "--operations 1 fetch_meta", ALL, ""),
    ("FETCH bodies of all, cold disk", "--operations 1 fetch_body", ALL, ""),
    ("SELECT, cold disk", "--operations 1 select", 1, ""),
]
PUSH = "--first 60 --operations 500 push"
BIG = 100000  # messages of bench61
FRESH = 4000  # accounts of a round that nobody has delivered to
CYRUS_IDLE_MAX = 2000  # a process per connection: more would not fit


def median(rows):
    return [statistics.median(column) for column in zip(*rows)]


class Run:
    def __init__(self, options, machines, rounds, seconds):
        self.options, self.servers = options, machines
        self.rounds, self.seconds = rounds, seconds
        self.fresh = ACCOUNTS  # the first account nobody has delivered to
        self.table = report.Table(machines)

    def wanted(self, title):
        return self.options.only.lower() in title.lower()

    def one(self, server, words, per, number):
        words = words.format(fresh=self.fresh, messages=self.options.messages).split()
        values = load(self.options.build, server, [*words, "--seed", str(number + 1)], self.seconds)
        if values.get("failed"):
            print(f"  {server.name}: {values['failed']:.0f} operations failed")
        units = per or self.options.messages
        return values["rate"] * units, values.get("cpu", 0) / units, values.get("p99", 0)

    def rates(self, measures, rounds, before=lambda: True):
        for title, words, per, goal in measures:
            if not self.wanted(title):
                continue
            rows = {server.name: [] for server in self.servers}
            for number in range(rounds):
                for server in self.servers:
                    if "{fresh}" in words and isinstance(server, Restante):  # the others know all
                        server.add_accounts(self.fresh, FRESH)
                    if not before():
                        return print(f"{title}: this machine does not let us drop its caches")
                    rows[server.name].append(self.one(server, words, per, number))
                self.fresh += FRESH * ("{fresh}" in words)
            self.table.rate(title, {name: median(row) for name, row in rows.items()}, goal)

    def pushes(self):
        if self.wanted("push"):
            rows = {server.name: median([[values[p] for p in ("p50", "p99")] for values in (
                load(self.options.build, server, PUSH.split(), 20) for _ in range(self.rounds))])
                for server in self.servers}
            for column, (p, goal) in enumerate((("p50", "<= 1 ms"), ("p99", "<= 5 ms"))):
                self.table.other(f"push: delivery to EXISTS, {p}",
                                 {name: row[column] / 1e3 for name, row in rows.items()}, "ms", goal)

    def idle(self, title, count, measure, goal):
        """Memory per connection, what the server has without any included; the kernel's beside it."""
        count = min(count, systems.most_connections())
        title = f"{count:,} {title}"
        if not self.wanted(title):
            return
        user, kernel = {}, {}
        for server in self.servers:
            if server.name == "cyrus" and count > CYRUS_IDLE_MAX:
                continue
            before = server.group.kernel()
            with held(self.options.build, server, count, "--first=1", "--accounts=60", measure=measure):
                user[server.name] = server.memory() / count / 1e3
                after = server.group.kernel()
                if after is not None:
                    kernel[server.name] = (after - before) / count / 1e3
        self.table.other(title, user, "KB", goal)
        if kernel:
            self.table.other("  the kernel's share", kernel, "KB")

    def select_big(self):
        """A mailbox of 100,000, opened for the first time since it was made."""
        title = f"SELECT of {BIG:,}"
        if not self.wanted(title):
            return
        first, again = {}, {}
        for server in self.servers:
            with session(server, 61) as imap:
                systems.grow(imap, BIG)
            if isinstance(server, Restante):
                server.start_again()
            with session(server, 61) as imap:
                first[server.name] = timed(imap.select)
                again[server.name] = min(timed(imap.select) for _ in range(5))
        self.table.other(title + ", first", first, "ms", "1/4")
        self.table.other(title + ", again", again, "ms")

    def fill(self):
        print(f"filling {self.options.messages:,} messages ...", flush=True)
        for server in self.servers:
            # One after another: Cyrus refuses a delivery while another makes that account.
            load(self.options.build, server, f"--accounts {ACCOUNTS} --operations {ACCOUNTS} --size 4096 "
                 "lmtp_first".split(), 60)
            load(self.options.build, server, ["--connections=8", "--seed=99",
                                              f"--operations={self.options.messages - 1}", "lmtp"], 300)
            load(self.options.build, server, "--first 41 --accounts 16 --connections 16 --size 4096 "
                 "--operations 800 lmtp".split(), 120)
            load(self.options.build, server, "--first 61 --size 1000 --operations 200 lmtp".split(), 60)
            # Everybody has been here before: the first login of an account hashes its password.
            load(self.options.build, server, f"--connections 8 --accounts {ACCOUNTS} --operations "
                 f"{ACCOUNTS * 2} login".split(), 60)

    def all(self):
        self.table.other("start to first greeting",
                         {s.name: s.start_seconds * 1e3 for s in self.servers}, "ms", "<= 300 ms")
        self.table.other("idle server, all processes",
                         {s.name: s.memory() / 1e6 for s in self.servers}, "MB", "<= 30 MB")
        self.fill()
        self.idle("idle connections", 2000, "hold", "<= 10 KB")
        self.idle("idle connections, TLS", 2000, "hold_tls", "<= 30 KB")
        if not self.options.quick:
            self.idle("idle connections", 10000, "hold", "<= 10 KB")
        self.rates(FIRST, 1)
        self.rates(RATES, self.rounds)
        self.pushes()
        self.rates(COLD, 1, drop_caches)
        self.select_big()


class session:  # noqa: N801
    """An IMAP session of benchN."""

    def __init__(self, server, number):
        self.imap = imaplib.IMAP4("127.0.0.1", server.ports["imap"])
        self.imap.login(f"bench{number}", PASSWORD)

    def __enter__(self):
        return self.imap

    def __exit__(self, *_):
        self.imap.logout()


def timed(function):
    begun = time.monotonic()
    function()
    return (time.monotonic() - begun) * 1e3


def machine(build):
    raw = {name: generate(build, [name], 2)["rate"]
           for name in ("raw_sync", "raw_send", "raw_connect", "raw_memcpy")}
    print(f"this machine: {raw['raw_sync']:,.0f} fdatasync/s, loopback {raw['raw_send']:,.0f} MB/s, "
          f"{raw['raw_connect']:,.0f} connect + close/s, memcpy {raw['raw_memcpy']:,.0f} MB/s; "
          f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    return {**raw, "load": os.getloadavg()[0], "cores": os.cpu_count(), "when": time.strftime("%F %T")}


def end_in_order(*_):
    """So that `finally` closes the servers, whichever way we are told to end."""
    raise SystemExit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="measures whose title holds this")
    parser.add_argument("--messages", type=int, help="in the mailbox that is read (10,000)")
    parser.add_argument("--quick", action="store_true",
                        help="one round of at most 1 s each, 2,000 messages: a first look")
    parser.add_argument("--alone", action="store_true", help="without the others")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_in_order)
    subprocess.run(["ninja", "-C", options.build, "bench/bench-load"], check=True,
                   stdout=subprocess.DEVNULL)
    options.messages = options.messages or (2000 if options.quick else 10000)
    opened = []
    try:
        opened.append(Restante())
        for kind in [] if options.alone else systems.peers(options.build):
            opened.append(kind(options.build))
        raw = machine(options.build)
        run = Run(options, opened, *((1, 1) if options.quick else (options.rounds, 6)))
        run.table.report["machine"] = raw
        run.all()
    finally:
        for server in opened:
            server.close()
    print(report.write("report.json", run.table.report))
    for server in opened[1:]:
        report.plot_ratios(run.table.report, server.name)


if __name__ == "__main__":
    sys.exit(main())
