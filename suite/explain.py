"""Says why a performance run is not valid: the rule that failed, the log line that shows it, and what to change."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scenarios.harness import early_stopping
from scenarios.harness.logs import RunResult
from suite.evidence import Evidence
from suite.law.base import whole

# What a retry asks for beside what was measured, so that the next run does not fail by a hair.
MORE_LOAD = 1.2
LESS_LOAD = 0.85
# Where the latency is beyond the limit by as much as this, the queue was growing, and a little less load would not do.
FAR_BEYOND = 2.0
MUCH_LESS_LOAD = 0.5
SHORTER_LATENCY = 0.75

LATE = "result_perf_constraints_met"
RAN_OUT = "Ran out of generated queries"


@dataclass(frozen=True)
class Explanation:
    """One rule that a run broke: the line of LoadGen's log that shows it ("" where it is no line), and the remedy.

    `retry` is the load hint for another try, in the scenario's own unit; None where no hint helps.
    """

    rule: str
    line: str
    advice: str
    retry: float | None


def explain(run: Evidence) -> tuple[Explanation, ...]:
    """Returns why LoadGen does not call a performance run valid, the first cause first; nothing where it does.

    Where only the timeline contradicts LoadGen, the verdict's `valid` says so, and nothing but a repetition helps.
    """
    if run.get("state") != "finished" or run.result is None:
        reason = run.get("reason") or "; ".join(run.problems) or "its evidence cannot be read"
        return (Explanation("finished", "", f"The run did not finish: {reason}", None),)
    result = run.result
    return (*_errors(result), *_short(run, result), *_late(result), *_few(run, result))


def _errors(result: RunResult) -> Iterator[Explanation]:
    other = [error for error in result.errors if RAN_OUT not in error]
    if other:
        errors = f"{len(other)} error{'' if len(other) == 1 else 's'}"
        advice = f"LoadGen met {errors}: an answer came twice, or a setting is wrong; see the detail log."
        yield Explanation("no errors", other[0], advice, None)


def _short(run: Evidence, result: RunResult) -> Iterator[Explanation]:
    """Yields the cause of a run that ended before its time, or before its queries."""
    for key in ("result_min_duration_met", "result_min_queries_met"):
        if result.values.get(key) is not False:
            continue
        retry = _longer(run, result)
        rule = "minimum duration" if "duration" in key else "minimum query count"
        flag = "--target-qps" if run.scenario in ("offline", "server") else "--expected-latency-ms"
        towards = "higher" if run.scenario in ("offline", "server") else "lower"
        told = f", about {_shown(run.scenario, retry)}" if retry else ""
        advice = f"LoadGen was told too little load and ran out of queries: give a {towards} {flag}{told}."
        yield Explanation(rule, result.lines[key], advice, retry)
        return


def _longer(run: Evidence, result: RunResult) -> float | None:
    """Returns the hint with which LoadGen generates enough for the speed that was measured."""
    if run.scenario == "offline":
        rate = result.number("result_samples_per_second")
        return rate * MORE_LOAD if rate else None
    if run.scenario == "server":
        rate = result.number("effective_target_qps")
        return rate * MORE_LOAD if rate else None
    infix = "query_" if run.scenario == "multi-stream" else ""
    latency = result.percentiles_ns.get(0.5) or result.number(f"result_mean_{infix}latency_ns")
    return latency * SHORTER_LATENCY if latency else None


def _late(result: RunResult) -> Iterator[Explanation]:
    """Yields the cause of a Server run with too many queries over the limit."""
    if result.values.get(LATE) is False:
        yield _less_load("latency limit", result.lines[LATE], result)


def _less_load(rule: str, line: str, result: RunResult) -> Explanation:
    asked = result.number("effective_target_qps")
    done = result.number("result_completed_samples_per_sec")
    over = result.number("result_overlatency_query_count")
    limit_ms = (result.number("effective_target_latency_ns") or 0) / 1e6
    if not asked:
        return Explanation(rule, line, "Too many queries took longer than the limit: give a lower --target-qps.", None)
    reached, limit = result.percentiles_ns.get(0.99), result.number("effective_target_latency_ns")
    far = reached is not None and limit is not None and reached > FAR_BEYOND * limit
    # Where the system fell behind, what it completed is all that it can do.
    lower = min(asked, done or asked) * (MUCH_LESS_LOAD if far else LESS_LOAD)
    advice = (
        f"{over} queries took longer than {limit_ms:g} ms at {asked:,.0f} queries/s: give --target-qps={lower:.4g} "
        "or less, or let nothing else run on the machine."
    )
    return Explanation(rule, line, advice, lower)


def _few(run: Evidence, result: RunResult) -> Iterator[Explanation]:
    """Yields the cause of a run that early stopping does not accept, where nothing else says it."""
    if result.values.get("early_stopping_met") is not False or result.values.get(LATE) is False:
        return
    line, percentile = result.lines["early_stopping_met"], result.number("effective_target_latency_percentile")
    queries = whole(result.number("result_query_count"))
    if percentile is None or not 0 < percentile < 1 or queries is None:
        return
    over = (whole(result.number("result_overlatency_query_count")) or 0) if run.scenario == "server" else 1
    if run.scenario == "server" and over > queries * (1 - percentile) / 2:
        yield _less_load("early stopping", line, result)
        return
    least = early_stopping.min_queries(percentile, over)
    advice = f"{queries} queries are too few to show the {100 * percentile:g}th percentile: at least {least} are needed"
    duration_s = (result.number("effective_min_duration_ms") or 0) / 1000
    if run.scenario == "server" and duration_s:
        higher = math.ceil(MORE_LOAD * least / duration_s)
        yield Explanation("early stopping", line, f"{advice}; give --target-qps={higher} or more.", higher)
    elif result.values.get("result_min_duration_met") is not False:
        yield Explanation("early stopping", line, f"{advice}; the model is too slow for this profile.", None)


def _shown(scenario: str, hint: float) -> str:
    return f"{hint:.4g}" if scenario in ("offline", "server") else f"{hint / 1e6:.4g}"
