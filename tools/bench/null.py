"""The rows of sessions that do nothing, beside a callback that does nothing or the least that has a queue."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from suite.awake import possible
from suite.variant import Serving
from tools.bench import parts
from tools.bench.bench import WORKLOADS, Bench, beside, child, offline_load, stream_load
from tools.bench.rows import Bar, Row, row
from tools.bench.server import TRIALS, loads_held
from tools.bench.upstream import Column, PeakLoad

# The first trials, queries a second, of ours and of upstream's.
SERVER_START = {False: 120_000.0, True: 300_000.0}
UPSTREAM_START = 10_000.0
# Of the load that is held: the clocks take time too.
PROFILED = 0.7
LIMIT_MS = 5.0
# How queries come, and how they are served; a batch waits by default for nothing. Plain, a session that answers at
# once is asked for every query; waiting a moment for more spares most of that.
WAITING = "plain, batches wait 100 µs for more"
SERVERS = {
    "plain": (False, Serving(256, 0, 1, 1, "cpu", awake=possible())),
    WAITING: (False, Serving(256, 100, 1, 1, "cpu", awake=possible())),
    "coalesced": (True, Serving(256, 0, 1, 1, "cpu", awake=possible())),
}
STREAM_BOUND = "the argmax of a sample, which the least callback takes too (--only least), two clocks, checks and books"
OFFLINE_BOUND = (
    "the gather of a sample (3 KB copied), which the bare callback has not, and one interpreter's lock, under which "
    "one thread at a time completes"
)
SERVER_BOUND = (
    "one interpreter's lock for two threads, of which the bare callback needs one: it completes at once on LoadGen's"
)
OFFLINE_SERVING = Serving(512, 0, 2, 1, "cpu")
# What a row is beside. Of the least system there is no bar.
BASES = {"bare": "bare callback", "least": "least in Python"}


def null_offline(bench: Bench, base: str) -> Iterator[Row]:
    """Yields the throughput of a session that does nothing over that of a system of BASES."""
    name = f"null Offline over the {BASES[base]}"
    job: dict[str, Any] = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": OFFLINE_SERVING.__dict__}
    job |= offline_load(bench, 1.2e6)
    column, bar, bound = None, None, ""
    if base == "bare":
        column, bar = bench.column(WORKLOADS[0], "offline", "rate", null=True), Bar(False, 0.7, "")
        bound = f"{OFFLINE_BOUND}; {parts.shown(child('parts', **job))}"
    yield _against(base, bench, name, job, "figure", "samples/s", bar, column, ratio=True, bound=bound)


def null_single_stream(bench: Bench, base: str) -> Iterator[Row]:
    """Yields the median latency of a session that does nothing minus that of a system of BASES."""
    job = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": Serving(1, 0, 1, 1, "cpu").__dict__}
    job |= stream_load(bench, 1500)
    column, bar = None, None
    if base == "bare":
        column, bar = bench.column(WORKLOADS[0], "single-stream", "p50_us", null=True), Bar(True, 2.0, "µs")
    yield _against(
        base,
        bench,
        f"null SingleStream beside the {BASES[base]}",
        job,
        "p50_us",
        "µs, p50",
        bar,
        column,
        ratio=False,
        bound=STREAM_BOUND,
    )


def _against(
    base: str,
    bench: Bench,
    name: str,
    job: dict[str, Any],
    key: str,
    unit: str,
    bar: Bar | None,
    column: Column | None,
    *,
    ratio: bool,
    bound: str,
) -> Row:
    sides = {True: {**job, "system": base}, False: job}

    def measure(base_first: bool) -> tuple[float, float]:
        found = {side: child("loaded_test", **sides[side])[key] for side in (base_first, not base_first)}
        return found[True], found[False]

    pairs = bench.in_turn(name, measure, column)
    reference = beside(column, pairs, bar.unit if bar else "", ratio=ratio)
    return row(name, BASES[base], unit, pairs, bar, ratio=ratio, reference=reference, bound=bound)


def null_server(bench: Bench, kind: str, base: str) -> Iterator[Row]:
    """Yields the highest load that a session that does nothing holds over that of a system of BASES.

    `kind` is one of SERVERS.
    """
    name = f"null Server, {kind}, over the {BASES[base]}"
    coalesce, serving = SERVERS[kind]
    job: dict[str, Any] = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": serving.__dict__}
    job |= {"limit_ms": LIMIT_MS, "coalesce": coalesce}
    sides = {True: {**job, "system": base}, False: job}
    peak = PeakLoad(LIMIT_MS, bench.seconds, UPSTREAM_START, coalesce, null=True)
    # Upstream has no wait to set: the row without one has its column.
    column = None if kind == WAITING or base != "bare" else bench.peak_column(WORKLOADS[0], peak)
    pairs = loads_held(bench, name, sides, SERVER_START[coalesce], column)
    why = f"served in batches of up to {serving.batch}; {TRIALS}"
    reference = beside(column, pairs, "", ratio=True)
    bar, bound = None, ""
    if base == "bare":
        load = PROFILED * median(suite for _, suite in pairs)
        profile = child("parts", scenario="server", seconds=bench.seconds, hint=load, **job)
        bar, bound = Bar(False, 0.8, ""), f"{SERVER_BOUND}; {parts.shown(profile)}"
    yield row(name, BASES[base], "queries/s", pairs, bar, ratio=True, why=why, reference=reference, bound=bound)
