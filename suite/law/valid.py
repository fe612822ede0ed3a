"""valid: LoadGen calls the performance run VALID, and all that can be computed again agrees.

The timeline bounds LoadGen's figures and cannot reproduce them: LoadGen starts each latency no later than its
callback and ends it no earlier than it is told, so its figure is never below ours.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from scenarios.base import LoadRules
from scenarios.harness import early_stopping
from scenarios.harness.logs import RunResult
from scenarios.harness.timeline import Timeline
from suite.evidence import Evidence
from suite.law.base import Check, Pair, judged, whole

NAME = "valid"

# LoadGen reads the wall clock and we the monotonic one. The kernel steers both alike: they part only where somebody
# sets the wall clock, and then LoadGen's figures are wrong. What is left is the reading of a clock.
CLOCK_NS = 1_000
# LoadGen writes a rate with six digits, and its start and end cut to a millisecond.
RATE_DIGITS = 1e-5
WINDOW_NS = 1_000_000
# From LoadGen's start to our first stamp: it builds the lists of ids and indices (measured: at most 0.9 µs a sample),
# and may wait for a core.
LISTS_NS_PER_SAMPLE = 1_000
START_NS = 100_000_000
# So late our stamp of one query, the last, may be: its thread may have waited for a core, though in the midst of a run.
STAMP_NS = 10_000_000
# Between two queries of a stream LoadGen may take so long for itself, and such a share of the run (measured: 4.7 % of
# queries of 0.2 ms, 2.4 % of queries of 1.1 ms).
GAP_NS = 20_000
GAP_SHARE = 0.10
STREAMS = {"single-stream": "", "multi-stream": "query_"}

JUDGEMENTS = ("result_min_duration_met", "result_min_queries_met", "early_stopping_met")


def check(pair: Pair) -> Check:
    """Judges the performance run."""
    run, rules = pair.performance, pair.load_rules(pair.performance)
    if run.result is None or run.timeline is None or rules is None:
        return Check(NAME, False, "LoadGen's log, the timeline or the rules for them cannot be read")
    faults = list(_loadgen(run.result, run.scenario))
    if run.timeline.problem:
        return judged(NAME, [*faults, f"the timeline is impossible: {run.timeline.problem}"], "")
    for part in (_queries, _duration, _stopping, _limit, _order, _latencies, _closed_loop, _rates):
        faults += part(run, run.result, run.timeline, rules)
    seconds = run.timeline.duration_ns / 1e9
    return judged(NAME, faults, f"LoadGen says VALID; the timeline agrees: {seconds:.2f} s, {_count(run.timeline)}")


def _loadgen(result: RunResult, scenario: str) -> Iterator[str]:
    """Yields where LoadGen itself does not call the run valid."""
    if result.validity != "VALID":
        reason = result.text("result_invalid_reason") or result.text("early_stopping_result") or ""
        yield f"LoadGen says {result.validity}: {' '.join(reason.split())}"
    if result.summary_validity != result.validity:
        yield f"LoadGen's summary says {result.summary_validity}, its detail log {result.validity}"
    if result.error_count:
        yield f"LoadGen counted {result.error_count} errors"
    demanded = (*JUDGEMENTS, "result_perf_constraints_met") if scenario == "server" else JUDGEMENTS
    for key in demanded:
        if result.values.get(key) is not True:
            yield f"{key} is {result.values.get(key)}"


def _count(timeline: Timeline) -> str:
    callbacks = len(timeline.callback_ns)
    return f"{timeline.issued:,} samples in {callbacks:,} callback{'' if callbacks == 1 else 's'}"


def _queries(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where LoadGen's queries are not those that arrived, or too few."""
    queries = whole(result.number("result_query_count"))
    if queries is None:
        yield "result_query_count is missing"
        return
    each = whole(result.number("generated_samples_per_query"))
    if each is None or queries * each != timeline.issued:
        yield f"LoadGen reports {queries} queries of {each} samples, and {timeline.issued} samples arrived"
    # Server may hand over several queries in one callback; the others give each query its own.
    if run.scenario != "server" and (len(timeline.callback_ns) != queries or set(timeline.callback_samples) != {each}):
        yield f"LoadGen reports {queries} queries of {each} samples, and {len(timeline.callback_ns)} callbacks arrived"
    least = rules.min_query_count
    found = timeline.issued if run.scenario == "offline" else queries
    if found < least:
        yield f"{found} {'samples' if run.scenario == 'offline' else 'queries'} were run, not {least}"


