import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.evidence import write_manifest
from tests.evidence_factory import folder, submission

pytestmark = pytest.mark.side_by_side

# The suite makes the evidence first.
pytestmark = pytest.mark.timeout(400)


def score(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "suite.score", *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(submission("offline") / "accuracy", tmp_path / "accuracy"))


def answers(run: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((run / "mlperf_log_accuracy.json").read_text())
    return found


def rewrite(run: Path, entries: list[dict[str, object]]) -> None:
    (run / "mlperf_log_accuracy.json").write_text(json.dumps(entries))
    write_manifest(run)


def test_an_accuracy_run_is_scored_again_from_its_log(run: Path) -> None:
    done = score(run)
    assert done.returncode == 0, done.stderr
    assert "top1 9" in done.stdout and "of 10000 samples" in done.stdout and "met" in done.stdout
    record = json.loads(score(run, "--json").stdout)
    assert record["met"] and record["faults"] == []
    assert record["metrics"]["total"] == 10_000
    assert record["metrics"]["top1"] >= record["target_percent"]


def test_a_score_below_the_target_fails(run: Path) -> None:
    # Label 0 for every sample is right for the tenth of them that are T-shirts.
    rewrite(run, [{**entry, "data": "00" * 8} for entry in answers(run)])
    done = score(run)
    assert done.returncode == 1
    assert "top1 10.000 %" in done.stdout and "not met" in done.stdout


def test_an_altered_log_is_scored_and_told_to_be_altered(run: Path) -> None:
    log = run / "mlperf_log_accuracy.json"
    log.write_text(log.read_text() + "\n")
    done = score(run)
    assert done.returncode == 1 and "damaged: mlperf_log_accuracy.json: altered" in done.stdout


@pytest.mark.parametrize("twice", [False, True])
def test_a_log_that_does_not_answer_each_sample_once_has_no_score(run: Path, twice: bool) -> None:
    entries = answers(run)
    rewrite(run, [*entries, entries[0]] if twice else entries[1:])
    done = score(run)
    said = f"Index {entries[0]['qsl_idx']} is {'answered 2 times' if twice else 'missing'}"
    assert done.returncode == 1 and said in done.stdout and "cannot be computed" in done.stdout and not done.stderr
    record = json.loads(score(run, "--json").stdout)
    assert record["metrics"] is None and not record["met"] and any(said in fault for fault in record["faults"])


def test_a_log_that_cannot_be_read_has_no_score(run: Path) -> None:
    log = run / "mlperf_log_accuracy.json"
    log.write_bytes(log.read_bytes()[:-300])
    write_manifest(run)
    done = score(run)
    assert done.returncode == 1 and "ends early" in done.stdout and not done.stderr


def test_what_is_no_accuracy_run_is_a_wrong_command(tmp_path: Path) -> None:
    for arguments, said in (
        ([submission("offline") / "performance"], "give an accuracy run"),
        ([tmp_path], "is no run"),
        ([], "one folder"),
        ([folder("offline", "accuracy")], "Unknown workload 'digits-net'"),
    ):
        done = score(*arguments)
        assert done.returncode == 2 and said in done.stderr and not done.stdout
