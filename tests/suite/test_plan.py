"""What was asked becomes a plan, or one sentence that says what is wrong with it; nothing runs for it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError
from suite.plan import TUNE_SECONDS, Asked, Hint, Plan, resolve
from suite.variant import Requested

pytestmark = pytest.mark.side_by_side

ASKED = Asked(
    workload="fashion-resnet",
    backend="onnxruntime",
    scenario="offline",
    mode="submission",
    profile="quick",
    optimize="",
    backend_options="",
    batch=None,
    max_wait_us=None,
    sessions=None,
    threads=None,
    device="auto",
    pin="auto",
    end_to_end=False,
    search_again=False,
    tune=None,
    tune_seconds=None,
    target_qps=None,
    expected_latency_ms=None,
    coalesce_queries=None,
    user_conf="",
    data_dir=lambda dataset: f"/data/{dataset}",
    cache_dir="/cache",
    results_dir="results",
    stall_timeout_s=60.0,
    retries=None,
    save_outputs=False,
    stages=False,
)


def plan(**asked: Any) -> Plan:
    return resolve(replace(ASKED, **asked))


def refusal(**asked: Any) -> str:
    with pytest.raises(UsageError) as caught:
        plan(**asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_defaults_are_a_plan() -> None:
    made = plan()
    assert (made.workload, made.backend, made.scenario) == ("fashion-resnet", "onnxruntime", "offline")
    assert made.modes == ("performance", "accuracy")
    assert made.requested == Requested()
    assert made.hint == Hint(None, "measured")
    assert (made.coalesce_queries, made.coalesce_source) == (False, "default")
    assert made.data_dir == "/data/fashion-mnist"


def test_a_plan_is_its_own_record() -> None:
    made = plan(batch=8, target_qps=5.0, backend_options="graph_level=basic")
    record = json.loads(json.dumps(made.record()))
    auto = {"device": "auto", "pin": "auto", "end_to_end": False, "awake": "auto", "prefetch": None}
    assert record["requested"] == {"batch": 8, "max_wait_us": None, "sessions": None, "threads": None, **auto}
    assert record["hint"] == {"value": 5.0, "source": "flag"}
    assert record["options"] == {"graph_level": "basic"}


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({}, None),
        ({"profile": "official"}, TUNE_SECONDS),
        ({"profile": "official", "tune": False}, None),
        ({"tune": True}, TUNE_SECONDS),
        ({"tune_seconds": 5.0}, 5.0),
        ({"tune": True, "tune_seconds": 5.0}, 5.0),
    ],
)
def test_serving_is_tuned_where_it_is_asked_for_or_the_result_is_for_good(
    asked: dict[str, Any], seconds: float | None
) -> None:
    assert plan(**asked).tune_seconds == seconds


def test_a_time_for_a_tuning_that_is_not_wanted_is_refused() -> None:
    assert "--tune-seconds has no effect with --notune" in refusal(tune=False, tune_seconds=5.0)
    assert "--tune-seconds is 0.5; it must be from 1 to 3600" in refusal(tune_seconds=0.5)


@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_a_single_mode_is_one_run(mode: str) -> None:
    assert plan(mode=mode).modes == (mode,)


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("scenario", "single_stream", "single-stream"),
        ("scenario", "Multi-Stream", "multi-stream"),
        ("workload", "Fashion_ResNet", "fashion-resnet"),
        ("backend", "ONNXRuntime", "onnxruntime"),
        ("backend", "tests.zoo.another_models_labels", "tests.zoo.another_models_labels"),
        ("mode", "Accuracy", "accuracy"),
        ("profile", "OFFICIAL", "official"),
    ],
)
def test_names_are_taken_as_people_type_them(field: str, given: str, kept: str) -> None:
    assert getattr(plan(**{field: given}), field) == kept


@pytest.mark.parametrize(
    ("field", "given", "meant"),
    [
        ("workload", "fashion-rsnet", "fashion-resnet"),
        ("backend", "onnxrutime", "onnxruntime"),
        ("scenario", "ofline", "offline"),
        ("mode", "acuracy", "accuracy"),
        ("profile", "quik", "quick"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(field: str, given: str, meant: str) -> None:
    sentence = refusal(**{field: given})
    assert f"Unknown {field} '{given}'. Did you mean '{meant}'?" in sentence and "Available: " in sentence


@pytest.mark.parametrize("recipe", ["fuze", "fuse:compile+nothing"])
def test_an_unknown_optimization_is_refused(recipe: str) -> None:
    assert "Unknown optimization" in refusal(optimize=recipe)


@pytest.mark.parametrize(
    ("field", "flag", "low", "high"),
    [
        ("batch", "--max-batch", 1, 1024),
        ("max_wait_us", "--max-wait-us", 0, 10_000_000),
        ("sessions", "--sessions", 1, 1024),
        ("threads", "--threads", 1, 1024),
        ("retries", "--retry", 0, 10),
    ],
)
def test_whole_numbers_have_a_range(field: str, flag: str, low: int, high: int) -> None:
    scenario = {"scenario": "server"} if field == "max_wait_us" else {}
    for good in (low, high):
        plan(**{field: good}, **scenario)
    for bad in (low - 1, high + 1, -(10**30)):
        assert refusal(**{field: bad}) == f"{flag} is {bad}; it must be from {low} to {high}."


@pytest.mark.parametrize(
    ("flag", "asked"),
    [
        ("--sessions", {"sessions": 2, "scenario": "single-stream"}),
        ("--max-wait-us", {"max_wait_us": 5, "scenario": "offline"}),
        ("--save-outputs", {"save_outputs": True, "mode": "performance"}),
        ("--stages", {"stages": True, "mode": "accuracy", "retries": None}),
        ("--max-batch", {"batch": 8, "scenario": "single-stream"}),
        ("--target-qps", {"target_qps": 8.0, "mode": "accuracy"}),
        ("--expected-latency-ms", {"expected_latency_ms": 8.0, "mode": "accuracy", "scenario": "single-stream"}),
        ("--coalesce-queries", {"coalesce_queries": True, "mode": "accuracy", "scenario": "server"}),
        ("--retry", {"retries": 1, "mode": "accuracy"}),
        ("input:stored=raw", {"optimize": "input:uint8,stored=raw"}),
    ],
)
def test_a_flag_that_would_have_no_effect_is_refused(flag: str, asked: dict[str, object]) -> None:
    assert refusal(**{"retries": None, **asked}).startswith(f"{flag} has no effect here (")


def test_how_samples_are_stored_matters_end_to_end() -> None:
    assert plan(optimize="input:stored=raw", end_to_end=True).recipe == "input:stored=raw"


def test_outputs_may_be_kept_wherever_there_is_an_accuracy_run() -> None:
    for mode in ("accuracy", "submission"):
        assert plan(save_outputs=True, mode=mode, retries=None).save_outputs


def test_a_load_that_we_measured_is_mended_once_and_one_that_was_given_is_not() -> None:
    assert plan(retries=None).retries == 1
    assert plan(retries=None, target_qps=50.0).retries == 0
    assert plan(retries=3, target_qps=50.0).retries == 3


@pytest.mark.parametrize("bad", [0.0, -1.0, 1e-9, 1e300, float("inf"), float("nan")])
def test_hints_have_a_range(bad: float) -> None:
    assert refusal(target_qps=bad) == f"--target-qps is {bad:g}; it must be from 1e-06 to 1e+09."
    sentence = refusal(scenario="single-stream", expected_latency_ms=bad)
    assert sentence == f"--expected-latency-ms is {bad:g}; it must be from 1e-06 to 1e+09."


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_a_stall_is_given_some_time(bad: float) -> None:
    assert refusal(stall_timeout_s=bad) == f"--stall-timeout is {bad:g}; it must be a number above 0."


def test_a_hint_comes_from_the_flag_then_user_conf_then_a_measurement(tmp_path: Path) -> None:
    conf = tmp_path / "user.conf"
    conf.write_text("*.Offline.target_qps = 70\n*.SingleStream.target_latency = 3\n")
    assert plan(user_conf=str(conf), target_qps=50.0).hint == Hint(50, "flag")
    assert plan(user_conf=str(conf)).hint == Hint(70, "user.conf")
    assert plan(user_conf=str(conf), scenario="server").hint == Hint(None, "measured")
    assert plan(user_conf=str(conf), scenario="single-stream").hint == Hint(3e6, "user.conf")
    assert plan(user_conf=str(conf), scenario="single-stream", expected_latency_ms=2.0).hint == Hint(2e6, "flag")


def test_a_hint_of_user_conf_has_the_same_range(tmp_path: Path) -> None:
    conf = tmp_path / "user.conf"
    conf.write_text("*.Offline.target_qps = 1e200\n*.SingleStream.target_latency = 1e200\n")
    assert "the target_qps of user.conf is 1e+200" in refusal(user_conf=str(conf))
    assert "the target_latency of user.conf is 1e+200" in refusal(user_conf=str(conf), scenario="single-stream")


@pytest.mark.parametrize("scenario", ["single-stream", "multi-stream"])
def test_streams_have_no_target_qps(scenario: str) -> None:
    sentence = refusal(scenario=scenario, target_qps=5.0)
    assert (
        sentence == f"--target-qps has no effect in the {scenario} scenario, whose load hint is --expected-latency-ms."
    )


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_offline_and_server_have_no_expected_latency(scenario: str) -> None:
    assert "whose load hint is --target-qps" in refusal(scenario=scenario, expected_latency_ms=5.0)


def test_coalescing_comes_from_the_flag_then_user_conf(tmp_path: Path) -> None:
    conf = tmp_path / "user.conf"
    conf.write_text("*.Server.coalesce_queries = 1\n")

    def coalescing(**asked: Any) -> tuple[bool, str]:
        made = plan(scenario="server", **asked)
        return made.coalesce_queries, made.coalesce_source

    assert coalescing(user_conf=str(conf), coalesce_queries=False) == (False, "flag")
    assert coalescing(user_conf=str(conf)) == (True, "user.conf")
    assert coalescing(coalesce_queries=True) == (True, "flag")
    assert coalescing() == (False, "default")
    assert "is Server's" in refusal(scenario="offline", coalesce_queries=True)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {}),
        ("graph_level=basic", {"graph_level": "basic"}),
        (" a = 1 , b=2,", {"a": "1", "b": "2"}),
    ],
)
def test_backend_options_are_pairs(text: str, options: dict[str, str]) -> None:
    assert plan(backend_options=text).options == options


@pytest.mark.parametrize("text", ["graph_level", "=basic", "graph_level=", "a=1,b"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    assert refusal(backend_options=text) == f"--backend-options is '{text}'; write name=value,name=value."


def test_a_backend_option_is_given_once_whatever_its_spelling() -> None:
    assert plan(backend_options="graph-level=basic").options == {"graph_level": "basic"}
    assert "give each option once" in refusal(backend_options="graph-level=basic,graph_level=all")


def test_a_results_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("mine")
    for given in (file, file / "deeper"):
        sentence = refusal(results_dir=str(given))
        assert f"{file} is a file" in sentence and "--results-dir" in sentence
    assert file.read_text() == "mine"
    assert plan(results_dir=str(tmp_path / "new" / "one")).results_dir == str(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("field", ["results_dir", "cache_dir", "user_conf", "backend", "backend_options", "optimize"])
def test_a_text_that_is_no_utf_8_is_refused(field: str) -> None:
    assert "is not UTF-8: '\\udcff'" in refusal(**{field: "\udcff"})
    assert "is not UTF-8" in refusal(data_dir=lambda dataset: "\udcff")


def test_planning_is_light() -> None:
    heavy = "{'torch', 'onnxruntime', 'mlperf_loadgen', 'scipy', 'rich'}"
    script = f"import sys, suite.run, suite.plan; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
