"""The rows of Server: the highest load that is held, beside Offline, and by a choice of how queries come."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from common.errors import RunFailed
from suite.progress import say
from tools.bench.bench import WORKLOADS, Bench, child, shown
from tools.bench.rows import Bar, Row, row

PEAK_TIMEOUT_S = 600
# The fewest of which a median has a 95 % interval.
LEAST_SEARCHES = 6

# The step of the up-and-down method, and trials that find the level.
LOAD_STEP = 1.07
SETTLING = 6
# The first trial, of the Offline throughput.
START = 0.7
LIMIT_MS = 15.0
# As long as a test of the quick profile, in which stalls come as they may.
EFFICIENCY_S = 5.0
TRACED_BATCH = 16
BOUND = (
    "phases of some tenths of a second in which both cores take 1.4 times the CPU time for a batch, without steal, and "
    "in the raw loop too: one in a full run makes more than 1 of 100 queries late at any load above 0.7"
)


def server_efficiency(bench: Bench) -> Iterator[Row]:
    """Yields the peak that `suite.run --mode peak` confirmed over the throughput of Offline runs around it.

    Offline is served as is best for it, which may be another layout than Server's.
    """
    for workload in WORKLOADS:
        yield _efficiency(bench, workload)


def _efficiency(bench: Bench, workload: str) -> Row:
    subject = bench.subject(workload, "onnxruntime")
    served = child("served", subject=subject, tune_seconds=0)
    job = {"subject": subject, "seconds": EFFICIENCY_S, "limit_ms": LIMIT_MS}
    load = {"serving": served["serving"], "scenario": "offline", "hint": served["samples_per_s"] / 1.1, "bare": False}
    traces: list[dict[str, float]] = []

    def measure(_: bool) -> tuple[float, float]:
        # In batches of Server's size: in larger ones a slow phase would not be seen.
        traces.append(child("unhindered", **job, serving={**served["serving"], "batch": TRACED_BATCH}))
        before = child("loaded_test", **job, **load)["figure"]
        last = _peak(bench, workload)["confirmations"][-1]
        after = child("loaded_test", **job, **load)["figure"]
        # A load that was not held is no peak, however near it came.
        return (before + after) / 2, last["qps"] if last["held"] else 0.0

    name = f"Server efficiency, {workload}, onnxruntime"
    pairs = replace(bench, pairs=max(LEAST_SEARCHES, bench.pairs // 3)).in_turn(name, measure)
    allowed, slow = ([one[key] for one in traces] for key in ("share", "slow"))
    why = f"before the searches a server without cost would have held {median(allowed):.2f} of the raw loop's rate"
    why += (
        f" ({min(allowed):.2f} to {max(allowed):.2f}), and up to {max(slow):.1%} of that loop's batches took 1.25 times"
    )
    why += f" the median; Offline was served in {shown(served['serving'])}"
    return row(name, "Offline", "samples/s and queries/s", pairs, Bar(False, 0.8, ""), ratio=True, why=why, bound=BOUND)


def _peak(bench: Bench, workload: str) -> dict[str, Any]:
    """Returns what one search for the peak of a workload found, with the suite's own command."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "suite.run", f"--workload={workload}", "--scenario=server", "--mode=peak"]
        words += ["--json", f"--results-dir={folder}", f"--data-dir={bench.data_dir}", f"--cache-dir={bench.cache_dir}"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PEAK_TIMEOUT_S)
            found: dict[str, Any] = json.loads(done.stdout)["peak"]
        except subprocess.TimeoutExpired:
            raise RunFailed(f"A search for the peak did not end within {PEAK_TIMEOUT_S} s.") from None
        except ValueError:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise RunFailed(f"A search for the peak ended with code {done.returncode}: {last[0]!r}.") from None
    return found


def coalescing(bench: Bench) -> Iterator[Row]:
    """Yields the highest load held with queries that are due coming in one call over that with each in its own."""
    yield from _choice(bench, "coalesced", "plain", lambda coalesced: {"coalesce": coalesced})


def yielding(bench: Bench) -> Iterator[Row]:
    """Yields the highest load held with a thread that issues and yields over that with one that preempts sessions."""
    yield from _choice(bench, "yielding", "preempting", lambda yields: {"preempts": not yields})


def _choice(bench: Bench, name: str, base: str, options: Callable[[bool], dict[str, Any]]) -> Iterator[Row]:
    """Yields, by workload, the highest load that Server holds with a choice (True) over that without."""
    for workload in WORKLOADS:
        title = f"{name} Server, {workload}, onnxruntime"
        subject = bench.subject(workload, "onnxruntime")
        found = child("served", subject=subject, tune_seconds=0, scenario="server", limit_ms=LIMIT_MS)
        job: dict[str, Any] = {"subject": subject, "serving": found["serving"], "bare": False}
        sides = {without: {**job, **options(not without)} for without in (True, False)}
        pairs = loads_held(bench, title, sides, START * found["samples_per_s"])
        why = f"served in {shown(found['serving'])}; each ratio is a power of {LOAD_STEP**2:.3g}"
        yield row(title, base, "queries/s", pairs, Bar(False, 1.0, ""), ratio=True, why=why)


def loads_held(bench: Bench, name: str, sides: dict[bool, dict[str, Any]], start: float) -> list[tuple[float, float]]:
    """Returns pairs of loads about those that each side, the base (True) and the other, holds half of the time.

    By the up-and-down method (Dixon and Mood, JASA 1948): a load that was held is followed by a higher one, one that
    was not by a lower one. The pairs are the trials of both sides, in turn.
    """
    loads = dict.fromkeys(sides, start)

    def trial(side: bool) -> float:
        load = loads[side]
        job = {"scenario": "server", "seconds": bench.seconds, **sides[side]}
        held = child("loaded_test", hint=load, **job)["valid"]
        loads[side] = load * LOAD_STEP if held else load / LOAD_STEP
        return load

    def measure(base_first: bool) -> tuple[float, float]:
        found = {side: trial(side) for side in (base_first, not base_first)}
        return found[True], found[False]

    say(f"{name}: finding the level")
    for _ in range(SETTLING):
        measure(True)
    return bench.in_turn(name, measure)
