"""The rows of sessions that do nothing, beside a callback that does nothing."""

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
# Timed one by one where a bare callback (which answered with nothing then) took 3.9 µs.
STREAM_BOUND = (
    "numpy's gather of a sample (1.1 µs where the bare callback takes 3.9), its argmax (0.5), two clocks (0.3), "
    "checks and books"
)
OFFLINE_BOUND = (
    "the gather of a sample (3 KB copied), which the bare callback has not, and one interpreter's lock, under which "
    "one thread at a time completes"
)
SERVER_BOUND = (
    "one interpreter's lock for two threads, of which the bare callback needs one: it completes at once on LoadGen's"
)
OFFLINE_SERVING = Serving(512, 0, 2, 1, "cpu")


def null_offline(bench: Bench) -> Iterator[Row]:
    """Yields the throughput of a session that does nothing over that of a callback that does nothing."""
    name = "null Offline"
    job: dict[str, Any] = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": OFFLINE_SERVING.__dict__}
    job |= offline_load(bench, 1.2e6)
    column = bench.column(WORKLOADS[0], "offline", "rate", null=True)
    bar = Bar(False, 0.7, "")
    bound = f"{OFFLINE_BOUND}; {parts.shown(child('parts', **job))}"
    yield _against_bare(bench, name, job, "figure", "samples/s", bar, column, ratio=True, bound=bound)


def null_single_stream(bench: Bench) -> Iterator[Row]:
    """Yields the median latency of a session that does nothing minus that of a callback that does nothing."""
    job = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": Serving(1, 0, 1, 1, "cpu").__dict__}
    job |= stream_load(bench, 1500)
    column = bench.column(WORKLOADS[0], "single-stream", "p50_us", null=True)
    yield _against_bare(
        bench,
        "null SingleStream",
        job,
        "p50_us",
        "µs, p50",
        Bar(True, 2.0, "µs"),
        column,
        ratio=False,
        bound=STREAM_BOUND,
    )


def _against_bare(
    bench: Bench,
    name: str,
    job: dict[str, Any],
    key: str,
    sides: str,
    bar: Bar,
    column: Column | None,
    *,
    ratio: bool,
    bound: str,
) -> Row:
    def measure(bare_first: bool) -> tuple[float, float]:
        found = {bare: child("loaded_test", bare=bare, **job)[key] for bare in (bare_first, not bare_first)}
        return found[True], found[False]

    pairs = bench.in_turn(name, measure, column)
    reference = beside(column, pairs, bar.unit, ratio=ratio)
    return row(name, "bare callback", sides, pairs, bar, ratio=ratio, reference=reference, bound=bound)


def null_server(bench: Bench, kind: str) -> Iterator[Row]:
    """Yields the highest load held of a session that does nothing over that of a callback; `kind` is of SERVERS."""
    name = f"null Server, {kind}"
    coalesce, serving = SERVERS[kind]
    job: dict[str, Any] = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": serving.__dict__}
    job |= {"limit_ms": LIMIT_MS, "coalesce": coalesce}
    sides = {bare: {**job, "bare": bare} for bare in (True, False)}
    peak = PeakLoad(LIMIT_MS, bench.seconds, UPSTREAM_START, coalesce, null=True)
    # Upstream has no wait to set: the row without one has its column.
    column = None if kind == WAITING else bench.peak_column(WORKLOADS[0], peak)
    pairs = loads_held(bench, name, sides, SERVER_START[coalesce], column)
    why = f"served in batches of up to {serving.batch}; {TRIALS}"
    reference = beside(column, pairs, "", ratio=True)
    bar = Bar(False, 0.8, "")
    held = median(suite for _, suite in pairs)
    profile = child("parts", scenario="server", seconds=bench.seconds, hint=PROFILED * held, **job)
    bound = f"{SERVER_BOUND}; {parts.shown(profile)}"
    yield row(name, "bare callback", "queries/s", pairs, bar, ratio=True, why=why, reference=reference, bound=bound)
