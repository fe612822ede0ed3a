"""LoadGen's user.conf, read by us: load hints and coalescing are taken, everything else is refused by name.

LoadGen itself drops a line with a wrong key, or without spaces around '=', and says nothing.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from common.names import nearest, normal
from suite import plugins

SCENARIOS = {
    "SingleStream": "single-stream",
    "MultiStream": "multi-stream",
    "Server": "server",
    "Offline": "offline",
}

# (scenario, key): what the suite takes. The expected latency of the streams is called target_latency there.
TAKEN = {
    ("single-stream", "target_latency"),
    ("multi-stream", "target_latency"),
    ("server", "target_qps"),
    ("offline", "target_qps"),
    ("server", "coalesce_queries"),
}

# Every other key that LoadGen 6.0.17 reads (test_settings_internal.cc): the round's rules set these.
SET_BY_THE_RULES = {
    "accuracy_log_probability",
    "accuracy_log_rng_seed",
    "accuracy_log_sampling_target",
    "accuracy_sample_count_override",
    "infer_token_latencies",
    "max_async_queries",
    "max_duration",
    "max_query_count",
    "min_duration",
    "min_query_count",
    "mode",
    "performance_issue_same",
    "performance_issue_same_index",
    "performance_issue_unique",
    "performance_sample_count_override",
    "print_timestamps",
    "qsl_rng_seed",
    "sample_concatenate_permutation",
    "sample_index_rng_seed",
    "samples_per_query",
    "schedule_rng_seed",
    "target_duration",
    "target_latency_percentile",
    "test05",
    "test05_qsl_rng_seed",
    "test05_sample_index_rng_seed",
    "test05_schedule_rng_seed",
    "token_latency_scaling_factor",
    "tpot_latency",
    "ttft_latency",
    "use_token_latencies",
}

KEYS = {key for _, key in TAKEN} | SET_BY_THE_RULES


@dataclass(frozen=True)
class UserConf:
    """What user.conf says of one workload and scenario; None where it says nothing."""

    target_qps: float | None = None
    expected_latency_ms: float | None = None
    coalesce_queries: bool | None = None


@dataclass(frozen=True)
class _Line:
    number: int
    model: str
    scenario: str
    key: str
    value: float

    def rank(self) -> tuple[bool, bool, int]:
        """LoadGen's precedence: model.scenario, then *.scenario, then model.*, then *.*; of equals the last."""
        return self.scenario != "*", self.model != "*", self.number


def read(path: Path, workload: str, scenario: str) -> UserConf:
    """Returns what the file says; raises UsageError that names the line and what is wrong with it."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"user.conf: {path} cannot be read ({error}).") from error
    parsed = (_parse(path, number, line) for number, line in enumerate(text.splitlines(), 1))
    lines = [line for line in parsed if line is not None]
    chosen = {
        line.key: line.value
        for line in sorted(lines, key=_Line.rank)
        if line.model in ("*", normal(workload)) and line.scenario in ("*", scenario) and (scenario, line.key) in TAKEN
    }
    coalesce = chosen.get("coalesce_queries")
    return UserConf(
        chosen.get("target_qps"), chosen.get("target_latency"), None if coalesce is None else bool(coalesce)
    )


def _parse(path: Path, number: int, line: str) -> _Line | None:
    content = line.split("#", 1)[0].strip()
    if not content:
        return None
    where = f"user.conf: {path}, line {number}:"
    name, separator, value = content.partition(" = ")
    if not separator:
        raise UsageError(
            f"{where} '{content}' needs spaces around '=' (LoadGen drops such a line without a word). "
            "Write 'model.scenario.key = value'."
        )
    parts = name.strip().split(".")
    if len(parts) != 3:
        raise UsageError(
            f"{where} '{name.strip()}' is not of the form model.scenario.key, as in '*.Server.target_qps'."
        )
    model, scenario, key = parts
    _check_name(where, scenario, key)
    _check_model(where, model)
    return _Line(number, normal(model), SCENARIOS.get(scenario, "*"), key, _number(where, key, value))


def _check_name(where: str, scenario: str, key: str) -> None:
    if scenario not in (*SCENARIOS, "*"):
        near = nearest(scenario, SCENARIOS)
        hint = f" Did you mean '{near}'?" if near else ""
        raise UsageError(f"{where} unknown scenario '{scenario}'.{hint} Allowed: *, {', '.join(SCENARIOS)}.")
    if key not in KEYS:
        near = nearest(key, KEYS)
        hint = f" Did you mean '{near}'?" if near else ""
        raise UsageError(f"{where} unknown key '{key}' (LoadGen drops such a line without a word).{hint}")
    of_scenario = SCENARIOS.get(scenario)
    if not any(key == taken and of_scenario in (None, owner) for owner, taken in TAKEN):
        raise UsageError(
            f"{where} '{scenario}.{key}' is set by the round's rules; user.conf may set load hints "
            "(Offline and Server: target_qps; the streams: target_latency) and Server.coalesce_queries."
        )


def _check_model(where: str, model: str) -> None:
    """Refuses a model that is nearly one of our workloads; a file may well have lines for others."""
    known = plugins.names("reference_models")
    near = nearest(normal(model), known, cutoff=0.8)
    if near and normal(model) not in known:
        raise UsageError(f"{where} there is no workload '{model}'. Did you mean '{near}'?")


def _number(where: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if key == "coalesce_queries":
        if value not in (0, 1):
            raise UsageError(f"{where} coalesce_queries is '{text.strip()}'; it must be 0 or 1.")
    elif not (math.isfinite(value) and value > 0):
        raise UsageError(f"{where} {key} is '{text.strip()}'; it must be a number above 0.")
    return value
