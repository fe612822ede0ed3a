"""Evidence made by the suite itself, altered by hand: refused as altered, and again once its manifest is made anew.

What an unsigned manifest cannot catch is tested as well, so that nobody claims more: the last test lists it.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.files import canonical_json, digest_of
from reference_models.datasets.fashion_mnist import FashionMnist
from scenarios.harness.logs import ANSWERS, DETAIL, POWER_TIME, SUMMARY
from scenarios.harness.timeline import Timeline
from suite import plugins, rules
from suite.evidence import read, write_manifest
from suite.verdict import CHECKS, Verdict, facts_of, judge
from tests.evidence_factory import submission

# Far below what any machine holds, so that a busy one is within the limit too.
SERVER = ("server", "--target-qps=500")


@dataclass(frozen=True)
class Runs:
    """A copy of a performance and an accuracy run, to be spoilt."""

    performance: Path
    accuracy: Path

    @property
    def both(self) -> tuple[Path, Path]:
        return self.performance, self.accuracy


Mutation = Callable[[Runs], None]


@pytest.fixture(scope="session")
def judged(data_root: Path) -> Callable[[Runs], Verdict]:
    workload = plugins.workload("fashion-resnet")
    facts, profile = facts_of(workload, FashionMnist(data_root / "fashion-mnist")), rules.load("quick")
    return lambda runs: judge(read(runs.performance), read(runs.accuracy), profile, facts)


def copied(tmp_path: Path, *scenario: str) -> Runs:
    made = Path(shutil.copytree(submission(*scenario), tmp_path / scenario[0]))
    return Runs(made / "performance", made / "accuracy")


def edit_log(run: Path, key: str, value: Any) -> None:
    """Puts another value into LoadGen's detail log, in LoadGen's own spelling."""
    path = run / DETAIL
    text, found = re.subn(
        rf'("key": "{re.escape(key)}", "value": ).*?(, "time_ms")',
        lambda match: f"{match[1]}{json.dumps(value)}{match[2]}",
        path.read_text(),
    )
    assert found == 1
    path.write_text(text)


def logged(run: Path, key: str) -> Any:
    result = read(run).result
    assert result
    return result.values[key]


def edit_json(file: Path, value: Any, *path: str) -> None:
    content = json.loads(file.read_text())
    at = content
    for key in path[:-1]:
        at = at[key]
    assert path[-1] in at
    at[path[-1]] = value
    file.write_text(canonical_json(content))


def edit_record(run: Path, value: Any, *path: str) -> None:
    edit_json(run / "run.json", value, *path)


def edit_variant(run: Path, value: Any, *path: str) -> None:
    """Changes a variant and gives it the id that belongs to the change."""
    edit_record(run, value, "variant", *path)
    variant = json.loads((run / "run.json").read_text())["variant"]
    named = ("workload", "recipe", "backend", "model", "options", "requested", "plugin_sha256")
    edit_record(run, digest_of({key: variant[key] for key in named})[:16], "variant", "id")


def edit_answers(run: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Changes the entries of an accuracy log, one a line between its brackets, in LoadGen's own spelling."""
    lines = (run / ANSWERS).read_text().split("\n")
    entries = [line.rstrip(",") for line in lines if line.startswith("{")]
    (run / ANSWERS).write_text("[\n" + ",\n".join(change(entries)) + "\n]\n")


def wrong(entry: str) -> str:
    """Returns an entry with another class."""
    return re.sub(r'"data" : "0(\d)', lambda match: f'"data" : "0{(int(match[1]) + 1) % 10}', entry)


def one_byte_of_the_accuracy_log_structure(runs: Runs) -> None:
    path = runs.accuracy / ANSWERS
    content = bytearray(path.read_bytes())
    content[content.index(b"qsl_idx")] = ord("Q")
    path.write_bytes(content)


def one_byte_of_the_accuracy_log_index(runs: Runs) -> None:
    def change(entries: list[str]) -> list[str]:
        number = next(place for place, entry in enumerate(entries) if '"qsl_idx" : 8' in entry)
        return [*entries[:number], entries[number].replace('"qsl_idx" : 8', '"qsl_idx" : 9', 1), *entries[number + 1 :]]

    edit_answers(runs.accuracy, change)


def a_hundredth_of_the_answers(runs: Runs) -> None:
    edit_answers(runs.performance, lambda entries: [wrong(e) if n % 50 == 0 else e for n, e in enumerate(entries)])


def artifact_of_one_run(runs: Runs) -> None:
    edit_variant(runs.accuracy, "b" * 64, "model", "sha256")


