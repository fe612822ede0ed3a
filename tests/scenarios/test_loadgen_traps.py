"""What is known to hang, crash or deceive with LoadGen, each shown to be survived by our harness."""

import ast
import contextlib
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accuracy_scripts.answers import read_log
from common.files import write_json
from scenarios import base, multi_stream, offline, server, single_stream
from scenarios.base import LoadRules
from scenarios.harness import logs
from scenarios.harness.sut import MAX_BATCH
from suite import evidence
from suite.law import finished as finished_law
from tests.scenarios.loadgen_process import ROOT, TOTAL, Ended, payload, run

SCENARIOS = (single_stream, multi_stream, server, offline)

# Valid however fast it is.
BRIEF = {"min_duration_ms": 1, "min_query_count": 20_000}


def finished(ended: Ended) -> logs.RunResult:
    """Returns what LoadGen wrote of a test that ended well for the harness."""
    assert ended.code == 0, ended.stderr
    assert ended.seen["raised"] is None and ended.seen["faults"] == []
    assert ended.seen["workers_ended"]
    result = logs.read(ended.folder)
    assert result.finished
    return result


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.LOADGEN_NAME)
def test_threads_that_nobody_can_register_are_never_asked_for(scenario: Any) -> None:
    rules = LoadRules(1000, 100, 100, 0.99, 15.0, 1, 1, 2, 3)
    settings = base.test_settings(scenario, rules, 1e6, 4)
    # With server_num_issue_query_threads above 0 LoadGen waits for ever: its Python binding cannot register any.
    assert "server_num_issue_query_threads" not in settings
    assert not any(name.startswith("max_") or "issue_same" in name for name in settings)


def test_a_completion_that_is_dropped_would_hang_and_needs_the_watchdog(tmp_path: Path) -> None:
    # tests/suite/test_supervision.py has the watchdog; here is what it is for.
    with pytest.raises(subprocess.TimeoutExpired):
        run(tmp_path, "Offline", fault="issue drops", timeout_s=3)


def test_an_exception_in_the_issue_callback_comes_out_and_finishes_nothing(tmp_path: Path) -> None:
    for scenario in ("Offline", "SingleStream"):
        ended = run(tmp_path, scenario, fault="issue raises")
        # LoadGen's log thread lives on beside what the exception has unwound, and now and then it crashes.
        assert ended.code in (0, -signal.SIGSEGV, -signal.SIGABRT), ended.stderr
        assert ended.code or ended.seen["raised"] == "ValueError: the callback fell over"
    with contextlib.suppress(logs.LogError):
        assert not logs.read(tmp_path).finished


def test_an_exception_in_the_load_callback_is_a_fault_and_aborts_nothing(tmp_path: Path) -> None:
    ended = run(tmp_path, "Offline", fault="load raises")
    assert ended.code == 0, ended.stderr
    assert "ValueError: the samples are gone" in ended.seen["faults"]
    assert ended.seen["issued"] == ended.seen["completed"] > 0
    assert all(row == b"" for row in logged_rows(tmp_path)), "something was answered"


