#!/usr/bin/env python3
"""Builds Restante in every variant and runs every test; the last line counts them.

Variants: gcc as released (with -Werror), gcc with AddressSanitizer and UBSan and injected faults,
clang (compiled without warnings). Unit tests are meson tests; what is tested from the outside
(real sockets, real clients, kill -9) are the unittest files below tests/. A test that needs what
this machine lacks counts as skipped, by name.

usage: tests/run.py [--only WORD]   runs only the tests whose name contains WORD
"""
import argparse
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.chdir(TOP)
sys.path.insert(0, os.path.join(TOP, "tests"))

VARIANTS = [
    # name, environment, meson options, run the unit tests there
    ("build", {}, ["-Dwerror=true"], True),
    ("build-asan", {}, ["-Dwerror=true", "-Db_sanitize=address,undefined", "-Dfaults=true",
                        "-Db_lundef=false"], True),
    ("build-clang", {"CC": "clang"}, ["-Dwerror=true", "-Dfuzz=true", "-Dfaults=true"], False),
]
LIMIT = 300  # seconds for one test from the outside; most take one
AT_ONCE = 3  # modules of such tests
SLOWEST = 15


class Count:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0
        self.failures = []
        self.seconds = []  # (how long, name)

    def add(self, name, outcome, text=""):
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome == "failed":
            self.failures.append(name)
            print(f"FAILED  {name}\n{text}", flush=True)
        elif outcome == "skipped":
            print(f"skipped {name} {text}", flush=True)


def step(words):
    print(f"== {words}  [{time.monotonic() - START:.0f} s]", flush=True)


def build(count, name, environment, options):
    env = dict(os.environ, **environment)
    verb = "configure" if os.path.exists(f"{name}/build.ninja") else "setup"
    text = ""
    for command in (["meson", verb, name, *options], ["ninja", "-C", name]):
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        text += done.stdout
        if done.returncode != 0:
            break
    good = done.returncode == 0
    count.add(f"{name}: compiles without warnings", "passed" if good else "failed",
              text[-6000:])
    return good


CASE = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] ([A-Za-z_]\w*)$", re.M)


def unit_tests(count, name, only):
    """Runs the meson tests; cmocka's cases are counted one by one."""
    env = dict(os.environ, RESTANTE_CORPUS=CORPUS,
               ASAN_OPTIONS="abort_on_error=1",
               UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
    log = f"{name}/meson-logs/testlog.json"
    if os.path.exists(log):
        os.unlink(log)
    wanted = []
    if only:
        listing = subprocess.run(["meson", "test", "-C", name, "--list"], env=env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        wanted = [line.split(" / ")[-1].strip() for line in listing.splitlines()
                  if only in line]
        if not wanted:
            return
    subprocess.run(["meson", "test", "-C", name, "--no-rebuild", "-t", "4", *wanted], env=env,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if not os.path.exists(log):
        count.add(f"{name}: unit tests", "failed", "meson test wrote no log")
        return
    with open(log) as lines:
        for line in lines:
            test = json.loads(line)
            count.seconds.append((test.get("duration", 0), f"{name}: {test['name']}"))
            output = test.get("stdout", "") + test.get("stderr", "")
            cases = {}
            for outcome, case in CASE.findall(output):
                cases[case] = outcome
            title = f"{name}: {test['name']}"
            for case, outcome in cases.items():
                if outcome == "FAILED":
                    continue  # counted with the test's own text below
                count.add(f"{title} {case}", "passed" if outcome == "OK" else "skipped")
            if test["result"] == "SKIP":
                count.add(title, "skipped")
            elif test["result"] not in ("OK", "EXPECTEDFAIL"):
                count.add(title, "failed", f"({test['result']})\n" + output[-4000:])
            elif not cases:
                count.add(title, "passed")


class Hangs(Exception):
    pass


def on_alarm(number, frame):
    raise Hangs(f"not done after {LIMIT} s")


class Result(unittest.TestResult):
    """What became of the tests of a module, as plain values."""

    def __init__(self):
        super().__init__()
        self.outcomes = []  # (name, outcome, text)
        self.seconds = []
        signal.signal(signal.SIGALRM, on_alarm)

    def startTest(self, test):
        self.started = time.monotonic()
        signal.alarm(LIMIT)

    def stopTest(self, test):
        signal.alarm(0)
        self.seconds.append((time.monotonic() - self.started, test.id()))

    def addSuccess(self, test):
        self.outcomes.append((test.id(), "passed", ""))

    def addFailure(self, test, error):
        self.outcomes.append((test.id(), "failed", self._exc_info_to_string(error, test)))

    addError = addFailure

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.addFailure(subtest, error)

    def addSkip(self, test, reason):
        self.outcomes.append((test.id(), "skipped", f"({reason})"))


def each(suite):
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            yield from each(part)
        else:
            yield part


def outside_suite(only, module=None):
    loader = unittest.defaultTestLoader
    return unittest.TestSuite(
        test for test in each(loader.discover("tests", pattern="test_*.py"))
        if (not only or only in test.id()) and module in (None, type(test).__module__))


def outside_module(task):
    result = Result()
    outside_suite(*task).run(result)
    return result.outcomes, result.seconds


def outside_tests(count, only):
    """Each module in a process of its own, some at a time: most of a test is waiting."""
    modules = sorted({type(test).__module__ for test in each(outside_suite(only))})
    with multiprocessing.get_context("fork").Pool(AT_ONCE, maxtasksperchild=1) as pool:
        tasks = [(only, module) for module in modules]
        for outcomes, seconds in pool.imap_unordered(outside_module, tasks):
            count.seconds += seconds
            for outcome in outcomes:
                count.add(*outcome)


def analysis(count):
    done = subprocess.run(["scripts/analyze", "--quick"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    count.add("cppcheck and clang-tidy", "passed" if done.returncode == 0 else "failed",
              done.stdout[-4000:])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run only tests whose name contains this")
    only = parser.parse_args().only
    count = Count()
    built = set()
    for name, environment, options, run_units in VARIANTS:
        step(f"{name}: build")
        good = build(count, name, environment, options)
        if good:
            built.add(name)
        if good and run_units:
            step(f"{name}: unit tests")
            unit_tests(count, name, only)
    step("from the outside")
    if os.environ.get("RESTANTE_BUILD", "build") in built:
        outside_tests(count, only)
    else:
        count.add("tests from the outside", "failed", "not run: what they test does not compile")
    if not only:
        step("static analysis")
        analysis(count)
    step("done")
    for seconds, name in sorted(count.seconds, reverse=True)[:0 if only else SLOWEST]:
        print(f"{seconds:6.1f} s  {name}")
    for name in count.failures:
        print(f"failed: {name}")
    tail = f", {count.skipped} skipped" if count.skipped else ""
    print(f"{count.passed} passed, {count.failed} failed{tail}")
    return 1 if count.failed or not count.passed else 0


START = time.monotonic()
CORPUS = os.path.abspath(os.environ.get("RESTANTE_CORPUS", os.path.join(TOP, "../shared/corpus")))
if __name__ == "__main__":
    sys.exit(main())
