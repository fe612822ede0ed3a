"""settings: what LoadGen says it used is what the profile's rules file in our own source says.

The record's own account of them, what was given and what LoadGen echoed, must be that of LoadGen's log.
"""

from collections.abc import Callable, Mapping
from typing import Any

from scenarios.base import SAMPLED_ANSWERS, LoadRules
from scenarios.harness.logs import RunResult, finite
from suite.evidence import Evidence
from suite.law.base import LOADGEN_MODES, LOADGEN_NAMES, Check, Facts, Pair, judged, whole

NAME = "settings"

# LoadGen writes fractions with six significant digits.
WRITTEN_DIGITS = 1e-5

Test = Callable[[Any], bool]
Demand = tuple[str, Test]


def check(pair: Pair) -> Check:
    """Judges both runs' settings; durations, counts and load are a performance run's alone."""
    faults = [f"{mode} run: {fault}" for mode, run in pair.runs for fault in faults_of(pair, mode, run)]
    return judged(NAME, faults, f"as the {pair.rules.profile} profile demands")


def faults_of(pair: Pair, mode: str, run: Evidence) -> list[str]:
    """Returns what is wrong with one run's settings."""
    rules = pair.load_rules(run)
    if run.get("profile") != pair.rules.profile:
        return [f"made in profile {run.get('profile')!r}, judged by '{pair.rules.profile}'"]
    if rules is None:
        return [f"the rules know no scenario {run.scenario!r} on {pair.facts.dataset}"]
    if run.result is None:
        return ["LoadGen's log cannot be read"]
    result = run.result
    demanded = _always(run, mode, rules, pair.facts)
    if mode == "performance":
        demanded |= _load(run.scenario, rules) | _sampling(run)
    found = _unmet(result.values, demanded) + _unknown(result) + _library(result, rules, mode) + _audit(result)
    return found + _given(run, result) + _echoed(run, result)


def _always(run: Evidence, mode: str, rules: LoadRules, facts: Facts) -> dict[str, Demand]:
    """Returns what holds in both modes, by LoadGen's key."""
    exactly = {
        "effective_scenario": LOADGEN_NAMES[run.scenario],
        "effective_test_mode": LOADGEN_MODES[mode],
        "effective_qsl_rng_seed": rules.qsl_rng_seed,
        "effective_sample_index_rng_seed": rules.sample_index_rng_seed,
        "effective_schedule_rng_seed": rules.schedule_rng_seed,
        "effective_performance_sample_count": rules.performance_sample_count,
        "effective_accuracy_sample_count": facts.total,
        "effective_performance_issue_same": False,
        "effective_performance_issue_same_index": 0,
        "effective_performance_issue_unique": False,
        "effective_sample_concatenate_permutation": False,
        "effective_print_timestamps": False,
        "effective_max_duration_ms": 0,
        "effective_max_query_count": 0,
        "effective_max_async_queries": 0 if run.scenario == "server" else 1,
        "qsl_reported_total_count": facts.total,
    }
    if run.scenario == "server":
        exactly |= {"requested_server_num_issue_query_threads": 0, "requested_server_max_async_queries": 0}
    return {key: _exactly(value) for key, value in exactly.items()}


def _load(scenario: str, rules: LoadRules) -> dict[str, Demand]:
    """Returns what a performance run's load must be, by LoadGen's key."""
    duration, least = rules.min_duration_ms, rules.min_query_count
    demanded = {"effective_min_duration_ms": _least(duration), "effective_target_qps": _load_hint()}
    if scenario == "offline":
        # LoadGen has one query here, and its size is what matters; 99th percentile and target duration mean nothing.
        return demanded | {
            "effective_min_query_count": _exactly(1),
            "effective_min_sample_count": _least(least),
            "effective_samples_per_query": _least(least),
            "effective_target_latency_ns": _exactly(0),
            "generated_query_count": _exactly(1),
            "generated_samples_per_query": _least(least),
        }
    limit = 0 if rules.target_latency_ms is None else round(rules.target_latency_ms * 1e6)
    return demanded | {
        "effective_min_query_count": _least(least),
        "effective_min_sample_count": _least(least * rules.samples_per_query),
        "effective_samples_per_query": _exactly(rules.samples_per_query),
        "effective_target_duration_ms": _least(duration),
        "effective_target_latency_ns": _exactly(limit),
        "effective_target_latency_percentile": _exactly(rules.target_latency_percentile),
        "generated_query_count": _least(least),
        "generated_samples_per_query": _exactly(rules.samples_per_query),
        "generated_query_duration": _least(duration * 1_000_000),
    }