def artifact_of_both_runs_under_a_new_id(runs: Runs) -> None:
    for run in runs.both:
        edit_variant(run, "b" * 64, "model", "sha256")


def artifact_of_both_runs_under_the_old_id(runs: Runs) -> None:
    for run in runs.both:
        edit_record(run, "b" * 64, "variant", "model", "sha256")


def loosened_minimum_duration(runs: Runs) -> None:
    edit_log(runs.performance, "effective_min_duration_ms", 500)


def loosened_minimum_count(runs: Runs) -> None:
    edit_log(runs.performance, "effective_min_sample_count", 10)


def seeds_of_another_round(runs: Runs) -> None:
    edit_log(runs.performance, "effective_qsl_rng_seed", 1780908523862526354)


def one_sample_again_and_again(runs: Runs) -> None:
    edit_log(runs.performance, "effective_performance_issue_same", True)


def eager_with_compiled(runs: Runs) -> None:
    edit_variant(runs.accuracy, {"mode": "compiled"}, "options")


def another_machine(runs: Runs) -> None:
    edit_record(runs.accuracy, "Another CPU @ 5.00GHz", "fingerprint", "cpu_model")


def another_machine_in_both_records(runs: Runs) -> None:
    for run in runs.both:
        edit_record(run, "Another CPU @ 5.00GHz", "fingerprint", "cpu_model")


def a_repeat_probe_without_what_it_measured(runs: Runs) -> None:
    edit_json(runs.performance / "preparation.json", {"pairs": 30, "ratio": 1.0, "ratio_low_95": 0.99}, "repeat_probe")


def other_packages(runs: Runs) -> None:
    edit_record(runs.accuracy, "1.0.0", "fingerprint", "packages", "numpy")


def other_sources(runs: Runs) -> None:
    edit_record(runs.accuracy, "0" * 64, "source_sha256")


def another_serving(runs: Runs) -> None:
    edit_record(runs.accuracy, 1, "serving", "batch")


def a_sample_dropped(runs: Runs) -> None:
    edit_answers(runs.accuracy, lambda entries: entries[1:])


def a_sample_twice(runs: Runs) -> None:
    edit_answers(runs.accuracy, lambda entries: [*entries, entries[0]])


def a_sample_twice_in_anothers_place(runs: Runs) -> None:
    edit_answers(runs.accuracy, lambda entries: [entries[1], *entries[1:]])


def throughput_edited(runs: Runs) -> None:
    edit_log(runs.performance, "result_samples_per_second", 1.1 * logged(runs.performance, "result_samples_per_second"))


def throughput_and_latency_edited(runs: Runs) -> None:
    throughput_edited(runs)
    edit_log(runs.performance, "result_max_latency_ns", int(logged(runs.performance, "result_max_latency_ns") / 1.1))


def error_injected(runs: Runs) -> None:
    metadata = {"is_error": True, "is_warning": False, "file": "loadgen.cc", "line_no": 1, "pid": 1, "tid": 1}
    entry = {"key": "error_runtime", "value": "Attempted to complete a sample twice.", "metadata": metadata}
    with (runs.performance / DETAIL).open("a") as file:
        file.write(f":::MLLOG {json.dumps(entry)}\n")


def detail_log_truncated(runs: Runs) -> None:
    path = runs.performance / DETAIL
    path.write_bytes(path.read_bytes()[:-300])


def detail_log_without_its_last_lines(runs: Runs) -> None:
    path = runs.performance / DETAIL
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-5]))


def accuracy_log_truncated(runs: Runs) -> None:
    path = runs.accuracy / ANSWERS
    path.write_bytes(path.read_bytes()[:-300])


def invalid_called_valid(runs: Runs) -> None:
    """What a run that was INVALID looks like once its detail log alone is touched up."""
    path = runs.performance / SUMMARY
    path.write_text(path.read_text().replace("Result is : VALID", "Result is : INVALID"))


def squeeze(run: Path, scale: float) -> None:
    timeline = Timeline.load(run / "timeline.npz")
    begin = timeline.callback_ns[0]
    arrays = {name: getattr(timeline, name) for name in ("callback_samples", "batch_first", "batch_samples")}
    moved = {
        name: begin + ((getattr(timeline, name) - begin) * scale).astype(np.int64)
        for name in ("callback_ns", "batch_ns")
    }
    Timeline(**arrays, **moved).save(run / "timeline.npz")


def timeline_squeezed(runs: Runs) -> None:
    squeeze(runs.performance, 1 / 1.1)
    throughput_and_latency_edited(runs)