@pytest.mark.parametrize("where", ["missing/folder", "file"])
def test_a_folder_that_cannot_be_written_is_noticed(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_text("mine")
    ended = run(tmp_path / where, "Offline")
    assert ended.code == 0, ended.stderr
    with pytest.raises(logs.LogError):
        logs.read(ended.folder)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_thread_may_complete_any_number_of_samples(tmp_path: Path) -> None:
    # A thread that completes more than 1,024 at once and ends within LoadGen's log poll is a segmentation fault.
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        ended = run(folder, "Offline", batch=MAX_BATCH, sessions=2, settings={"min_query_count": 200_000})
        assert finished(ended).number("result_query_count") == 1
        assert ended.seen["issued"] == ended.seen["completed"] == 200_000
        assert ended.seen["largest_batch"] <= MAX_BATCH == 1024
        assert ended.seen["workers_alive_after_the_test"] == 2


@pytest.mark.parametrize(
    ("scenario", "sessions", "batch"), [("Server", 4, 7), ("Offline", 4, 33), ("SingleStream", 1, 1)]
)
@pytest.mark.parametrize("mode", ["accuracy", "performance"])
def test_what_is_logged_is_what_the_session_answered(
    tmp_path: Path, scenario: str, sessions: int, batch: int, mode: str
) -> None:
    ended = run(tmp_path, scenario, mode=mode, sessions=sessions, batch=batch, width=5)
    finished(ended)
    log = read_log(tmp_path / logs.ANSWERS)
    if mode == "accuracy":
        assert sorted(log.indices.tolist()) == list(range(TOTAL))
    # LoadGen logs 4,096 of the 5,000 that the hint makes it expect, and as great a share where the machine is slow.
    assert len(log.indices) >= min(1000, ended.seen["issued"]) * 0.7
    expected = payload(log.indices, 5)
    assert [row.hex() for row in logged_rows(tmp_path)] == [row.tobytes().hex() for row in expected]


def logged_rows(folder: Path) -> list[bytes]:
    return [bytes.fromhex(entry["data"]) for entry in json.loads((folder / logs.ANSWERS).read_text())]


def test_an_audit_file_in_the_working_directory_has_no_effect(tmp_path: Path) -> None:
    (tmp_path / "audit.config").write_text("*.*.mode = 1\n*.*.performance_issue_same = 1\n*.*.min_query_count = 7\n")
    ended = run(tmp_path, "Offline", cwd=tmp_path, settings={"min_query_count": 20_000})
    result = finished(ended)
    assert result.values["effective_test_mode"] == "PerformanceOnly"
    assert result.values["effective_performance_issue_same"] is False
    assert ended.seen["issued"] == 20_000


def refusal(ended: Ended) -> str:
    """Returns why the law does not take a test for finished, where the rest of its evidence is as it should be."""
    sut = {"samples_issued": ended.seen["issued"], "samples_completed": ended.seen["completed"], "faults": []}
    write_json(ended.folder / "run.json", {"schema": 1, "state": "finished", "sut": sut})
    for name in ("environment.json", "preparation.json"):
        write_json(ended.folder / name, {"schema": 1})
    evidence.write_manifest(ended.folder)
    return "; ".join(finished_law.faults_of(evidence.read(ended.folder)))


def test_double_completion_does_not_count(tmp_path: Path) -> None:
    ended = run(tmp_path, "Offline", fault="completes twice", settings=BRIEF)
    assert ended.code == 0, ended.stderr
    result = logs.read(tmp_path)
    assert result.validity == "VALID", "LoadGen does not mind"
    assert result.error_count > 0
    assert "LoadGen counted" in refusal(ended)


def test_empty_answers_do_not_count(tmp_path: Path) -> None:
    ended = run(tmp_path, "Offline", fault="answers empty", settings=BRIEF)
    result = finished(ended)
    assert result.validity == "VALID" and result.error_count == 0
    assert set(logged_rows(tmp_path)) == {b""}
    assert "empty" in refusal(ended)


def test_a_setting_that_loadgen_does_not_know_is_refused(tmp_path: Path) -> None:
    ended = run(tmp_path, "Offline", settings={"min_durations_ms": 5})
    assert "has no setting 'min_durations_ms'" in ended.seen["raised"]
    assert list(tmp_path.iterdir()) == []


def test_no_trace_is_written(tmp_path: Path) -> None:
    finished(run(tmp_path, "Offline", settings={"min_query_count": 10_000}))
    trace = tmp_path / "mlperf_log_trace.json"
    assert not trace.exists() or trace.stat().st_size < 100


def test_responses_never_travel_between_processes() -> None:
    # They cannot be unpickled, and ids are addresses of the process that has LoadGen: one module makes both.
    users = [
        path.relative_to(ROOT).as_posix()
        for room in ("suite", "scenarios")
        for path in sorted((ROOT / room).rglob("*.py"))
        if any(
            isinstance(node, ast.Import) and any(name.name == "mlperf_loadgen" for name in node.names)
            for node in ast.walk(ast.parse(path.read_text()))
        )
    ]
    assert users == ["scenarios/harness/loadgen.py"]


def test_responses_are_copied_before_complete_returns(tmp_path: Path) -> None:
    # Each batch is an array of its own that is freed at once; with many small ones memory is used again at once.
    ended = run(tmp_path, "Server", mode="accuracy", sessions=4, batch=3, width=50)
    finished(ended)
    log = read_log(tmp_path / logs.ANSWERS)
    assert np.array_equal(np.frombuffer(b"".join(logged_rows(tmp_path)), np.int64), payload(log.indices, 50).ravel())
