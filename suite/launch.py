"""Runs a task in a process of its own, watches it, and ends it when it stalls, fails or is interrupted.

LoadGen keeps global state and can hang, abort or crash; a backend can too. The parent only ever waits with a bound.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RunFailed, TandemError, UsageError
from suite import interrupts

# How long a test may take to end by itself after its first fault, and a process after it was asked to.
GRACE_AFTER_FAULT_S = 3.0
GRACE_AFTER_SIGNAL_S = 2.0

# A phase that counts nothing, since it loads or compiles, may be silent so many times as long as one that does.
SILENT_FACTOR = 10

# How long a process may take to go once it has said all it had to.
GRACE_AT_END_S = 10.0


@dataclass(frozen=True)
class Progress:
    """How far a child is; a `silent` phase counts nothing, and `fault` is the first thing that went wrong."""

    phase: str
    silent: bool
    issued: int
    completed: int
    expected: int
    fault: str | None


Watcher = Callable[[Progress], None]


def call(task: str, job: dict[str, Any], *, log: Path, stall_timeout_s: float, watch: Watcher) -> Any:
    """Returns what the child answers to `job`; its stderr goes to `log`.

    Raises UsageError where the child refuses, RunFailed where it fails, dies, or makes no progress for
    `stall_timeout_s` (SILENT_FACTOR times that in a silent phase). Whatever happens, no child is left behind.
    """
    read_end, write_end = os.pipe()
    with interrupts.held(), open(read_end, "rb", buffering=0) as pipe, log.open("ab") as errors:
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", "suite.worker", task, str(write_end)],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                pass_fds=(write_end,),
                # A terminal's Ctrl-C goes to the parent alone, which passes it on.
                start_new_session=True,
            )
        finally:
            os.close(write_end)
        try:
            with interrupts.allowed():
                return _attend(child, pipe, job, stall_timeout_s, watch)
        except _ChildDied:
            raise RunFailed(_obituary(child, log)) from None
        finally:
            # Else it would write on while its evidence is closed.
            _end(child)


class _ChildDied(Exception):
    pass


def _attend(
    child: "subprocess.Popen[bytes]", pipe: Any, job: dict[str, Any], stall_timeout_s: float, watch: Watcher
) -> Any:
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError), child.stdin as stdin:
        stdin.write(json.dumps(job).encode())
    last, changed, fault_since = None, time.monotonic(), None
    for message in _messages(pipe):
        moment = time.monotonic()
        if message is not None and message["kind"] == "result":
            return message["value"]
        if message is not None and message["kind"] == "error":
            raise _error(**message["value"])
        if message is not None:
            progress = Progress(**message["value"])
            with contextlib.suppress(OSError):
                # Whether anybody can see the progress must not decide a run.
                watch(progress)
            # Server's queries go on arriving while nothing is answered.
            if last is None or (progress.phase, progress.completed) != (last.phase, last.completed):
                changed = moment
            last = progress
            if progress.fault and fault_since is None:
                fault_since = moment
        if last and last.fault and fault_since and moment - fault_since > GRACE_AFTER_FAULT_S:
            raise RunFailed(f"{last.fault}.")
        bound_s = stall_timeout_s * (SILENT_FACTOR if last and last.silent else 1)
        if moment - changed > bound_s:
            raise RunFailed(_stalled(last, bound_s))
    raise _ChildDied


def _messages(pipe: Any) -> Iterator[Any]:
    """Yields the child's messages, and None whenever a second has passed without one.

    Ends when the pipe does, or when something other than a message comes through it.
    """
    rest = b""
    while True:
        interrupts.check()
        if not select.select([pipe], [], [], 1.0)[0]:
            yield None
            continue
        chunk = pipe.read(65536)
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        try:
            yield from [json.loads(line) for line in lines]
        except ValueError:
            return


def _error(sentence: str, exit_code: int) -> TandemError:
    return UsageError(sentence) if exit_code == UsageError.exit_code else RunFailed(sentence)


def _stalled(last: Progress | None, bound_s: float) -> str:
    where = f"while {last.phase}" if last else "after it was started"
    if last and last.issued:
        where += f", with {last.completed:,} of {last.issued:,} issued samples answered"
    return f"The run made no progress for {bound_s:.3g} s {where}; it was ended (--stall-timeout sets the bound)."


def _obituary(child: "subprocess.Popen[bytes]", log: Path) -> str:
    """Returns one sentence on a child that went without an answer."""
    try:
        code = child.wait(GRACE_AT_END_S)
    except subprocess.TimeoutExpired:
        return "The run's process closed its pipe and hung."
    cause = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with code {code} and no answer"
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return f"The run's process {cause}; its last words: {lines[-1]!r}." if lines else f"The run's process {cause}."


def _signal_name(number: int) -> str:
    names = {known.value: known.name for known in signal.Signals}
    return names.get(number, f"signal {number}")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ends a child and whatever it has started, gently if it will."""
    for number, grace in ((None, 0.5), (signal.SIGTERM, GRACE_AFTER_SIGNAL_S), (signal.SIGKILL, GRACE_AT_END_S)):
        if number is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
            break
    # The leader is gone; its own children, if it had any, are of the same group.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
