"""`tools.compare`: two accuracy runs, sample by sample, from their evidence alone."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from accuracy_scripts.objects import ABSENT, DETECTION
from suite.evidence import write_manifest
from tests.evidence_factory import DETECTOR, submission
from tests.suite.commands import Command, Ended

# The suite makes the evidence first, as it does for other tests in the same process.
pytestmark = pytest.mark.timeout(400)


def compare(*words: str | Path) -> Ended:
    return Command("tools.compare", *map(str, words)).end(60)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Returns an accuracy run, and a copy to be changed."""
    made = submission("offline") / "accuracy"
    return made, Path(shutil.copytree(made, tmp_path / "accuracy"))


def change(run: Path, wrong: int) -> None:
    """Has the first samples, in the order of the log, be answered with a class that there is not."""
    log = run / "mlperf_log_accuracy.json"
    entries = json.loads(log.read_text())
    for entry in entries[:wrong]:
        entry["data"] = "0B" + "00" * 7
    log.write_text(json.dumps(entries))
    write_manifest(run)


def test_a_run_loses_nothing_against_itself(runs: tuple[Path, Path]) -> None:
    ended = compare(*runs)
    assert ended.code == 0, ended.stderr
    assert "+0.00 points" in ended.stdout and "0 answers" in ended.stdout
    # Of equals that is not certain either.
    errors = re.search(
        r"^  errors       1\.000 times the reference's \(95 % (\d\.\d+) to (\d\.\d+)\)$", ended.stdout, re.M
    )
    assert errors and float(errors[1]) < 1 < float(errors[2])
    assert ended.stdout.rstrip().endswith("certified: it loses less than 0.93 points")


@pytest.mark.parametrize(
    ("wrong", "code", "outcome"), [(40, 0, "certified"), (105, 1, "cannot tell"), (300, 1, "regression certified")]
)
def test_a_loss_is_certified_or_not(runs: tuple[Path, Path], wrong: int, code: int, outcome: str) -> None:
    change(runs[1], wrong)
    ended = compare(*runs, "--json")
    found = json.loads(ended.stdout)
    assert (ended.code, found["outcome"]) == (code, outcome), found
    assert found["outcomes"]["changed"] == wrong and found["outcomes"]["only_variant"] == 0
    # Nearly all that were changed had been right.
    assert 0.85 * wrong <= found["outcomes"]["only_reference"] <= wrong


def test_a_margin_of_ones_own(runs: tuple[Path, Path]) -> None:
    change(runs[1], 105)
    assert compare(*runs, "--margin=2").code == 0
    ended = compare(*runs, "--margin=0")
    assert ended.code == 2 and "--margin is 0" in ended.stderr


def test_what_cannot_be_compared_is_refused_in_a_sentence(runs: tuple[Path, Path]) -> None:
    reference, variant = runs
    assert "wants two folders" in compare(reference).stderr
    ended = compare(reference, reference.parent / "performance")
    assert ended.code == 2 and "give an accuracy run" in ended.stderr
    log = variant / "mlperf_log_accuracy.json"
    log.write_text(log.read_text() + "\n")
    ended = compare(reference, variant)
    assert ended.code == 1 and "cannot be compared: mlperf_log_accuracy.json: altered" in ended.stderr
    record = json.loads((variant / "run.json").read_text())
    record["workload"]["name"] = "fashion-mobilenet"
    (variant / "run.json").write_text(json.dumps(record))
    write_manifest(variant)
    ended = compare(reference, variant)
    assert ended.code == 2 and "of another workload each: fashion-resnet and fashion-mobilenet" in ended.stderr


def test_what_was_detected_is_compared_by_what_it_is_judged_by(tmp_path: Path) -> None:
    reference = submission(*DETECTOR) / "accuracy"
    variant = Path(shutil.copytree(reference, tmp_path / "variant"))
    log = variant / "mlperf_log_accuracy.json"
    entries = json.loads(log.read_text())
    for entry in entries:
        # As `postprocess:score=0.3` would have it.
        rows = np.frombuffer(bytes.fromhex(entry["data"]), "<i4").reshape(-1, DETECTION).copy()
        rows[rows[:, 1] < 300] = ABSENT
        entry["data"] = rows.tobytes().hex()
    log.write_text(json.dumps(entries))
    write_manifest(variant)
    ended = compare(reference, variant, "--json")
    found = json.loads(ended.stdout)
    assert (ended.code, found["outcome"]) == (1, "regression certified")
    # What is shown stays the same, and what is found less surely is lost.
    assert found["outcomes"]["changed"] == 0 and found["difference"] < -0.005
    assert found["metric"] == "mAP" and found["reference_percent"] + 100 * found["difference"] == pytest.approx(
        found["variant_percent"]
    )
    assert {one["label"] for one in found["classes"]} == set(range(10))
    told = compare(reference, variant).stdout
    assert "  mAP " in told and re.search(r"worst class  \d: -\d\.\d\d points, \d+ objects", told)
