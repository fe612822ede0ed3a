"""Backends that cheat, and an honest one that depends on its batch, through the real command to the real verdict."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Serving is given, so that no search is needed and every backend is judged under the same. So is the load, at least
# what each can hold: what is measured while other tests run can be too little for a valid run.
SERVING = ("--max-batch=32", "--sessions=2", "--threads=1")

# A machine that answers more than the load that was given has a run that is too short: more would take a slow one long.
TOO_QUICK = {"valid"}

pytestmark = pytest.mark.side_by_side


def verdict(backend: str, results: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Returns the exit code and the verdict of an Offline submission of a backend of the zoo."""
    command = [sys.executable, "-m", "suite.run", f"--backend=tests.zoo.{backend}", *SERVING, "--scenario=offline"]
    done = subprocess.run(
        [*command, *words, f"--results-dir={results}", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["verdict"]


def failed(judged: dict[str, Any]) -> dict[str, str]:
    """Returns the detail of each check that does not hold, by its code."""
    return {check["name"]: check["detail"] for check in judged["checks"] if not check["passed"]}


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("backend", "options", "load", "codes", "by_chance"),
    [
        ("memoising", "", 400_000, {"not-from-memory"}, set()),
        ("memoising", "key=rounded,when=loadgen", 400_000, {"not-from-memory"}, set()),
        ("label_table", "", 40_000, {"not-from-memory"}, set()),
        # It waits for 20,000 samples. The other model is still there when the unseen inputs come.
        ("another_models_labels", "", 8000, {"same-answers", "not-from-memory"}, TOO_QUICK),
        # It waits likewise, and drops batches of the probe after the test too, and now and then more of the known ones.
        ("drops_work", "", 8000, {"same-answers"}, {"not-from-memory", *TOO_QUICK}),
    ],
)
def test_a_cheat_is_fast_and_accurate_and_does_not_count(
    backend: str, options: str, load: int, codes: set[str], by_chance: set[str], tmp_path: Path
) -> None:
    """Each passes every rule but those that were made for it."""
    exit_code, judged = verdict(backend, tmp_path, f"--backend-options={options}", f"--target-qps={load}")
    assert exit_code == 1
    assert not judged["counts"]
    assert codes <= set(failed(judged)) <= codes | by_chance, failed(judged)


@pytest.mark.timeout(400)
def test_an_honest_variant_whose_answers_depend_on_the_batch_counts(tmp_path: Path) -> None:
    """Dynamic INT8 answers some samples otherwise in other company; that is known beforehand and allowed for."""
    exit_code, judged = verdict("dynamic_int8", tmp_path, "--target-qps=12000")
    assert (exit_code, failed(judged)) == (0, {})
    (run,) = tmp_path.glob("*/*/*/*/performance")
    sensitivity = json.loads((run / "preparation.json").read_text())["sensitivity"]
    assert sensitivity["samples"] >= 459
    assert 0 < sensitivity["differences"] / sensitivity["samples"] < 0.02
