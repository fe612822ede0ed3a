"""Has the C library keep the memory that a runtime frees, instead of giving it back to the system after each batch.

Given back, every page of the next batch is a page fault. Torch frees what lies between two layers: where that is kept
it runs up to 1.5 times as fast (`python -m tools.bench_harness --only freed-memory`). onnxruntime keeps its memory by
itself.
"""

import ctypes
from collections.abc import Mapping

# Of glibc's malloc.h; see mallopt(3).
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
NEVER_TRIM = -1
# The memory of any thread but the first is of pieces of 64 MB, and a piece in which nothing is left is given back
# whatever the threshold, but where it is less than what is to be kept at the end.
KEPT_AT_END = 128 * 2**20
# The most that glibc takes: what is larger has pages of its own, and gives them back.
LARGEST_KEPT = 32 * 2**20

# With these somebody has chosen how memory is allocated.
CHOSEN_BY = ("GLIBC_TUNABLES", "LD_PRELOAD", "MALLOC_")


def keep_freed_memory(environment: Mapping[str, str]) -> bool:
    """Has this process keep what it frees, where nobody chose an allocator or its settings; returns whether it does.

    `environment` is the process's. To ask again changes nothing.
    """
    if any(name.startswith(CHOSEN_BY) for name in environment):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        # Not glibc.
        return False
    chosen = ((M_TRIM_THRESHOLD, NEVER_TRIM), (M_TOP_PAD, KEPT_AT_END), (M_MMAP_THRESHOLD, LARGEST_KEPT))
    return all([bool(mallopt(*one)) for one in chosen])
