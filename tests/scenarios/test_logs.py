import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scenarios.harness import early_stopping, logs
from scenarios.harness.logs import DETAIL, SUMMARY, LogError, headline, read
from tests import evidence_factory

SCENARIOS = ("offline", "server", "single-stream", "multi-stream")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str, str], Path]:
    def copy(scenario: str, mode: str) -> Path:
        return Path(shutil.copytree(evidence_factory.folder(scenario, mode), tmp_path / "run"))

    return copy


def entry(key: str, value: object, *, is_error: bool = False) -> str:
    metadata = {"is_error": is_error, "is_warning": False, "file": "loadgen.cc", "line_no": 1, "pid": 1, "tid": 1}
    return logs.PREFIX + json.dumps({"key": key, "value": value, "time_ms": 1.0, "metadata": metadata})


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("mode", ["performance", "accuracy"])
def test_a_real_log_is_read_to_its_end(scenario: str, mode: str) -> None:
    result = read(evidence_factory.folder(scenario, mode))
    assert result.finished
    assert result.scenario == evidence_factory.LOADGEN_NAMES[scenario]
    assert result.mode == evidence_factory.LOADGEN_MODES[mode]
    assert result.loadgen_version and result.loadgen_version.startswith("6.0.17")
    assert result.error_count == 0 and result.errors == ()
    assert result.validity == result.summary_validity == ("VALID" if mode == "performance" else None)
    assert result.group("effective_")["qsl_rng_seed"] == 11
    assert result.window_ns is not None and result.window_ns > 0


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_headline_is_the_figure_of_the_summary(scenario: str) -> None:
    folder = evidence_factory.folder(scenario, "performance")
    value, unit, label = headline(read(folder))
    summary = (folder / SUMMARY).read_text()
    if scenario == "offline":
        assert f"Samples per second: {value:.6g}" in summary and unit == "samples/s"
    elif scenario == "server":
        completed = float(summary.split("Completed samples per second    :")[1].split()[0])
        assert value == pytest.approx(completed, rel=1e-5) and unit == "queries/s"
    else:
        percentile = "90.0th" if scenario == "single-stream" else "99.0th"
        assert f"Early stopping {percentile} percentile estimate: {value}" in summary
        assert unit == "ns" and percentile[:2] in label


def test_an_accuracy_log_has_no_headline() -> None:
    with pytest.raises(LogError, match="no result_samples_per_second"):
        headline(read(evidence_factory.folder("offline", "accuracy")))


def test_percentiles_are_of_queries_in_multi_stream() -> None:
    result = read(evidence_factory.folder("multi-stream", "performance"))
    assert result.percentiles_ns[0.99] == result.values["result_99.00_percentile_per_query_latency_ns"]
    assert list(result.percentiles_ns) == [0.5, 0.9, 0.95, 0.97, 0.99, 0.999]


def test_the_streams_estimates_lie_where_our_early_stopping_says() -> None:
    run = evidence_factory.case("single-stream").performance
    assert run.result and run.timeline
    queries = run.result.values["result_query_count"]
    place = early_stopping.estimate_index(queries, 0.9)
    assert place is not None
    assert f"Would discard {queries - 1 - place} highest" in run.result.values["early_stopping_result"]


@pytest.mark.parametrize(("mode", "last"), [("performance", "num_errors"), ("accuracy", "power_end")])
def test_a_log_without_its_end_is_not_finished(copied: Callable[[str, str], Path], mode: str, last: str) -> None:
    folder = copied("offline", mode)
    lines = (folder / DETAIL).read_text().splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if f'"{last}"' in line)
    (folder / DETAIL).write_text("".join(lines[:end]))
    assert not read(folder).finished


def test_a_summary_without_its_last_lines_is_not_finished(copied: Callable[[str, str], Path]) -> None:
    folder = copied("offline", "accuracy")
    summary = (folder / SUMMARY).read_text()
    (folder / SUMMARY).write_text(summary[: summary.index("No errors")])
    assert not read(folder).finished


