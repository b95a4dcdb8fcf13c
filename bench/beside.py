#!/usr/bin/env python3
"""What warm sessions feel while something heavy runs beside them in the same worker: eight sessions
fetch one small message after another; told are p50, p99 and the longest wait of their answers.

usage: bench/beside.py [--build DIR] [--quick] [--only WORD]      (--quick: a tenth of the messages)"""
import argparse
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

os.environ.setdefault("RESTANTE_BUILD", "build")
import report  # noqa: E402
from run import end_in_order, machine, session  # noqa: E402
from servers import Restante, grow, load  # noqa: E402

WARM, BIG, SINK = 0, 1, 2  # accounts
SECONDS = 4
APPENDED = 95 << 20  # bytes: a message of the largest size that is taken by default


def config(**store):
    lines = "".join(f" {name} = {value}\n" for name, value in store.items())
    return f"process {{ workers = 1 }}\nstore {{ volumes = 1\n{lines} }}\nlog {{ level = debug }}\n"


class Beside:
    def __init__(self, build, quick, only):
        self.build, self.quick, self.only, self.found = build, quick, only, {}

    def warm(self, server, title, heavy=None):
        """heavy(stop) runs beside, in a thread, and says what it has done."""
        stop, said = threading.Event(), []
        thread = threading.Thread(target=lambda: said.append(heavy(stop)))
        if heavy:
            thread.start()
        try:
            values = load(self.build, server, ["--connections=8", "fetch_one"], SECONDS)
        finally:
            stop.set()
            if heavy:
                thread.join()
        row = {name: values[name] / 1e3 for name in ("p50", "p99", "max")}
        self.found[title] = {**row, "beside": said[0] if said else ""}
        print(f"{title:34}" + "".join(f"{v:10.2f}" for v in row.values()) + f"   {''.join(said)}", flush=True)

    def wanted(self, title):
        return self.only in title

    @contextlib.contextmanager
    def server(self, **store):
        with Restante(config=config(**store)) as server:
            load(self.build, server, ["--operations=1000", "--size=1000", "lmtp"], 30)
            for account in (WARM, BIG, SINK):  # the first time, a password is hashed
                session(server, account).__exit__()
            yield server

    def all(self):
        print(f"\n{'beside eight warm sessions (ms)':34}{'p50':>10}{'p99':>10}{'longest':>10}")
        if self.wanted("SELECT APPEND nothing"):
            self.reading()
        if self.wanted("checkpoints"):
            with self.server() as server:
                self.warm(server, "deliveries", lambda stop: self.deliver(server))
            with self.server(checkpoint_ms=20) as server:
                self.warm(server, "deliveries, checkpoint each 20 ms", lambda stop: self.deliver(server))
        if self.wanted("compaction"):
            with self.server(segment_size=1 << 20, grace=0, checkpoint_ms=50) as server:
                self.compaction(server)

    def reading(self):
        count = 100000 if self.quick else 1000000
        with self.server() as server:
            load(self.build, server, ["--first", str(BIG), "--operations=1000", "--size=1000", "lmtp"], 30)
            with session(server, BIG) as imap:
                grow(imap, count)
            server.start_again()
            for account in (WARM, BIG, SINK):
                session(server, account).__exit__()
            self.warm(server, "nothing")
            self.warm(server, f"cold SELECT of {count:,}", lambda stop: self.select(server))
            self.warm(server, "APPEND of 95 MB", lambda stop: self.append(server, stop))
            self.warm(server, f"SEARCH SUBJECT over {count:,}", lambda stop: self.search(server))
            self.warm(server, f"STORE 1:{count}", lambda stop: self.store(server))

    # ---- what is heavy -------------------------------------------------------------------------

    def select(self, server):
        with session(server, BIG) as imap:
            time.sleep(0.5)  # so that the warm ones are at work
            begun = time.monotonic()
            imap.select()
            return f"one, in {(time.monotonic() - begun) * 1e3:.0f} ms"

    def search(self, server):
        with session(server, BIG) as imap:
            imap.select()
            begun = time.monotonic()
            imap.search(None, "SUBJECT", "zebrafish")
            return f"one, in {(time.monotonic() - begun) * 1e3:.0f} ms"

    def store(self, server):
        with session(server, BIG) as imap:
            imap.select()
            begun = time.monotonic()
            imap.store("1:*", "+FLAGS.SILENT", r"(\Answered)")
            return f"one, in {(time.monotonic() - begun) * 1e3:.0f} ms"

    def append(self, server, stop):
        count, text = 0, b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 4 * (APPENDED // 64) + b"\r\n"
        with session(server, SINK) as imap:
            while not stop.is_set():
                answer = imap.append("INBOX", None, None, text + b"%d\r\n" % count)[0]
                count += answer == "OK"
        return f"{count} of them"

    def deliver(self, server):
        values = load(self.build, server, [f"--first={SINK}", "--size=4096", "--connections=16", "lmtp"], SECONDS)
        return f"{values['rate']:.0f} deliveries/s"

    def compaction(self, server):
        def compactions():
            with open(server.log, errors="replace") as log:
                return log.read().count("event=compacted")
        # Between the messages of one account lie those of two that are deleted: a third stays alive.
        load(self.build, server, [f"--first={SINK}", "--accounts=3", "--size=4096", "--connections=15",
                                  "--operations=15000", "lmtp"], 60)

        def heavy(stop):
            before = compactions()
            for account in (SINK + 1, SINK + 2):
                server.run("account", "delete", f"bench{account}", "--yes")
            stop.wait()
            return f"two accounts deleted, {compactions() - before} compactions"

        self.warm(server, "deletion and compaction", heavy)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_in_order)
    subprocess.run(["ninja", "-C", options.build, "bench/bench-load"], check=True, stdout=subprocess.DEVNULL)
    beside = Beside(options.build, options.quick, options.only)
    beside.found["machine"] = machine(options.build)
    beside.all()
    print(report.write("beside.json", beside.found))


if __name__ == "__main__":
    sys.exit(main())
