#!/usr/bin/env python3
"""What takes long, one part after the other; the last line counts them. Everything that make test
tries with a few samples is tried here with all of them. Hours; each part alone: tests/long.py NAME.

usage: tests/long.py [NAME ...]      only these parts
       tests/long.py --list          their names and about how long they take on two cores"""
import os
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = "build-faults"  # gcc, as released, but it can be made to fail
UNITTEST = [sys.executable, "-m", "unittest", "-v"]

PARTS = [
    # name, minutes, environment, command (run in tests/)
    ("steps", 20, {"RESTANTE_STEPS": "0"}, [*UNITTEST, "crash.test_steps"]),
    ("steps-mailbox", 10, {"RESTANTE_STEPS": "0"}, [f"../{BUILD}/src/mailbox/test_mailbox_crash"]),
    ("kill", 10, {"RESTANTE_KILL_SECONDS": "600"}, [*UNITTEST, "crash.test_kill"]),
    ("kill-store", 10, {"RESTANTE_KILL_ROUNDS": "500"}, [f"../{BUILD}/tests/crash/test_store_kill"]),
    ("power", 80, {"RESTANTE_POWER_IMAGES": "100000", "RESTANTE_POWER_SEED": str(int(time.time()))},
     [f"../{BUILD}/tests/power/test_power"]),
    ("analysis", 30, {}, ["../scripts/analyze"]),
    ("memcheck", 60, {}, ["../scripts/memcheck", BUILD]),
    ("abuse", 5, {"RESTANTE_PIPELINED": "1000000", "RESTANTE_GUESSERS": "300"},
     [*UNITTEST, "clients.test_bounds"]),
    ("fuzz", 360, {"FUZZ_SECONDS": "1200"}, ["../scripts/fuzz"]),
]


def build():
    os.chdir(TOP)
    verb = "configure" if os.path.exists(f"{BUILD}/build.ninja") else "setup"
    subprocess.run(["meson", verb, BUILD, "-Dfaults=true"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", BUILD], check=True, stdout=subprocess.DEVNULL)
    os.chdir("tests")


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        for name, minutes, environment, _ in PARTS:
            print(f"{name:15} {minutes:3} min  {' '.join(f'{k}={v}' for k, v in environment.items())}")
        return 0
    unknown = set(names) - {part[0] for part in PARTS}
    if unknown:
        sys.exit(f"no such part: {' '.join(sorted(unknown))}")
    build()
    failed = []
    parts = [part for part in PARTS if not names or part[0] in names]
    for name, minutes, environment, command in parts:
        print(f"== {name}, about {minutes} min: "
              f"{' '.join(f'{k}={v}' for k, v in environment.items())}", flush=True)
        begun = time.monotonic()
        env = dict(os.environ, RESTANTE_BUILD=BUILD, **environment)
        status = subprocess.run(command, env=env).returncode
        print(f"== {name}: {'passed' if status == 0 else 'FAILED'} "
              f"after {time.monotonic() - begun:.0f} s", flush=True)
        if status != 0:
            failed.append(name)
    for name in failed:
        print(f"failed: {name}")
    print(f"{len(parts) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
