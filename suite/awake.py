"""Keeps the machine's cores from halting while there is nothing to do for them.

Under random arrivals a core often has nothing to do for a moment, and halts. In a virtual machine its host then gives
the core to somebody else, and what comes back may be slower for tenths of a second: batches took up to 1.4 times the
CPU time, on all cores at once, which no load above 0.65 of Offline survives within a p99 of three batches (`python -m
tools.bench_harness --only awake`). On any machine a deep sleep takes time to end. Linux lets a process ask that idle
cores answer at once, which has them poll; the request ends with the file that is held open, so with the process
(Documentation/power/pm_qos_interface.rst).
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from common.errors import RunFailed, UsageError

# Whoever may write it may ask: root, and whom an administrator lets.
DEVICE = Path("/dev/cpu_dma_latency")
# A number of 32 bits: the longest time, in µs, that a core may take to wake.
AT_ONCE = bytes(4)

# Words of --keep-awake.
AUTO, ON, OFF = "auto", "on", "off"


def requested(text: str) -> str:
    """Returns --keep-awake in the form in which it is recorded; raises UsageError where it cannot be done here."""
    word = text.strip().lower()
    if word not in (AUTO, ON, OFF):
        raise UsageError(f"--keep-awake is '{text}'; write auto, on or off.")
    if word == ON and not possible():
        raise UsageError(
            f"--keep-awake is on, and this user may not write {DEVICE}, by which Linux is asked; "
            "run it as root, have an administrator allow it, or use --keep-awake off."
        )
    return word


def possible() -> bool:
    """Returns whether this process may keep the cores awake."""
    try:
        # Root may be let write it by its mode, and be refused by a control group all the same.
        os.close(os.open(DEVICE, os.O_WRONLY))
    except OSError:
        return False
    return True


@contextlib.contextmanager
def awake(wanted: bool) -> Iterator[None]:
    """Keeps the cores from halting meanwhile, if wanted; raises RunFailed where the system does not let it."""
    if not wanted:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            held = os.open(DEVICE, os.O_WRONLY)
            stack.callback(os.close, held)
            os.write(held, AT_ONCE)
        except OSError as error:
            raise RunFailed(f"The cores cannot be kept awake: {DEVICE}: {error.strerror}.") from error
        yield
