"""What LoadGen says that it used is what the round's rules say, and the rules' seeds are LoadGen's own."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scenarios import base, multi_stream, offline, server, single_stream
from scenarios.harness import logs
from suite import rules
from tests.scenarios.loadgen_process import run

pytestmark = pytest.mark.side_by_side

MODULES: dict[str, Any] = {
    "single-stream": single_stream,
    "multi-stream": multi_stream,
    "server": server,
    "offline": offline,
}
PROFILES = ("quick", "official")
DATASET = "fashion-mnist"
HINTS = {"single-stream": 2e6, "multi-stream": 2e6, "server": 100_000.0, "offline": 1000.0}
# LoadGen takes the seed of the accuracy log as it is given.
LOG_SEED = 2**62 + 12345

FROM_CONFIG = """
import json, sys
import mlperf_loadgen
settings = mlperf_loadgen.TestSettings()
code = settings.FromConfig(sys.argv[1], sys.argv[2], sys.argv[3], 1)
names = [name for name in dir(settings) if not name.startswith("_")]
found = {name: getattr(settings, name) for name in names}
print(json.dumps({"code": code, **{name: value for name, value in found.items() if isinstance(value, (int, float))}}))
"""


def embedded(tmp_path: Path, loadgen_name: str, model: str = "resnet50") -> dict[str, Any]:
    """Returns the settings of the mlperf.conf inside LoadGen; a process can load it once."""
    (tmp_path / "user.conf").write_text("")
    words = [sys.executable, "-c", FROM_CONFIG, str(tmp_path / "user.conf"), model, loadgen_name]
    values: dict[str, Any] = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert values["code"] == 0
    return values


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scenario", MODULES)
def test_loadgen_echoes_the_rules(tmp_path: Path, scenario: str, profile: str) -> None:
    module, demanded = MODULES[scenario], rules.load(profile).load_rules(scenario, DATASET)
    settings = base.test_settings(module, demanded, HINTS[scenario], LOG_SEED)
    name = settings.pop("scenario")
    total = demanded.performance_sample_count
    # An accuracy run echoes the same settings, whatever the duration.
    ended = run(tmp_path, name, settings=settings, mode="accuracy", total=total)
    assert ended.code == 0 and ended.seen["raised"] is None, ended.stderr
    echoed = logs.read(tmp_path).values

    assert echoed["effective_scenario"] == name
    assert echoed["effective_min_duration_ms"] == demanded.min_duration_ms
    # LoadGen reads Offline's minimum as one of samples, and says 1 of queries.
    assert echoed["effective_min_query_count"] == (1 if scenario == "offline" else demanded.min_query_count)
    assert echoed["effective_performance_sample_count"] == total
    assert echoed["effective_samples_per_query"] == _samples_per_query(scenario, demanded)
    for seed in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        assert echoed[f"effective_{seed}"] == getattr(demanded, seed)
    assert echoed["effective_accuracy_log_rng_seed"] == LOG_SEED
    assert echoed["effective_accuracy_log_sampling_target"] == base.SAMPLED_ANSWERS
    for never in ("max_duration_ms", "max_query_count"):
        assert echoed[f"effective_{never}"] == 0
    for never in ("performance_issue_unique", "performance_issue_same", "print_timestamps"):
        assert echoed[f"effective_{never}"] is False
    if demanded.target_latency_percentile is not None:
        assert echoed["effective_target_latency_percentile"] == demanded.target_latency_percentile
    if demanded.target_latency_ms is not None:
        assert echoed["effective_target_latency_ns"] == demanded.target_latency_ms * 1e6
    if scenario in ("offline", "server"):
        assert echoed["effective_target_qps"] == HINTS[scenario]


def _samples_per_query(scenario: str, demanded: base.LoadRules) -> int:
    if scenario != "offline":
        return demanded.samples_per_query
    return max(demanded.min_query_count, int(offline.SLACK * HINTS[scenario] * demanded.min_duration_ms / 1000))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("scenario", MODULES)
def test_the_seeds_are_those_inside_loadgen(tmp_path: Path, scenario: str, profile: str) -> None:
    inside = embedded(tmp_path, MODULES[scenario].LOADGEN_NAME)
    demanded = rules.load(profile).load_rules(scenario, DATASET)
    for seed in ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed"):
        assert getattr(demanded, seed) == inside[seed] != 0


@pytest.mark.parametrize("scenario", MODULES)
def test_the_official_numbers_are_those_inside_loadgen(tmp_path: Path, scenario: str) -> None:
    inside = embedded(tmp_path, MODULES[scenario].LOADGEN_NAME)
    demanded = rules.load("official").load_rules(scenario, DATASET)
    assert demanded.min_duration_ms == inside["min_duration_ms"] == 600_000
    if scenario == "offline":
        # LoadGen's 24,576 samples, or all that there are.
        assert demanded.min_query_count == min(inside["min_query_count"], demanded.performance_sample_count)
    else:
        assert demanded.min_query_count == inside["min_query_count"]
    if scenario != "offline":
        name = scenario.replace("-", "_")
        assert demanded.target_latency_percentile == pytest.approx(inside[f"{name}_target_latency_percentile"])
    if scenario == "multi-stream":
        assert demanded.samples_per_query == inside["multi_stream_samples_per_query"]
    if scenario == "server":
        assert demanded.target_latency_ms == inside["server_target_latency_ns"] / 1e6


@pytest.mark.parametrize("scenario", MODULES)
def test_quick_is_official_but_for_durations_and_counts(scenario: str) -> None:
    quick, official = (rules.load(profile).load_rules(scenario, DATASET) for profile in PROFILES)
    free = {"min_duration_ms", "min_query_count"}
    differ = {name for name in vars(quick) if getattr(quick, name) != getattr(official, name)}
    assert differ <= free


@pytest.mark.parametrize(("scenario", "name"), [(n, n.replace("-", "_")) for n in MODULES if n != "offline"])
def test_the_percentile_is_the_rules_whatever_loadgens_default(scenario: str, name: str) -> None:
    demanded = replace(rules.load("quick").load_rules(scenario, DATASET), target_latency_percentile=0.42)
    settings = base.test_settings(MODULES[scenario], demanded, HINTS[scenario], LOG_SEED)
    assert settings[f"{name}_target_latency_percentile"] == 0.42