def slow_tail_dropped_from_the_timeline(runs: Runs) -> None:
    timeline = Timeline.load(runs.performance / "timeline.npz")
    arrays = {name: getattr(timeline, name)[:-1] for name in ("batch_first", "batch_samples", "batch_ns")}
    Timeline(timeline.callback_ns, timeline.callback_samples, **arrays).save(runs.performance / "timeline.npz")


def fault_of_the_backend(runs: Runs) -> None:
    edit_record(runs.performance, [{"kind": "exception", "detail": "RuntimeError"}], "sut", "faults")


def emulated(runs: Runs) -> None:
    for run in runs.both:
        edit_record(run, False, "variant", "eligible")


# The mutation, the files that it touches, and the rule that must refuse it once the manifest is made anew.
REFUSED: dict[Mutation, tuple[str, str]] = {
    one_byte_of_the_accuracy_log_structure: (ANSWERS, "complete"),
    one_byte_of_the_accuracy_log_index: (ANSWERS, "complete"),
    a_hundredth_of_the_answers: (ANSWERS, "same-answers"),
    artifact_of_one_run: ("run.json", "together"),
    artifact_of_both_runs_under_the_old_id: ("run.json", "together"),
    artifact_of_both_runs_under_a_new_id: ("run.json", "prepared"),
    loosened_minimum_duration: (DETAIL, "settings"),
    loosened_minimum_count: (DETAIL, "settings"),
    seeds_of_another_round: (DETAIL, "settings"),
    one_sample_again_and_again: (DETAIL, "settings"),
    eager_with_compiled: ("run.json", "together"),
    another_machine: ("run.json", "together"),
    another_machine_in_both_records: ("run.json", "prepared"),
    a_repeat_probe_without_what_it_measured: ("preparation.json", "not-from-memory"),
    other_packages: ("run.json", "together"),
    other_sources: ("run.json", "together"),
    another_serving: ("run.json", "together"),
    a_sample_dropped: (ANSWERS, "complete"),
    a_sample_twice: (ANSWERS, "complete"),
    a_sample_twice_in_anothers_place: (ANSWERS, "complete"),
    throughput_edited: (DETAIL, "valid"),
    throughput_and_latency_edited: (DETAIL, "valid"),
    error_injected: (DETAIL, "finished"),
    detail_log_truncated: (DETAIL, "finished"),
    detail_log_without_its_last_lines: (DETAIL, "finished"),
    accuracy_log_truncated: (ANSWERS, "finished"),
    invalid_called_valid: (SUMMARY, "valid"),
    timeline_squeezed: ("timeline.npz", "valid"),
    slow_tail_dropped_from_the_timeline: ("timeline.npz", "valid"),
    fault_of_the_backend: ("run.json", "finished"),
    emulated: ("run.json", "eligible"),
}


def test_the_evidence_counts_before_it_is_touched(tmp_path: Path, judged: Callable[[Runs], Verdict]) -> None:
    for scenario in (("offline",), SERVER):
        verdict = judged(copied(tmp_path, *scenario))
        assert verdict.counts, verdict.lines()


@pytest.mark.parametrize("mutation", REFUSED, ids=lambda mutation: mutation.__name__)
def test_altered_evidence_is_refused(mutation: Mutation, tmp_path: Path, judged: Callable[[Runs], Verdict]) -> None:
    name, code = REFUSED[mutation]
    runs = copied(tmp_path, "offline")
    mutation(runs)
    altered = judged(runs)
    assert "manifest" in altered.failed
    assert f"{name}: altered" in altered.checks[list(CHECKS).index("manifest")].detail
    for run in runs.both:
        write_manifest(run)
    renewed = judged(runs)
    assert code in renewed.failed and "manifest" not in renewed.failed, renewed.lines()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("effective_target_latency_ns", 5_000_000_000),
        ("effective_target_latency_percentile", 0.5),
        ("effective_min_query_count", 100),
        ("effective_target_latency_ns", 14_000_000),
    ],
)
def test_a_loosened_limit_is_refused(key: str, value: float, tmp_path: Path, judged: Callable[[Runs], Verdict]) -> None:
    runs = copied(tmp_path, *SERVER)
    edit_log(runs.performance, key, value)
    assert {"manifest", "settings"} <= set(judged(runs).failed)
    write_manifest(runs.performance)
    assert judged(runs).failed == ("settings",)


def test_servers_late_queries_cannot_be_edited_away(tmp_path: Path, judged: Callable[[Runs], Verdict]) -> None:
    runs = copied(tmp_path, *SERVER)
    timeline = Timeline.load(runs.performance / "timeline.npz")
    late = timeline.batch_ns.copy()
    late[100:300] += 40_000_000
    changed = Timeline(
        timeline.callback_ns, timeline.callback_samples, timeline.batch_first, timeline.batch_samples, np.sort(late)
    )
    changed.save(runs.performance / "timeline.npz")
    write_manifest(runs.performance)
    assert "valid" in judged(runs).failed


