#!/usr/bin/env python3
"""How Restante's costs grow, alone: with messages in a mailbox, accounts, connections, sessions on one
mailbox, volumes, and a store that the kernel has not in memory. What is told is CPU of all processes
per operation, since others may use the machine; latencies where nothing else makes sense. The store
stays below 8 GB; every loop is bounded. bench/report/ gets growth.json and a plot of each part.

usage: bench/growth.py [--build DIR] [--only WORD] [--quick]      (--quick: a tenth of everything)"""
import argparse
import os
import signal
import subprocess
import sys
import time

os.environ.setdefault("RESTANTE_BUILD", "build")
import report  # noqa: E402
from run import end_in_order, machine, session, timed  # noqa: E402
from servers import Restante, drop_caches, family, grow, held, load, most_connections  # noqa: E402

SMALL = ["--size", "1000"]
SECONDS = 3


def cpu(server):
    """Microseconds of CPU of all its processes so far."""
    total = 0.0
    for pid in family(server.pid):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0]) / 1e3
    return total


class Growth:
    def __init__(self, build, quick):
        self.build, self.quick = build, quick
        self.found = {}

    def sizes(self, *values):
        return [v // 10 or 1 for v in values] if self.quick else values

    def measure(self, server, words):
        """us of CPU and the median latency of one operation."""
        values = load(self.build, server, words, SECONDS)
        return values["cpu"], values["p50"]

    def tell(self, part, label, x, y, unit="us CPU"):
        self.found.setdefault(part, {}).setdefault(f"{label} ({unit})", []).append((x, y))
        print(f"{part:26} {x:>9,}  {label:34} {y:14,.1f} {unit}", flush=True)

    # ---- the parts -----------------------------------------------------------------------------

    def mailbox(self):
        """Messages in one mailbox. The big ones are made by COPY, which shares the bodies."""
        part = "messages in the mailbox"
        with Restante() as server:
            for number, count in enumerate(self.sizes(1000, 10000, 100000, 1000000)):
                account = ["--first", str(number)]
                load(self.build, server, [*account, *SMALL, "--operations", str(min(count, 1000)), "lmtp"], 60)
                with session(server, number) as imap:
                    before = cpu(server)
                    took = timed(lambda: grow(imap, count))
                    if count > 1000:
                        self.tell(part, "COPY, per message", count, (cpu(server) - before) / (count - 1000))
                    self.found.setdefault("notes", {})[f"making {count}"] = took
                server.start_again()
                with session(server, number) as imap:
                    before = cpu(server)
                    self.tell(part, "SELECT, first", count, timed(imap.select) * 1e3, "us")
                    self.tell(part, "SELECT, first", count, cpu(server) - before)
                for label, words in (
                        ("SELECT, again", ["--operations=2000", "select"]),
                        ("FETCH meta of newest 50", ["--operations=300", f"--messages={count}", "fetch_newest"]),
                        ("FETCH one body", ["--operations=1000", f"--messages={count}", "fetch_one"]),
                        ("STORE one", ["--operations=1000", f"--messages={count}", "store_one"]),
                        ("delivery", ["--operations=1000", *SMALL, "lmtp"]),
                        ("delivery to its IDLE", ["--operations=300", *SMALL, "push"])):
                    self.tell(part, label, count, self.measure(server, [*account, *words])[0])
                for label, words in (("SEARCH SUBJECT, per message", "search_subject"),
                                     ("FETCH FLAGS, per message", "fetch_flags")):
                    values = self.measure(server, [*account, "--operations=3", words])
                    self.tell(part, label, count, values[0] / count)

    def accounts(self):
        part = "accounts"
        with Restante(accounts=0) as server:
            have = 0
            for count in self.sizes(100, 1000, 10000, 100000):
                begun = time.monotonic()
                server.add_accounts(have, count - have)
                if have:  # some of the first ones have their passwords hashed
                    self.tell(part, "account import, per account", count,
                              (time.monotonic() - begun) * 1e6 / (count - have), "us")
                have = count
                server.start_again()
                self.tell(part, "start", count, server.start_seconds * 1e3, "ms")
                self.tell(part, "memory, all processes", count, server.memory() / 1e6, "MB")
                self.tell(part, "first delivery to an account", count, self.measure(
                    server, ["--first", str(count // 2), f"--accounts={count - count // 2}",
                             f"--operations={min(2000, count - count // 2)}", *SMALL, "--connections=4",
                             "lmtp_first"])[0])
                self.tell(part, "login + logout, one account", count,
                          self.measure(server, ["--operations=2000", "login"])[0])

    def connections(self):
        part = "idle connections"
        with Restante() as server:
            load(self.build, server, ["--accounts=60", "--operations=60", *SMALL, "lmtp_first"], 30)
            load(self.build, server, ["--operations=64", "--accounts=64", "login"], 30)
            for count in self.sizes(100, 1000, 10000):
                count = min(count, most_connections())
                before, kernel = server.memory(), server.group.kernel()
                with held(self.build, server, count, "--accounts=60", "--first=1"):
                    self.tell(part, "memory, per connection", count, (server.memory() - before) / count / 1e3, "KB")
                    if kernel is not None:
                        self.tell(part, "kernel's memory, per connection", count,
                                  (server.group.kernel() - kernel) / count / 1e3, "KB")
                    for label, words in (("NOOP of another", ["noop"]), ("login + logout", ["login"]),
                                         ("delivery to another", [*SMALL, "lmtp"])):
                        self.tell(part, label, count, self.measure(server, ["--operations=2000", *words])[0])

    def sessions(self):
        part = "sessions on one mailbox"
        with Restante() as server:
            load(self.build, server, ["--operations=1000", *SMALL, "lmtp"], 30)
            for count in self.sizes(1, 10, 100, 1000):
                with held(self.build, server, count):
                    for label, words in (("delivery", [*SMALL, "lmtp"]), ("STORE one", ["store_one"])):
                        total = self.measure(server, ["--operations=300", *words])[0]
                        self.tell(part, label + ", per session", count, total / count)
                        self.tell(part, label, count, total)

    def volumes(self):
        part = "volumes of one worker"
        for count in (1, 4, 16):
            with Restante(config=f"process {{ workers = 1 }}\nstore {{ volumes = {count} }}\n") as server:
                self.tell(part, "start", count, server.start_seconds * 1e3, "ms")
                self.tell(part, "memory, all processes", count, server.memory() / 1e6, "MB")
                for label, words in (
                        ("delivery, 1 connection", ["lmtp"]),
                        ("delivery, 32 connections", ["--connections=32", "--accounts=32", "lmtp"])):
                    self.tell(part, label, count, self.measure(server, ["--operations=20000", *SMALL, *words])[0])

    def store(self):
        """What is read from the disk because nothing is left in memory; 4 KB bodies, 50 of them."""
        part = "messages in the store, cold"
        with Restante() as server:
            have = 0
            for count in self.sizes(10000, 100000, 1000000):
                # Bodies of their own, then a mailbox that was in nobody's memory.
                done = load(self.build, server, ["--connections=32", "--accounts=60", "--first=1", "--size=4096",
                                                 f"--operations={count - have}", "lmtp"], 200)
                count = have = have + int(done["count"])
                load(self.build, server, ["--operations=200", "--size=4096", "lmtp"], 30)
                server.stop()
                if not drop_caches():
                    return print("this machine does not let us drop its caches")
                server.start()
                server.pid = server.process.pid
                with session(server, 0) as imap:
                    self.tell(part, "SELECT, first", count, timed(imap.select), "ms")
                    self.tell(part, "FETCH meta of 50", count,
                              timed(lambda: imap.fetch("1:50", "(FLAGS ENVELOPE BODYSTRUCTURE)")), "ms")
                    self.tell(part, "FETCH bodies of 50", count,
                              timed(lambda: imap.fetch("1:50", "(BODY.PEEK[])")), "ms")
                size = subprocess.run(["du", "-sm", server.data], stdout=subprocess.PIPE, text=True).stdout
                self.tell(part, "size of the store", count, int(size.split()[0]), "MB")

    def plot(self):
        for part in [p for p in self.found if p != "notes"]:
            by_unit = {}
            for label, points in self.found[part].items():
                by_unit.setdefault(label[label.rindex("(") + 1:-1], {})[label[:label.rindex(" (")]] = points
            for unit, series in by_unit.items():
                name = "-".join(["growth", *part.replace(",", "").split(), *unit.split()]).lower()
                report.plot_growth(name, part, part, unit, series)


PARTS = ("mailbox", "accounts", "connections", "sessions", "volumes", "store")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_in_order)
    subprocess.run(["ninja", "-C", options.build, "bench/bench-load"], check=True, stdout=subprocess.DEVNULL)
    growth = Growth(options.build, options.quick)
    growth.found["notes"] = {"machine": machine(options.build)}
    for part in [options.only] if options.only else PARTS:
        begun = time.monotonic()
        getattr(growth, part)()
        print(f"-- {part}: {time.monotonic() - begun:.0f} s", flush=True)
    print(report.write("growth.json", {**report.read("growth.json"), **growth.found}))
    growth.plot()


if __name__ == "__main__":
    sys.exit(main())
