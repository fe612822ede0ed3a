"""The rows of Server: the highest load that is held, beside Offline, and by a choice of how queries come."""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import geometric_mean, median
from typing import Any

from common.errors import RunFailed
from suite.progress import say
from suite.resources import usable_cores
from tools.bench import parts
from tools.bench.bench import Bench, beside, child, shown
from tools.bench.rows import Bar, Row, row
from tools.bench.upstream import Column, PeakLoad

PEAK_TIMEOUT_S = 600
# The fewest of which a median has a 95 % interval.
LEAST_PAIRS = 6
# A search takes as long as many pairs of other rows.
PAIRS_A_SEARCH = 3

# The first trial, of the Offline throughput.
START = 0.7
# The steps that find the level, and the usual one of the up-and-down method from there.
SETTLING_STEPS = (1.2, 1.2, 1.2, 1.1, 1.1, 1.1)
STEP = 1.07
# Powers of STEP: on a lattice of loads two sides that differ by less than a step could not be told apart.
STEP_POWERS = (0.5, 1.5)
# A load depends on the one before it, a mean of so many hardly on the last mean. Simulated, where loads within 10 % of
# the edge may or may not be held: a correlation of 0.27, and the intervals of six pairs cover 94 % (of single trials
# 0.56).
TRIALS_A_PAIR = 4
TRIALS = f"a pair is of {TRIALS_A_PAIR} trials a side, each about {STEP - 1:.0%} higher or lower than the one before"

LIMIT_MS = 15.0
# As long as a test of the quick profile, in which stalls come as they may.
EFFICIENCY_S = 5.0
TRACED_BATCH = 16
# Where upstream's search begins, of the Offline throughput.
UPSTREAM_START = 0.25
OFFLINE_TUNE_S = 20.0
# Of the peak: a load that is held, and whose batches are nearly as large.
PROFILED = 0.95
BOUND = (
    "what Python does for each small batch on caches that the model has emptied, the time that sessions wait while "
    "LoadGen's thread has their core (5 to 9 µs a sample once), and stalls of a machine that others use"
)


def server_efficiency(bench: Bench, workload: str) -> Iterator[Row]:
    """Yields the peak that `suite.run --mode peak` confirmed over the throughput of Offline runs around it.

    Offline is served as is best for it, which may be another layout than Server's.
    """
    subject = bench.subject(workload, "onnxruntime")
    # One look at each serving may take a slower one for Offline's best, and flatter Server.
    served = child("served", subject=subject, tune_seconds=OFFLINE_TUNE_S)
    job: dict[str, Any] = {"subject": subject, "seconds": EFFICIENCY_S, "limit_ms": LIMIT_MS}
    offline = {**job, "serving": served["serving"], "scenario": "offline"}
    offline["hint"] = served["samples_per_s"] / 1.1
    name = f"Server efficiency, {workload}, onnxruntime"
    searches: list[dict[str, float]] = []

    def measure(_: bool) -> tuple[float, float]:
        # In batches of Server's size: in larger ones a slow phase would not be seen.
        trace = child("unhindered", **job, serving={**served["serving"], "batch": TRACED_BATCH})
        before = child("loaded_test", **offline)["figure"]
        say(f"{name}: searching the peak")
        peak = _peak(bench, workload)
        after = child("loaded_test", **offline)["figure"]
        searches.append(_search(peak, trace, (before + after) / 2))
        return searches[-1]["offline"], searches[-1]["confirmed"]

    column = bench.peak_column(workload, PeakLoad(LIMIT_MS, EFFICIENCY_S, UPSTREAM_START * served["samples_per_s"]))
    pairs = _fewer(bench, PAIRS_A_SEARCH).in_turn(name, measure, column)
    asked = child("served", subject=subject, tune_seconds=0, scenario="server", limit_ms=LIMIT_MS)
    offline_rate, held = (median(side) for side in zip(*pairs, strict=True))
    # A search that confirmed nothing says 0.
    at_peak = {**job, "serving": asked["serving"], "scenario": "server", "hint": PROFILED * (held or offline_rate)}
    spent, profile = child("loaded_test", **at_peak)["processor_us_a_sample"], child("parts", **at_peak)
    yield row(
        name,
        "Offline",
        "samples/s and queries/s",
        pairs,
        Bar(False, 0.8, ""),
        ratio=True,
        extra={"searches": searches},
        why=f"{_explained(searches)}; Offline was served in {shown(served['serving'])}",
        reference=beside(column, pairs, "", ratio=True),
        bound=f"{_processor_bound(spent, offline_rate)}; besides {BOUND}; {parts.shown(profile)}",
    )


def _processor_bound(spent_us: float, offline: float) -> str:
    """Returns the share of Offline that all cores together would serve, at what a query takes of them near the peak."""
    share = usable_cores() * 1e6 / spent_us / offline
    return f"the {spent_us:.0f} µs of processor time that a query takes, at which all cores would serve {share:.2f}"


def _search(peak: dict[str, Any], trace: dict[str, float], offline: float) -> dict[str, float]:
    """Returns what explains a search: loads in queries/s, and how many of its full runs did not hold theirs."""
    confirmed = peak["confirmed"]
    return {
        "offline": offline,
        "unhindered": trace["load"],
        "slow": trace["slow"],
        "probed": peak["qps"],
        # A load that was not held is no peak, however near it came.
        "confirmed": confirmed["qps"] if confirmed["held"] else 0.0,
        "full_runs": len(peak["confirmations"]),
        "not_held": sum(not one["held"] for one in peak["confirmations"]),
    }


