"""Whatever goes wrong in a run, it ends within seconds, with one sentence and a record, and leaves nobody behind."""

import functools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.errors import RunFailed, UsageError
from suite import evidence, launch, plugins, rules
from suite.law.base import Facts
from suite.verdict import facts_of, judge_single
from tests.disks import fill
from tests.suite.commands import HINTS, ROOT, Command, Ended, cache, faulty_run, only_record, records, start

pytestmark = pytest.mark.side_by_side

SCENARIOS = tuple(HINTS)

# What a run on the faulty backend takes beside its fault, on a busy machine.
SECONDS = 40


@functools.cache
def facts() -> Facts:
    workload = plugins.workload("fashion-resnet")
    return facts_of(workload, workload.open_dataset(cache() / "data" / workload.dataset_name))


def failed_run(results: Path, state: str = "failed") -> dict[str, object]:
    """Returns the record of the one run in `results`, which must be whole, and must not count."""
    folder, record = only_record(results)
    assert record["state"] == state and record["reason"]
    assert record["ended_at"] and not (folder / ".ballast").exists()
    run = evidence.read(folder)
    assert run.altered == ()
    verdict = judge_single(run, rules.load("quick"), facts())
    assert not verdict.passed and "finished" in verdict.failed
    return record


def assert_failed(ended: Ended, results: Path, what: str) -> None:
    assert ended.code == 3
    assert ended.stdout == ""
    assert what in ended.sentence
    assert ended.left_behind == []
    assert what in str(failed_run(results)["reason"])


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("raises", "RuntimeError: the model fell over"),
        ("short", "the backend answered shape (63, 10) where (64, 10) was asked"),
        ("nan", "the backend answered NaN or infinity"),
        ("exits", "SystemExit: no licence"),
        ("kills itself", "killed by SIGKILL"),
        ("aborts", "killed by SIGABRT"),
        ("hangs", "made no progress for 3"),
        ("hangs in a library", "made no progress for 3"),
    ],
)
def test_a_faulty_backend_fails_the_run(tmp_path: Path, fault: str, what: str) -> None:
    ended = start(*faulty_run(tmp_path, "offline", "--stall-timeout=3"), fault=fault).end(SECONDS)
    assert_failed(ended, tmp_path, what)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "offline"])
@pytest.mark.parametrize(
    ("fault", "what"), [("raises", "RuntimeError: the model fell over"), ("hangs", "made no progress for 3")]
)
def test_so_in_every_scenario(tmp_path: Path, scenario: str, fault: str, what: str) -> None:
    ended = start(*faulty_run(tmp_path, scenario, "--stall-timeout=3"), fault=fault).end(SECONDS)
    assert_failed(ended, tmp_path, what)


def test_so_in_an_accuracy_run_and_with_two_sessions(tmp_path: Path) -> None:
    words = faulty_run(tmp_path, "offline", "--sessions=2", mode="accuracy")
    ended = start(*words, fault="raises").end(SECONDS)
    assert_failed(ended, tmp_path, "RuntimeError: the model fell over")


def test_a_submission_ends_with_its_failed_performance_run(tmp_path: Path) -> None:
    ended = start(*faulty_run(tmp_path, "offline", mode="submission"), fault="raises").end(SECONDS)
    assert_failed(ended, tmp_path, "RuntimeError: the model fell over")
    folder, _ = only_record(tmp_path)
    assert not (folder.parent / "accuracy").exists() and not (folder.parent / "verdict.json").exists()


def test_a_failed_runs_evidence_is_judged_with_exit_1(tmp_path: Path) -> None:
    start(*faulty_run(tmp_path, "offline"), fault="raises").end(SECONDS)
    folder, _ = only_record(tmp_path)
    ended = Command("suite.verdict", str(folder), str(folder)).end(SECONDS)
    assert ended.code == 1
    assert "the model fell over" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("does not count")


def test_rubbish_on_standard_output_goes_to_the_log(tmp_path: Path) -> None:
    ended = start(*faulty_run(tmp_path, "offline", "--json"), fault="chatters").end(SECONDS)
    folder, record = only_record(tmp_path)
    assert record["state"] == "finished"
    assert json.loads(ended.stdout)["attempts"] == 1
    assert b'\xff{"kind": "result"' in (folder / "worker.log").read_bytes()


def test_a_fault_during_preparation_fails_the_command_and_leaves_no_run(tmp_path: Path) -> None:
    words = (f"--results-dir={tmp_path}", "--backend=tests.zoo.raises_on_nth_batch", "--max-batch=64", "--sessions=1")
    ended = start(*words, "--threads=1", "--backend-options=n=12,when=always").end(SECONDS)
    assert ended.code == 3
    assert "The backend failed while it was being probed: RuntimeError: the model fell over." in ended.sentence
    assert ended.left_behind == [] and list(tmp_path.iterdir()) == []


@pytest.fixture
def dawdling(tmp_path: Path) -> Iterator["Dawdling"]:
    """Yields what starts a run that takes long enough to be disturbed."""
    runs = Dawdling(tmp_path)
    yield runs
    runs.kill()


