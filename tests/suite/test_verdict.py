import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.files import sha256_file
from suite.evidence import Evidence
from suite.law.base import Check, Pair
from suite.verdict import CHECKS, Verdict, judge, judge_single
from tests.evidence_factory import SOURCE, case, folder, with_environment, with_record, with_values

pytestmark = pytest.mark.side_by_side

HOSTILE = (None, "x", ["x"], {"x": {}}, -1, 0, True, float("nan"), 10**400)


def verdict(*checks: Check, submittable: bool = False, alone: str | None = None) -> Verdict:
    return Verdict(checks, (), None, "quick", submittable, {}, "", alone)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "suite.verdict", *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_honest_pairs_count() -> None:
    for scenario in ("offline", "server", "single-stream", "multi-stream"):
        assert case(scenario).verdict().counts, case(scenario).verdict().lines()


def test_nothing_checked_does_not_count() -> None:
    assert not verdict().counts
    assert verdict().closing == "does not count: nothing was checked"
    assert not case("offline").verdict({}).counts


def test_one_failed_check_is_enough() -> None:
    mixed = verdict(Check("valid", True, ""), Check("settings", False, "min"), Check("drain", False, ""))
    assert not mixed.counts
    assert mixed.closing == "does not count: settings, drain"


def test_the_closing_line_says_what_a_figure_is_worth() -> None:
    good = Check("valid", True, "")
    assert verdict(good).closing == "counts (quick profile: not submittable)"
    assert verdict(good, submittable=True).closing == "counts"
    assert not verdict(good, alone="valid").counts and verdict(good, alone="valid").closing == "valid"


def test_every_rule_of_the_law_has_its_own_code() -> None:
    names = [check.name for check in case("offline").verdict().checks]
    assert names == list(CHECKS) and len(set(names)) == len(names) == 11


def test_the_record_is_json_and_says_the_figure_that_counts() -> None:
    record = json.loads(json.dumps(case("server").verdict().record(), allow_nan=False))
    assert record["counts"] and not record["submittable"]
    assert record["metric"]["unit"] == "queries/s" and record["metric"]["value"] > 0
    assert [check["name"] for check in record["checks"]] == list(CHECKS)


def test_a_rule_that_cannot_judge_does_not_pass() -> None:
    def broken(pair: Pair) -> Check:
        raise KeyError("nothing there")

    judged = case("offline").verdict({"broken": broken})
    assert judged.failed == ("broken",) and "cannot be judged" in judged.checks[0].detail


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield (*path, key)
        yield from _paths(inner, (*path, key))


@pytest.mark.parametrize("part", ["record", "preparation", "environment", "probe_after", "reference_after"])
def test_no_record_however_hostile_breaks_the_law(part: str) -> None:
    honest = case("offline")
    for path in _paths(getattr(honest.performance, part)):
        for value in HOSTILE:
            changed = with_record(replace(honest.performance, record=getattr(honest.performance, part)), value, *path)
            run = replace(honest.performance, **{part: changed.record})
            told = judge(run, honest.accuracy, honest.rules, honest.facts)
            assert told.lines() and len(told.checks) == len(CHECKS)
            judge_single(run, honest.rules, honest.facts)


@pytest.mark.parametrize("scenario", ["offline", "server"])
def test_no_log_however_hostile_breaks_the_law(scenario: str) -> None:
    honest = case(scenario)
    assert honest.performance.result
    for key in honest.performance.result.values:
        if key.startswith(("effective_", "generated_", "result_", "early_", "num_", "power_", "qsl_")):
            for value in HOSTILE:
                run = with_values(honest.performance, **{key: value})
                told = judge(run, honest.accuracy, honest.rules, honest.facts)
                assert len(told.lines()) > len(CHECKS)


def test_an_empty_run_breaks_every_rule_that_reads_it() -> None:
    honest = case("offline")
    empty = Evidence(Path(), {}, {}, {}, {}, {}, None, None, None, (), (), "")
    told = judge(empty, empty, honest.rules, honest.facts)
    assert set(told.failed) == set(CHECKS) - {"manifest"}
    assert not judge_single(empty, honest.rules, honest.facts).passed


def test_a_single_run_passes_without_counting() -> None:
    honest = case("offline")
    single = judge_single(honest.performance, honest.rules, honest.facts)
    assert [check.name for check in single.checks] == ["settings", "finished", "valid"]
    assert single.passed and not single.counts and single.closing.startswith("valid")
    accuracy = judge_single(honest.accuracy, honest.rules, honest.facts)
    assert [check.name for check in accuracy.checks] == ["finished", "complete"]
    assert accuracy.passed and not accuracy.counts and accuracy.closing.startswith("complete")