def test_two_scenarios_are_no_pair_though_nothing_was_altered(
    tmp_path: Path, judged: Callable[[Runs], Verdict]
) -> None:
    offline, server = copied(tmp_path, "offline"), copied(tmp_path, *SERVER)
    for runs in (Runs(offline.performance, server.accuracy), Runs(server.performance, offline.accuracy)):
        verdict = judged(runs)
        assert "together" in verdict.failed and "manifest" not in verdict.failed
        assert "scenario differs" in "\n".join(verdict.lines())


def test_the_command_judges_as_the_function_does(tmp_path: Path) -> None:
    runs = copied(tmp_path, "offline")

    def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "suite.verdict", *arguments], capture_output=True, text=True, timeout=60
        )

    done = command(*runs.both)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "counts (quick profile: not submittable)"
    assert command(runs.performance.parent).stdout == done.stdout
    record = json.loads(command("--json", *runs.both).stdout)
    assert record["counts"] and [check["name"] for check in record["checks"]] == list(CHECKS)
    throughput_edited(runs)
    done = command(*runs.both)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "does not count: manifest, valid"
    assert f"{DETAIL}: altered" in done.stdout
    (runs.accuracy / "manifest.json").unlink()
    done = command(*runs.both)
    assert done.returncode == 2 and "is no run" in done.stderr


# What an unsigned manifest cannot catch, once it is made anew: each is consistent in all places, or within chance.


def an_answer_changed(runs: Runs) -> None:
    edit_answers(runs.accuracy, lambda entries: [wrong(entries[0]), *entries[1:]])


def another_artifact_in_all_places(runs: Runs) -> None:
    for run in runs.both:
        edit_variant(run, "b" * 64, "model", "sha256")
        edit_json(run / "preparation.json", json.loads((run / "run.json").read_text())["variant"]["id"], "variant_id")


def another_machine_in_all_places(runs: Runs) -> None:
    for run in runs.both:
        for file in ("run.json", "environment.json", "preparation.json"):
            edit_json(run / file, "Another CPU @ 5.00GHz", "fingerprint", "cpu_model")


def a_slower_figure(runs: Runs) -> None:
    """Within the two percent in which LoadGen's figure counts, and downwards: of no use to anybody."""
    rate, longest = (logged(runs.performance, f"result_{key}") for key in ("samples_per_second", "max_latency_ns"))
    edit_log(runs.performance, "result_samples_per_second", rate / 1.005)
    edit_log(runs.performance, "result_max_latency_ns", round(longest * 1.005))


def both_repeat_probes_of_ones_own(runs: Runs) -> None:
    """With a ratio that nothing was measured for, and the time of a batch left as it was."""
    preparation, after = (runs.performance / name for name in ("preparation.json", "probe_after.json"))
    for key, value in {"pairs": 30, "ratio": 1.0, "ratio_low_95": 0.99}.items():
        edit_json(preparation, value, "repeat_probe", key)
        edit_json(after, value, key)


def a_faster_run_told_in_all_places(runs: Runs) -> None:
    """Three percent off every time that LoadGen and the timeline know of."""
    run, scale = runs.performance, 0.97
    result = read(run).result
    assert result and result.window_ns
    for key, value in result.values.items():
        if key.startswith("result_") and key.endswith("latency_ns"):
            edit_log(run, key, round(value * scale))
    rate = result.values["generated_samples_per_query"] / (round(result.values["result_max_latency_ns"] * scale) / 1e9)
    edit_log(run, "result_samples_per_second", rate)
    begin = datetime.strptime(result.values["power_begin"], POWER_TIME)
    end = begin + timedelta(microseconds=round(result.window_ns * scale / 1000))
    edit_log(run, "power_end", end.strftime(POWER_TIME)[:-3])
    squeeze(run, scale)


UNSEEN = (
    an_answer_changed,
    another_artifact_in_all_places,
    a_faster_run_told_in_all_places,
    another_machine_in_all_places,
    a_slower_figure,
    both_repeat_probes_of_ones_own,
)


@pytest.mark.parametrize("mutation", UNSEEN, ids=lambda mutation: mutation.__name__)
def test_what_an_unsigned_manifest_cannot_catch(
    mutation: Mutation, tmp_path: Path, judged: Callable[[Runs], Verdict]
) -> None:
    runs = copied(tmp_path, "offline")
    mutation(runs)
    for run in runs.both:
        write_manifest(run)
    assert judged(runs).counts
