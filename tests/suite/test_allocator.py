"""What a process frees it keeps, unless somebody has chosen how memory is allocated."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")

# As torch does: blocks of some MB are written, freed, and asked for again.
PROGRAM = """
import os
import resource
import sys
import threading
import numpy as np
from suite.allocator import keep_freed_memory

megabytes = int(sys.argv[2])

def use():
    [np.ones(megabytes * 2**20, np.uint8) for _ in range(5)]

def work():
    for _ in range(4):
        use()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        use()
    print(said, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

said = keep_freed_memory(os.environ) if sys.argv[1] == "keep" else None
if sys.argv[3] == "first":
    work()
else:
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
"""


def run(action: str, megabytes: int = 9, thread: str = "first", **variables: str) -> tuple[str, int]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    words = [sys.executable, "-c", PROGRAM, action, str(megabytes), thread]
    done = subprocess.run(words, env={**bare, **variables}, capture_output=True, text=True, timeout=60, check=True)
    said, faults = done.stdout.split()
    return said, int(faults)


@pytest.mark.parametrize(("megabytes", "thread"), [(9, "first"), (9, "another"), (24, "another")])
def test_what_is_freed_is_used_again_without_a_page_fault(megabytes: int, thread: str) -> None:
    """More than 64 MB in all too, which glibc gives another thread in pieces."""
    _, given_back = run("leave", megabytes, thread)
    said, kept = run("keep", megabytes, thread)
    assert said == "True"
    assert kept < 100 < given_back, (kept, given_back)


@pytest.mark.parametrize("variable", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"])
def test_what_somebody_has_chosen_stays(variable: str) -> None:
    said, _ = run("keep", **{variable: "glibc.malloc.arena_max=2" if variable == "GLIBC_TUNABLES" else "131072"})
    assert said == "False"