def _sampling(run: Evidence) -> dict[str, Demand]:
    """Returns how a performance run's answers must be sampled: at least as many as MLPerf does, by the run's seed."""
    return {
        "effective_accuracy_log_sampling_target": _least(SAMPLED_ANSWERS),
        "effective_accuracy_log_rng_seed": _exactly(whole(run.get("accuracy_log_rng_seed"))),
    }


def _exactly(wanted: Any) -> Demand:
    # False equals 0 in Python, and neither may stand for the other; nothing equals a value that the record lacks.
    same_type = bool if isinstance(wanted, bool) else str if isinstance(wanted, str) else (int, float)

    def test(found: Any) -> bool:
        if wanted is None or isinstance(found, bool) != isinstance(wanted, bool):
            return False
        return isinstance(found, same_type) and bool(found == wanted)

    return f"exactly {wanted}", test


def _least(wanted: int) -> Demand:
    def test(found: Any) -> bool:
        number = whole(found)
        return number is not None and number >= wanted

    return f"at least {wanted}", test


def _load_hint() -> Demand:
    return "a number above 0", lambda found: (finite(found) or 0) > 0


def _unmet(values: Mapping[str, Any], demanded: Mapping[str, Demand]) -> list[str]:
    return [
        f"{key} is {values[key]!r}, not {what}" if key in values else f"{key} is missing"
        for key, (what, test) in demanded.items()
        if key not in values or not test(values[key])
    ]


# What the rules leave free, or what means nothing in some scenario or mode.
FREE = frozenset(
    {
        "accuracy_log_probability",
        "accuracy_log_rng_seed",
        "accuracy_log_sampling_target",
        "min_duration_ms",
        "min_query_count",
        "min_sample_count",
        "samples_per_query",
        "target_duration_ms",
        "target_latency_ns",
        "target_latency_percentile",
        "target_qps",
    }
)
JUDGED = frozenset(
    {
        "accuracy_sample_count",
        "max_async_queries",
        "max_duration_ms",
        "max_query_count",
        "performance_issue_same",
        "performance_issue_same_index",
        "performance_issue_unique",
        "performance_sample_count",
        "print_timestamps",
        "qsl_rng_seed",
        "sample_concatenate_permutation",
        "sample_index_rng_seed",
        "scenario",
        "schedule_rng_seed",
        "test_mode",
    }
)


def _unknown(result: RunResult) -> list[str]:
    """Names settings that LoadGen used and that these rules know nothing of, such as token latencies."""
    unknown = sorted(set(result.group("effective_")) - FREE - JUDGED)
    return [f"effective_{key} is a setting that the law does not know" for key in unknown]


def _library(result: RunResult, rules: LoadRules, mode: str) -> list[str]:
    """Names a performance run that did not load the samples which it says; LoadGen cuts to the dataset silently."""
    # In MultiStream LoadGen adds the first samples once more, so that a query may start at any.
    wanted = rules.performance_sample_count + rules.samples_per_query - 1
    if mode != "performance" or result.loaded_sets == (wanted,):
        return []
    return [f"loaded_qsl_set has {list(result.loaded_sets)} samples, not {wanted}"]


def _given(run: Evidence, result: RunResult) -> list[str]:
    """Names settings that the record says LoadGen was given, and that LoadGen's log knows not, or otherwise."""
    given, logged = run.get("settings"), result.group("requested_")
    if not isinstance(given, dict) or not given:
        return ["its record does not say which settings LoadGen was given"]
    return [
        f"{name} was {value!r} by the record, LoadGen logged {logged.get(name)!r}"
        for name, value in given.items()
        if not _same(logged.get(name), value)
    ]


def _same(logged: Any, given: Any) -> bool:
    numbers = [value for value in (logged, given) if isinstance(value, int | float) and not isinstance(value, bool)]
    # LoadGen keeps some whole numbers, such as expected latencies, as fractions, and writes them like those.
    if len(numbers) == 2 and any(isinstance(value, float) for value in numbers):
        return bool(abs(logged - given) <= WRITTEN_DIGITS * abs(given))
    return _exactly(given)[1](logged)


def _echoed(run: Evidence, result: RunResult) -> list[str]:
    """Names settings of which the record says that LoadGen used them otherwise than its log does."""
    echoed, logged = run.get("echoed"), result.group("effective_")
    if not isinstance(echoed, dict) or not echoed:
        return ["its record does not say which settings LoadGen used"]
    return [
        f"effective_{name} was {echoed.get(name)!r} by the record, LoadGen logged {logged.get(name)!r}"
        for name in sorted({*echoed, *logged})
        if name not in echoed or name not in logged or not _exactly(echoed[name])[1](logged[name])
    ]


def _audit(result: RunResult) -> list[str]:
    return [f"an audit file was obeyed: {warning}" for warning in result.warnings if "audit" in warning.lower()]