def test_a_single_run_of_no_model_says_that_it_can_never_count() -> None:
    honest = case("offline")
    null = with_record(honest.performance, "null", "variant", "backend")
    single = judge_single(null, honest.rules, honest.facts)
    assert single.passed and single.closing.startswith("can never count")


def test_a_single_run_that_is_not_valid_does_not_pass() -> None:
    honest = case("offline")
    assert judge_single(
        with_values(honest.performance, result_validity="INVALID"), honest.rules, honest.facts
    ).failed == ("valid",)


def test_notes_fail_nothing() -> None:
    honest = case("offline")
    busy = with_environment(honest.performance, 9.0, "load_average_1min")
    near = replace(honest.facts, target=94.99)
    told = judge(
        busy,
        with_record(honest.accuracy, "1" * 64, "rules_sha256"),
        honest.rules,
        near,
        attempts=[90.0, 100.0, 120.0],
        judged_by="f" * 64,
    )
    notes = "\n".join(told.notes)
    assert told.counts
    for said in (
        "not submittable",
        "busy",
        "load average 9.0 on 2 cores",
        "have changed",
        "too near its target",
        "other sources",
    ):
        assert said in notes
    assert "3 valid attempts: from 90.0 to 120.0, median 100.0; their spread is 30 % of the median" in notes


@pytest.mark.parametrize(("load", "busy"), [(2.0, False), (2.1, True)])
def test_a_machine_is_busy_with_more_than_its_cores_before_the_performance_run(load: float, busy: bool) -> None:
    honest = case("offline")
    loaded = with_environment(honest.performance, load, "load_average_1min")
    assert any("busy" in note for note in replace(honest, performance=loaded).verdict().notes) is busy
    # Where nobody else worked during the run, it was the search before it.
    alone = with_record(loaded, {"other_work_cores": 0.1}, "machine_during")
    assert not any("busy" in note for note in replace(honest, performance=alone).verdict().notes)
    later = with_environment(honest.accuracy, 9.0, "load_average_1min")
    assert not any("busy" in note for note in replace(honest, accuracy=later).verdict().notes)


def test_an_accuracy_far_below_its_target_is_not_near_it() -> None:
    far = replace(case("offline"), facts=replace(case("offline").facts, target=99.0))
    assert not any("too near" in note for note in far.verdict().notes)


def test_only_what_counts_is_submittable() -> None:
    refused = verdict(Check("valid", False, ""), submittable=True)
    assert not refused.record()["submittable"]
    assert verdict(Check("valid", True, ""), submittable=True).record()["submittable"]


def test_a_verdict_names_what_it_judged_and_who_judged() -> None:
    honest = case("offline")
    told = judge(honest.performance, honest.accuracy, honest.rules, honest.facts, judged_by=SOURCE)
    names = {mode: sha256_file(folder("offline", mode) / "manifest.json") for mode in ("performance", "accuracy")}
    assert told.record()["evidence"] == names and told.record()["judged_by"] == SOURCE
    assert not [note for note in told.notes if "sources" in note]
    single = judge_single(honest.accuracy, honest.rules, honest.facts, judged_by="f" * 64)
    assert single.record()["evidence"] == {"accuracy": names["accuracy"]}
    assert "judged by other sources than those of the accuracy run" in single.notes


def test_an_idle_machine_and_a_clear_accuracy_need_no_note() -> None:
    assert case("offline").verdict().notes == ("brief profile: not submittable",)


def test_the_verdict_starts_without_any_runtime() -> None:
    heavy = {"torch", "onnxruntime", "scipy", "mlperf_loadgen", "rich"}
    code = f"import sys, suite.verdict, suite.score, suite.explain; sys.exit(repr({heavy!r} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr.strip() == "''"


def test_what_is_no_run_is_a_wrong_command(tmp_path: Path) -> None:
    for arguments in (
        [tmp_path, tmp_path],
        [tmp_path],
        [],
        [tmp_path] * 3,
        [folder("offline", "performance"), tmp_path],
    ):
        done = command(*arguments)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and not done.stdout
    assert "is no run" in command(tmp_path, tmp_path).stderr


def test_a_profile_or_workload_that_the_source_lacks_is_a_wrong_command() -> None:
    done = command(folder("offline", "performance"), folder("offline", "accuracy"))
    assert done.returncode == 2 and "Unknown profile 'brief'" in done.stderr