class Dawdling:
    """Starts runs that are in the middle of a LoadGen test when they are handed out."""

    def __init__(self, results: Path) -> None:
        self.results, self.started = results, list[Command]()

    def start(self, scenario: str) -> Command:
        command = start(*faulty_run(self.results, scenario), fault="dawdles")
        self.started.append(command)
        command.await_line(f"{scenario} performance run: running")
        time.sleep(0.7)
        return command

    def kill(self) -> None:
        for command in self.started:
            command.process.kill()
            command.process.wait()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ctrl_c_interrupts(dawdling: Dawdling, scenario: str) -> None:
    command = dawdling.start(scenario)
    assert command.others(), "the test has no process of its own"
    command.process.send_signal(signal.SIGINT)
    assert_interrupted(command.end(SECONDS), dawdling.results)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_so_do_a_termination_and_a_hang_up(dawdling: Dawdling, number: signal.Signals) -> None:
    command = dawdling.start("offline")
    command.process.send_signal(number)
    assert_interrupted(command.end(SECONDS), dawdling.results)


def test_an_impatient_ctrl_c_is_no_worse(dawdling: Dawdling) -> None:
    command = dawdling.start("offline")
    for number in range(150):
        command.process.send_signal((signal.SIGINT, signal.SIGTERM)[number % 2])
        time.sleep(0.01)
    assert_interrupted(command.end(SECONDS), dawdling.results)


def test_an_interruption_that_python_drops_is_made_up_for(tmp_path: Path) -> None:
    """What is raised in a finalizer goes nowhere, and no further signal would be heeded."""
    program = f"""
import os, signal, time
from pathlib import Path
from suite import interrupts, launch

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

interrupts.install()
Dropped()
print("goes on", flush=True)
job = {{"backend": "null"}}
launch.call("describe", job, log=Path({str(tmp_path / "log")!r}), stall_timeout_s=30, watch=lambda seen: None)
"""
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == "goes on\n" and done.returncode != 0
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


def assert_interrupted(ended: Ended, results: Path) -> None:
    assert ended.code == 130
    assert ended.stdout == "" and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1] == "interrupted"
    assert ended.left_behind == []
    assert_watched(failed_run(results, "interrupted"))


def assert_watched(record: dict[str, object]) -> None:
    """Asserts that a record says what happened to the machine for as long as its test went on."""
    during = record["machine_during"]
    assert isinstance(during, dict) and during["duration_s"] > 0.5


def test_ctrl_c_before_the_test_leaves_nothing(tmp_path: Path) -> None:
    command = start(*faulty_run(tmp_path, "offline", "--search-again"))
    command.await_line("getting ready: ")
    command.process.send_signal(signal.SIGINT)
    ended = command.end(10)
    assert (ended.code, ended.left_behind) == (130, [])
    assert "Traceback" not in ended.stderr and list(tmp_path.iterdir()) == []


def test_a_test_killed_from_outside_fails_the_run(dawdling: Dawdling) -> None:
    command = dawdling.start("server")
    (worker,) = command.others()
    os.kill(worker, signal.SIGKILL)
    assert_failed(command.end(SECONDS), dawdling.results, "killed by SIGKILL")
    assert_watched(only_record(dawdling.results)[1])


@pytest.mark.parametrize("fault", ["dawdles", "hangs in a library"])
def test_a_test_does_not_outlive_its_parent_and_the_next_run_works(tmp_path: Path, fault: str) -> None:
    command = start(*faulty_run(tmp_path, "offline"), fault=fault)
    command.await_line("offline performance run: running")
    time.sleep(0.7)
    assert command.others()
    command.process.kill()
    ended = command.end(10)
    assert (ended.code, ended.left_behind) == (-signal.SIGKILL, [])

    folder, record = only_record(tmp_path)
    assert record["state"] == "running"
    with pytest.raises(UsageError, match="is no run: it holds no manifest.json"):
        evidence.read(folder)

    following = start(*faulty_run(tmp_path, "offline", "--json")).end(SECONDS)
    assert [record["state"] for _, record in records(tmp_path)] == ["running", "finished"]
    assert json.loads(following.stdout)["attempts"] == 2


def test_a_limit_on_the_size_of_files_fails_the_run(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (24 * 1024, 24 * 1024))

    ended = start(*faulty_run(tmp_path, "offline"), before=limit).end(SECONDS)
    assert ended.code == 3 and ended.left_behind == []
    # Whichever file is the first that does not fit.
    assert any(words in ended.sentence for words in ("File too large", "the disk may be full", "is cut off"))
    failed_run(tmp_path)


def test_a_full_disk_fails_the_run_and_still_takes_its_record(small_disk: Path) -> None:
    ended = start(*faulty_run(small_disk, "single-stream")).end(SECONDS)
    assert ended.code == 3 and ended.left_behind == []
    assert "No space left on device" in ended.sentence or "the disk may be full" in ended.sentence
    failed_run(small_disk)


def test_a_disk_that_is_full_from_the_start_refuses_the_run(small_disk: Path) -> None:
    fill(small_disk)
    ended = start(*faulty_run(small_disk, "offline")).end(SECONDS)
    assert ended.code in (2, 3) and ended.left_behind == []
    assert "No space left on device" in ended.sentence


def call(task: str, tmp_path: Path) -> object:
    return launch.call(task, {}, log=tmp_path / "log", stall_timeout_s=10, watch=lambda progress: None)


def test_a_child_that_cannot_do_its_task_is_a_failed_run(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="The run's process failed: KeyError: 'backend'"):
        call("devices", tmp_path)
    assert "Traceback" in (tmp_path / "log").read_text()
