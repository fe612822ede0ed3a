"""What a process frees it keeps, unless somebody has chosen how memory is allocated."""

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")

# As torch does: blocks of 9 MB are written, freed, and asked for again.
PROGRAM = """
import os
import resource
import sys
import numpy as np
from suite.allocator import keep_freed_memory

def use():
    [np.ones(9 * 2**20, np.uint8) for _ in range(5)]

said = keep_freed_memory(os.environ) if sys.argv[1] == "keep" else None
for _ in range(4):
    use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(said, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(action: str, **variables: str) -> tuple[str, int]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "LD_"))}
    words = [sys.executable, "-c", PROGRAM, action]
    done = subprocess.run(words, env={**bare, **variables}, capture_output=True, text=True, timeout=60, check=True)
    said, faults = done.stdout.split()
    return said, int(faults)


def test_what_is_freed_is_used_again_without_a_page_fault() -> None:
    _, given_back = run("leave")
    said, kept = run("keep")
    assert said == "True"
    assert kept < 100 < given_back, (kept, given_back)


@pytest.mark.parametrize("variable", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"])
def test_what_somebody_has_chosen_stays(variable: str) -> None:
    said, _ = run("keep", **{variable: "glibc.malloc.arena_max=2" if variable == "GLIBC_TUNABLES" else "131072"})
    assert said == "False"