def _explained(searches: list[dict[str, float]]) -> str:
    def of_offline(key: str) -> str:
        shares = [one[key] / one["offline"] for one in searches]
        return f"{median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"

    failed, full_runs = (median(one[key] for one in searches) for key in ("not_held", "full_runs"))
    return (
        f"of Offline, a server without cost would have held {of_offline('unhindered')} in a loop before the search, "
        f"the probes found {of_offline('probed')} and full runs confirmed {of_offline('confirmed')}; {failed:g} of "
        f"{full_runs:g} full runs a search did not hold their load (medians); up to "
        f"{max(one['slow'] for one in searches):.1%} of the loop's batches took 1.25 times the median"
    )


def _peak(bench: Bench, workload: str) -> dict[str, Any]:
    """Returns what one search for the peak of a workload found, with the suite's own command and no kept serving."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "suite.run", f"--workload={workload}", "--scenario=server", "--mode=peak"]
        words += ["--search-again", "--json", f"--results-dir={folder}"]
        words += [f"--data-dir={bench.data_dir}", f"--cache-dir={bench.cache_dir}"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PEAK_TIMEOUT_S)
            found: dict[str, Any] = json.loads(done.stdout)["peak"]
        except subprocess.TimeoutExpired:
            raise RunFailed(f"A search for the peak did not end within {PEAK_TIMEOUT_S} s.") from None
        except ValueError:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise RunFailed(f"A search for the peak ended with code {done.returncode}: {last[0]!r}.") from None
    return found


def coalescing(bench: Bench, workload: str) -> Iterator[Row]:
    """Yields the highest load held with queries that are due coming in one call over that with each in its own."""
    yield _choice(bench, workload, "coalesced", "plain", lambda coalesced: {"coalesce": coalesced})


def yielding(bench: Bench, workload: str) -> Iterator[Row]:
    """Yields the highest load held with a thread that issues and yields over that with one that preempts sessions."""
    yield _choice(bench, workload, "yielding", "preempting", lambda yields: {"preempts": not yields})


def least(bench: Bench, workload: str) -> Iterator[Row]:
    """Yields the highest load held by the suite over that of the least that a queue and threads in Python can do."""
    yield _choice(bench, workload, "suite's", "least in Python", lambda suite: {} if suite else {"system": "least"})


def awake(bench: Bench, workload: str) -> Iterator[Row]:
    """Yields the highest load held with cores that are kept awake over that with cores that may halt."""
    yield _choice(bench, workload, "awake", "halting", lambda kept: {"awake": kept})


def _choice(bench: Bench, workload: str, name: str, base: str, options: Callable[[bool], dict[str, Any]]) -> Row:
    """Returns the row of the highest load that Server holds with a choice (True) over that without."""
    title = f"{name} Server, {workload}, onnxruntime"
    subject = bench.subject(workload, "onnxruntime")
    found = child("served", subject=subject, tune_seconds=0, scenario="server", limit_ms=LIMIT_MS)
    job: dict[str, Any] = {"subject": subject, "serving": found["serving"]}
    sides = {without: {**job, **options(not without)} for without in (True, False)}
    pairs = loads_held(bench, title, sides, START * found["samples_per_s"])
    why = f"served in {shown(found['serving'])}; {TRIALS}"
    return row(title, base, "queries/s", pairs, Bar(False, 1.0, ""), ratio=True, why=why)


def loads_held(
    bench: Bench, name: str, sides: dict[bool, dict[str, Any]], start: float, column: Column | None = None
) -> list[tuple[float, float]]:
    """Returns pairs of loads about those that each side, the base (True) and the other, holds half of the time.

    By the up-and-down method (Dixon and Mood, JASA 1948): a load that was held is followed by a higher one, one that
    was not by a lower one. A pair is the geometric means of TRIALS_A_PAIR trials of either side, in turn.
    """
    loads = dict.fromkeys(sides, start)

    def trial(side: bool, step: float) -> float:
        load = loads[side]
        job = {"scenario": "server", "seconds": bench.seconds, **sides[side]}
        held = child("loaded_test", hint=load, **job)["valid"]
        loads[side] = load * step if held else load / step
        return load

    def both(base_first: bool, step: float) -> dict[bool, float]:
        return {side: trial(side, step) for side in (base_first, not base_first)}

    def measure(base_first: bool) -> tuple[float, float]:
        steps = [STEP ** random.uniform(*STEP_POWERS) for _ in range(TRIALS_A_PAIR)]
        trials = [both(base_first == (number % 2 == 0), step) for number, step in enumerate(steps)]
        base, other = (geometric_mean(one[side] for one in trials) for side in (True, False))
        return base, other

    for number, step in enumerate(SETTLING_STEPS, 1):
        say(f"{name}: finding the level, {number} of {len(SETTLING_STEPS)}")
        both(True, step)
    return _fewer(bench, TRIALS_A_PAIR).in_turn(name, measure, column)


def _fewer(bench: Bench, times: int) -> Bench:
    """Returns a bench of fewer pairs, each of which takes `times` as long, and as many as an interval needs."""
    return replace(bench, pairs=max(LEAST_PAIRS, bench.pairs // times))