def _duration(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where the run was shorter than it must be, or LoadGen's own window is not that of the timeline."""
    starting = START_NS + LISTS_NS_PER_SAMPLE * int(timeline.callback_samples[0])
    if timeline.duration_ns < rules.min_duration_ms * 1_000_000 - starting:
        yield f"it ran {timeline.duration_ns / 1e9:.3f} s, not {rules.min_duration_ms / 1000:g} s"
    if result.window_ns is None:
        yield "power_begin or power_end is no time"
    elif not -WINDOW_NS - CLOCK_NS <= result.window_ns - timeline.duration_ns <= starting + WINDOW_NS + CLOCK_NS:
        yield f"LoadGen's window is {result.window_ns / 1e9:.3f} s, the timeline's {timeline.duration_ns / 1e9:.3f} s"


def _stopping(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where early stopping, computed again, does not hold."""
    percentile, queries = rules.target_latency_percentile, whole(result.number("result_query_count"))
    if percentile is None or queries is None:
        return
    if run.scenario != "server":
        if early_stopping.estimate_index(queries, percentile) is None:
            yield f"{queries} queries are too few for an estimate of the {100 * percentile:g}th percentile"
        return
    over = whole(result.number("result_overlatency_query_count"))
    if over is None or over > queries:
        yield f"result_overlatency_query_count is {over} of {queries} queries"
    elif not early_stopping.met(queries, over, percentile):
        yield f"early stopping does not hold: {over} of {queries} queries over the limit"


def _limit(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where the Server's latencies break the limit, or contradict the number that did."""
    over, queries = (whole(result.number(f"result_{key}query_count")) for key in ("overlatency_", ""))
    if rules.target_latency_ms is None or rules.target_latency_percentile is None or over is None or queries is None:
        return
    limit = rules.target_latency_ms * 1e6
    reached = result.percentiles_ns.get(rules.target_latency_percentile)
    if reached is None or reached > limit:
        yield f"the {100 * rules.target_latency_percentile:g}th percentile is {_ms(reached)}, the limit {_ms(limit)}"
    surely = timeline.samples_over(limit + CLOCK_NS)
    if surely > over:
        yield f"LoadGen reports {over} queries over the limit, and the timeline holds at least {surely}"
    for percentile, latency in {**result.percentiles_ns, 1.0: result.number("result_max_latency_ns")}.items():
        # The latency at this place is above the limit exactly when so many queries or more are.
        above = queries - min(int(queries * percentile), queries - 1)
        if latency is not None and (latency > limit) != (over >= above):
            yield f"{over} queries over the limit contradict a latency of {_ms(latency)} at {percentile:.1%}"


def _order(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where LoadGen's latencies are missing, or do not ascend."""
    infix = "query_" if run.scenario == "multi-stream" else ""
    ends = [result.number(f"result_{end}_{infix}latency_ns") for end in ("min", "max")]
    latencies = [ends[0], *result.percentiles_ns.values(), ends[1]]
    known = [latency for latency in latencies if latency is not None]
    if len(result.percentiles_ns) < 1 or len(known) != len(latencies) or known != sorted(known) or known[0] < 0:
        yield "LoadGen's latencies are missing or do not ascend"


def _latencies(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where a latency of LoadGen's is below what the timeline says that it took at least."""
    multi = run.scenario == "multi-stream"
    ours = timeline.query_latencies_ns if multi else timeline.sample_latencies_ns
    infix = "query_" if multi else ""
    places: dict[str, tuple[float | None, float]] = {
        f"{fraction:.1%}": (value, _at(ours, fraction)) for fraction, value in result.percentiles_ns.items()
    }
    places["max"] = (result.number(f"result_max_{infix}latency_ns"), float(ours[-1]))
    places["mean"] = (result.number(f"result_mean_{infix}latency_ns"), float(ours.mean()))
    estimate = {"single-stream": "early_stopping_latency_ss", "multi-stream": "early_stopping_latency_ms"}
    if run.scenario in estimate and rules.target_latency_percentile is not None:
        place = early_stopping.estimate_index(len(ours), rules.target_latency_percentile)
        if place is not None:
            places["early-stopping estimate"] = (result.number(estimate[run.scenario]), float(ours[place]))
    for name, (value, bound) in places.items():
        if value is None or value < bound - CLOCK_NS:
            yield f"latency ({name}) is {_ms(value)}, and the timeline says at least {_ms(bound)}"


def _closed_loop(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where a stream's latencies do not fill its run: one query follows another, with nothing between them."""
    if run.scenario not in STREAMS:
        return
    queries = len(timeline.callback_ns)
    mean = result.number(f"result_mean_{STREAMS[run.scenario]}latency_ns")
    if mean is None:
        yield "LoadGen's mean latency is missing"
        return
    if run.scenario == "single-stream":
        yield from _query_rates(result, mean, timeline)
    for whose, filled in (("LoadGen's", mean * queries), ("the timeline's", float(timeline.query_latencies_ns.sum()))):
        if filled < (1 - GAP_SHARE) * timeline.duration_ns - GAP_NS * queries:
            yield f"{whose} latencies of {queries} queries, one after the other, fill {filled / 1e9:.3f} s of the run"


def _query_rates(result: RunResult, mean_ns: float, timeline: Timeline) -> Iterator[str]:
    """Yields where the two rates that LoadGen gives for single-stream contradict its latencies, or the timeline.

    The one with its overhead is of the queries after the first, over the time until the last was issued.
    """
    issued_ns = int(timeline.callback_ns[-1] - timeline.callback_ns[0])
    bound = (len(timeline.callback_ns) - 1) / (max(1, issued_ns - STAMP_NS) / 1e9)
    inside, outside = (result.number(f"result_qps_with{kind}_loadgen_overhead") for kind in ("out", ""))
    if inside is None or abs(inside * mean_ns / 1e9 - 1) > 10 * RATE_DIGITS:
        yield f"LoadGen's rate without its own overhead, {inside} queries/s, is not one query in {_ms(mean_ns)}"
    if outside is None or outside > bound * (1 + RATE_DIGITS):
        yield f"LoadGen's rate with its own overhead is {outside} queries/s, and the timeline allows {bound:,.1f}"


def _rates(run: Evidence, result: RunResult, timeline: Timeline, rules: LoadRules) -> Iterator[str]:
    """Yields where LoadGen's throughput is above what the timeline allows, or is not what its own log makes it."""
    if run.scenario == "offline":
        rate, bound = result.number("result_samples_per_second"), timeline.issued / (timeline.duration_ns / 1e9)
        longest = result.number("result_max_latency_ns")
        if rate is not None and longest and abs(rate * longest / 1e9 / timeline.issued - 1) > RATE_DIGITS:
            yield f"{rate:,.1f} samples/s is not {timeline.issued} samples in the longest latency, {_ms(longest)}"
        if longest and result.window_ns is not None and abs(result.window_ns - longest) > START_NS:
            yield f"the longest latency is {_ms(longest)}, and LoadGen's window {result.window_ns / 1e9:.3f} s"
    elif run.scenario == "server":
        rate = result.number("result_completed_samples_per_sec")
        bound = (timeline.issued - 1) / (max(1, timeline.last_issued_ns) / 1e9)
    else:
        return
    if rate is None or not 0 < rate <= bound * (1 + RATE_DIGITS):
        yield f"LoadGen's throughput is {rate}, and the timeline allows at most {bound:,.1f}"


def _at(ascending: NDArray[np.int64], fraction: float) -> float:
    return float(ascending[min(int(len(ascending) * fraction), len(ascending) - 1)])


def _ms(value: float | None) -> str:
    return "missing" if value is None else f"{value / 1e6:.3f} ms"
