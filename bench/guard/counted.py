"""The server under the counters: system calls (strace) and allocations (counters.c) of all processes
together, as it runs everywhere; then instructions (callgrind) of door, auth, worker and reader,
without the sandbox, in which valgrind could not work. Nothing here looks at a clock: counters are
read when every thread of the server sleeps."""
import contextlib
import glob
import mmap
import os
import re
import shutil
import signal
import struct
import tempfile

from lib.server import BUILD, Server, family, wait_until

PRELOAD = os.path.join(BUILD, "bench/libguard_counters.so")
# Work in the background would fall into some measure or other: none of it comes due meanwhile.
CONFIG = """process {{ workers = 1
 doors = 1
 readers = 1
 sandbox = {sandbox} }}
store {{ checkpoint_ms = 1h
 checkpoint_operations = 1000000 }}
"""
# How threads wait for each other depends on who is faster; so does what they do about it.
NOT_COUNTED = {"futex", "restart_syscall", "sched_yield", "rt_sigreturn", "exit", "exit_group"}
SYNCS = {"fdatasync", "fsync", "syncfs", "sync_file_range"}


def all_sleep(pids):
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] != "S":
                    return False
    return True


class Counted(Server):
    """counts() is {name: number so far}."""

    def __init__(self, data, sandbox):
        self.folder = tempfile.mkdtemp(prefix="restante-guard-")
        os.chmod(self.folder, 0o755)
        self.pids = None
        super().__init__(data=data, config=CONFIG.format(sandbox=sandbox), start=False)

    def settle(self):
        """Several times in a row, since a thread that was looked at may be woken by a later one."""
        self.pids = self.pids or family(self.process.pid)
        wait_until("the server to sleep", lambda: all(all_sleep(self.pids) for _ in range(4)))

    def close(self):
        super().close()
        shutil.rmtree(self.folder)


class Native(Counted):
    needs = "strace"

    def __init__(self, data):
        super().__init__(data, "auto")
        self.trace = open(os.path.join(self.folder, "trace"), "w+", errors="replace")
        counters = os.path.join(self.folder, "counters")
        with open(counters, "w+b") as file:
            file.truncate(4096)
            self.memory = mmap.mmap(file.fileno(), 4096)
        self.env["GUARD_COUNTERS"] = counters
        self.calls, self.syncs = 0, 0
        self.start()

    def command(self):
        return ["strace", "-f", "-qq", "-s0", "-a0", "-e", "signal=none", "-o", self.trace.name,
                "-E", f"LD_PRELOAD={PRELOAD}", *super().command()]

    def counts(self):
        self.settle()
        for line in self.trace:
            name = re.match(r"\d+ +(\w+)\(", line)  # not the second half of one that was interrupted
            if name and name.group(1) not in NOT_COUNTED:
                self.calls += 1
                self.syncs += name.group(1) in SYNCS
        return {"syscalls": self.calls, "syncs": self.syncs,
                "allocations": struct.unpack("Q", self.memory[:8])[0]}

    def close(self):
        super().close()
        self.trace.close()


class Instructions(Counted):
    needs = "valgrind"
    wrapped = ("door", "auth", "worker", "reader")

    def __init__(self, data):
        """Master looks for the other programs beside itself: there, valgrind stands before some."""
        super().__init__(data, "off")
        for name in os.listdir(BUILD):
            real, path = os.path.join(BUILD, name), os.path.join(self.folder, name)
            if name.removeprefix("restante-") in self.wrapped:
                with open(path, "w") as file:
                    file.write(f"#!/bin/sh\nLD_PRELOAD={PRELOAD} exec valgrind -q --tool=callgrind "
                               "--callgrind-out-file=/dev/null --vgdb=no "
                               f"--log-file={self.folder}/%p.log {real} \"$@\"\n")
                os.chmod(path, 0o755)
            elif name in ("restante", "restante-master"):
                shutil.copy2(real, path)
            elif name.startswith("restante-") and os.path.isfile(real):
                os.symlink(real, path)
        self.start()

    def command(self):
        return [os.path.join(self.folder, "restante"), *super().command()[1:]]

    def counts(self):
        """Each tells by threads; its own cost of telling is the same each time."""
        self.settle()
        total = 0
        for log in glob.glob(os.path.join(self.folder, "*.log")):
            before = os.path.getsize(log)
            os.kill(int(os.path.basename(log)[:-len(".log")]), signal.SIGUSR2)
            wait_until("callgrind's answer", lambda: os.path.getsize(log) > before)
            self.settle()
            with open(log) as file:
                file.seek(before)
                total += sum(map(int, re.findall(r"^events-\d+: (\d+)", file.read(), re.M)))
        return {"instructions": total}
