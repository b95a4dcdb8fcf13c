#!/usr/bin/env python3
"""The guard: what an operation costs, in numbers that no clock is part of (doc/performance.md).
It knows the build as released; RESTANTE_BUILD names another than ./build.

usage: bench/guard/guard.py             compares with bench/guard/expected.txt
       bench/guard/guard.py --record    writes that file anew; the commit says why it changes
       bench/guard/guard.py --only WORD --repeat N --spread
                                      measures whose name holds a word; more often; all counts"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../../tests")]
import script  # noqa: E402
from lib.server import BUILD, Server  # noqa: E402
from counted import PRELOAD, Instructions, Native  # noqa: E402

EXPECTED = os.path.join(HERE, "expected.txt")
KINDS = [Native, Instructions]
COUNTERS = ("syscalls", "syncs", "allocations", "instructions")
REPEAT = 3  # the least counts: what disturbs, a new segment file for one, only adds
SLACK = 0.01  # what every count may be off, beside its tolerance: much of nothing is nothing


def missing(kind):
    """Why this machine or this build cannot be measured; "" when it can."""
    with open(os.path.join(BUILD, "meson-info/intro-buildoptions.json")) as file:
        options = {option["name"]: option["value"] for option in json.load(file)}
    if (options["buildtype"], options["b_sanitize"], options["faults"]) != \
            ("debugoptimized", "none", False):
        return "only the build as released has the expected counts"
    with open(os.path.join(BUILD, "restante-worker"), "rb") as file:
        if b"clang version" in file.read():
            return "only gcc's build has the expected counts"
    if shutil.which(kind.needs) is None:
        return f"no {kind.needs}"
    if kind is Native and subprocess.run(["strace", "-f", "-o", "/dev/null", "true"],
                                         stderr=subprocess.DEVNULL).returncode != 0:
        return "strace may not trace here"
    with open(PRELOAD, "rb") as file:
        if kind is Instructions and b"status internal" not in file.read():
            return "built without valgrind's header"
    return ""


def make_data():
    """A store with the accounts and their mail, for all kinds; logs come to lie beside it."""
    folder = tempfile.mkdtemp(prefix="restante-guard-data-")
    os.chmod(folder, 0o755)
    data = os.path.join(folder, "data")
    os.mkdir(data)
    server = Server(data=data, config="process { workers = 1\n doors = 1\n readers = 1 }\n")
    try:
        with tempfile.NamedTemporaryFile("w") as file:
            file.writelines(f"{name}:{{PLAIN}}{script.PASSWORD}\n" for name in script.ACCOUNTS)
            file.flush()
            server.run("account", "import", file.name)
        script.fill(server)
        server.stop()
    finally:
        server.kill()
    return data


def remove_data(data):
    shutil.rmtree(os.path.dirname(data))


def measure(kind, data, names=tuple(script.MEASURES), repeat=REPEAT):
    """{measure: {counter: [each time, per operation]}}"""
    found, server = {}, kind(data)
    try:
        script.warm(server)
        for name, steps_of in script.MEASURES.items():
            if name not in names:
                continue
            steps = steps_of(server)
            next(steps)
            before, rows = server.counts(), []
            for _ in range(repeat):
                operations, now = next(steps), server.counts()
                rows.append({key: (now[key] - before[key]) / operations for key in now})
                before = now
            found[name] = {key: [row[key] for row in rows] for key in rows[0]}
    finally:
        server.close()
    return found


def read_expected():
    """{row: {counter: number}}; the row "tolerance" is percents, "tolerance:X" those of measure X."""
    rows = {}
    with open(EXPECTED) as file:
        for line in file:
            words = line.split()
            if words and not line.startswith("#"):
                rows[words[0]] = dict(zip(COUNTERS, map(float, words[1:])))
    return rows


def compare(expected, found):
    """Lines that say what grew, of what counts least among the times it was measured."""
    complaints = []
    for name, row in found.items():
        for counter, values in row.items():
            known, now = expected.get(name, {}).get(counter, 0), min(values)
            tolerance = expected.get(f"tolerance:{name}", expected["tolerance"])[counter]
            if now > known * (1 + tolerance / 100) + SLACK:
                complaints.append(
                    f"{name}: {counter} per operation grew from {known:g} to {now:g} "
                    f"({(now / known - 1) * 100:+.0f}%). " if known else
                    f"{name}: {counter} per operation is {now:g} and not in the file. ")
                complaints[-1] += ("If that is what the change is worth: bench/guard/guard.py --record, "
                                   "and say why in the commit.")
    return complaints


def complaints_about(kind, data):
    """What grew is measured again, twice: work in the background may disturb all counts of one run."""
    expected, found, grown = read_expected(), {}, set(script.MEASURES)
    for _ in range(3):
        for name, row in measure(kind, data, grown).items():
            for counter, values in row.items():
                found.setdefault(name, {}).setdefault(counter, []).extend(values)
        complaints = compare(expected, found)
        grown = {line.split(":")[0] for line in complaints}
        if not complaints:
            break
    return complaints


def record(found):
    with open(EXPECTED) as file:
        head = [line for line in file if line.startswith(("#", "tolerance"))]
    with open(EXPECTED, "w") as file:
        file.writelines(head)
        for name in script.MEASURES:
            values = [min(found[name][counter]) for counter in COUNTERS]
            file.write(f"{name:20}" + "".join(f"{v:14.0f}" if v >= 1000 else f"{v:14.3f}"
                                              for v in values) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--repeat", type=int, default=REPEAT)
    parser.add_argument("--spread", action="store_true")
    options = parser.parse_args()
    found, data = {}, make_data()
    try:
        for kind in KINDS:
            problem = missing(kind)
            if problem:
                print(f"{kind.__name__}: {problem}")
                continue
            names = [name for name in script.MEASURES if options.only in name]
            for name, row in measure(kind, data, names, options.repeat).items():
                found.setdefault(name, {}).update(row)
    finally:
        remove_data(data)
    for name, row in found.items():
        print(f"{name:20}" + "".join(f"{min(row.get(c, [0])):14,.3f}" for c in COUNTERS))
        for counter, values in row.items() if options.spread else ():
            print(f"    {counter:14}" + " ".join(f"{v:.3f}" for v in sorted(values)))
    if options.record:
        if options.only or any(len(row) < len(COUNTERS) for row in found.values()):
            sys.exit("not recorded: something was not measured")
        record(found)
        return 0
    complaints = compare(read_expected(), found)
    print("\n".join(complaints))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
