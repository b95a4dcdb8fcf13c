"""What the tests share that stop a process at a step (base/fault.h)."""
import os
import unittest

from lib.server import TOP


def build_with_faults():
    """The directory of a build with -Dfaults=true; skips where there is none."""
    for name in (os.environ.get("RESTANTE_BUILD", "build"), "build-clang", "build-asan"):
        program = os.path.join(TOP, name, "restante-worker")
        if os.path.exists(program):
            with open(program, "rb") as file:
                if b"RESTANTE_FAULT_IN" in file.read():
                    return os.path.join(TOP, name)
    raise unittest.SkipTest("no build with -Dfaults=true")