def test_a_log_cut_off_in_a_line_names_the_line(copied: Callable[[str, str], Path]) -> None:
    folder = copied("offline", "performance")
    content = (folder / DETAIL).read_text()
    lines = content.count("\n")
    (folder / DETAIL).write_text(content[:-40])
    with pytest.raises(LogError, match=f"line {lines}: is cut off"):
        read(folder)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("result_samples_per_second 5", "does not start with"),
        ("", "does not start with"),
        (logs.PREFIX + "{}", "is cut off or is no log entry"),
        (logs.PREFIX + "[]", "is cut off or is no log entry"),
        (logs.PREFIX + '{"key": "x", "value": NaN, "metadata": {}}', "holds NaN"),
        (logs.PREFIX + '{"key": "x", "value": inf, "metadata": {}}', "is cut off"),
        (entry("x", 1).replace("false", '"no"'), "is no log entry"),
        (entry("result_validity", "VALID"), "stands already on line"),
        (entry("effective_min_duration_ms", 600_000), "stands already on line"),
        (entry("generated_query_count", 1), "stands already on line"),
    ],
)
def test_a_line_that_is_no_entry_is_refused(copied: Callable[[str, str], Path], line: str, reason: str) -> None:
    folder = copied("offline", "performance")
    count = (folder / DETAIL).read_text().count("\n")
    with (folder / DETAIL).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(LogError, match=f"line {count + 1}: .*{reason}"):
        read(folder)


def test_an_accuracy_test_may_load_several_sets(copied: Callable[[str, str], Path]) -> None:
    folder = copied("offline", "accuracy")
    with (folder / DETAIL).open("a") as file:
        file.write(entry("generated_query_count", 1) + "\n" + entry("loaded_qsl_set", [1, 2, 3]) + "\n")
    assert read(folder).loaded_sets == (2000, 3)


def test_an_error_counts_whatever_the_log_says_at_its_end(copied: Callable[[str, str], Path]) -> None:
    folder = copied("offline", "performance")
    with (folder / DETAIL).open("a") as file:
        file.write(entry("error_runtime", "Attempted to complete a sample twice.") + "\n")
    result = read(folder)
    assert result.values["num_errors"] == 0
    assert result.error_count == 1 and result.errors == ("Attempted to complete a sample twice.",)


def test_errors_in_the_summary_alone_count(copied: Callable[[str, str], Path]) -> None:
    folder = copied("offline", "accuracy")
    summary = (folder / SUMMARY).read_text().replace("No errors encountered during test.", "7 ERRORS encountered. See")
    (folder / SUMMARY).write_text(summary)
    assert read(folder).error_count == 7


def test_a_missing_or_binary_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="cannot be read"):
        read(tmp_path)
    (tmp_path / DETAIL).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LogError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize("value", [True, "5", None, float("nan"), float("inf"), 10**400, [], {}])
def test_what_is_no_number_is_none(value: object) -> None:
    assert logs.finite(value) is None


def test_whole_numbers_stay_exact() -> None:
    assert logs.finite(16159082839903944936) == 16159082839903944936


def test_a_performance_run_without_the_end_of_its_window_is_not_finished() -> None:
    values = {
        key: value
        for key, value in read(evidence_factory.folder("offline", "performance")).values.items()
        if key != "power_end"
    }
    assert not replace(read(evidence_factory.folder("offline", "performance")), values=values).finished


@pytest.mark.parametrize("value", [0, -5.0])
def test_a_headline_is_above_zero(value: float) -> None:
    result = read(evidence_factory.folder("offline", "performance"))
    with pytest.raises(LogError, match="no result_samples_per_second above zero"):
        headline(replace(result, values={**result.values, "result_samples_per_second": value}))


def test_of_a_summary_that_says_two_things_the_last_counts(copied: Callable[[str, str], Path]) -> None:
    folder = copied("offline", "performance")
    text = (folder / SUMMARY).read_text()
    (folder / SUMMARY).write_text(f"{text}\nResult is : INVALID\n\n7 ERRORS encountered. See detailed log.\n")
    result = read(folder)
    assert (result.summary_validity, result.summary_errors) == ("INVALID", 7)
