"""The command that certifies scores of the same samples: mAP of detections, means of F1 or ROUGE."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accuracy_scripts import certify
from common.flags import run
from tests.accuracy_scripts.made_coco import made

pytestmark = pytest.mark.side_by_side


def command(*words: str) -> int:
    return run(certify.main, certify.FLAGS, ["--draws=400", *words])


def kept(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("lost", "factor", "outcome"),
    [(0.0, 0.95, "certified"), (0.0, 0.99, "cannot tell"), (0.2, 0.99, "regression certified")],
)
def test_detections_are_certified_or_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: float, factor: float, outcome: str
) -> None:
    truth, reference, variant = made(300, seed=6, lost=lost)
    code = 0 if outcome == "certified" else 1
    files = [
        f"--factor={factor}",
        f"--annotations={kept(tmp_path / 'instances.json', truth)}",
        f"--reference={kept(tmp_path / 'fp32.json', reference)}",
        f"--variant={kept(tmp_path / 'int8.json', variant)}",
    ]
    assert command("--metric=mAP", *files) == code
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("mAP         reference 0.") and printed[1].startswith("images      300, of which ")
    assert printed[2].startswith(f"certificate {outcome}")
    assert command("--metric=mAP", "--json", *files) == code
    found = json.loads(capsys.readouterr().out)
    assert found["outcome"] == outcome and found["low_95"] < found["difference"] < found["high_95"]
    assert found["margin"] == pytest.approx((1 - factor) * found["reference"])


def test_too_few_images_that_differ_tell_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, reference, _ = made(100, seed=7)
    annotations, ours = kept(tmp_path / "instances.json", truth), kept(tmp_path / "fp32.json", reference)
    nudged = kept(tmp_path / "int8.json", [{**one, "score": 0.999 * one["score"]} for one in reference])
    for theirs in (ours, nudged):
        assert (
            command("--metric=mAP", f"--annotations={annotations}", f"--reference={ours}", f"--variant={theirs}") == 1
        )
        assert "certificate cannot tell: fewer than 20 images have other matches; " in capsys.readouterr().out
    assert command(f"--reference={kept(tmp_path / 'a', GOOD)}", f"--variant={kept(tmp_path / 'b', GOOD)}") == 1
    assert "certificate cannot tell: fewer than 20 samples; " in capsys.readouterr().out


def test_scores_of_samples_are_certified_or_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(8)
    scores = {f"question-{number}": score for number, score in enumerate(draw.uniform(0, 1, 2000).tolist())}
    reference = kept(tmp_path / "fp32.json", scores)
    near = {name: min(1.0, max(0.0, score + draw.normal(0, 0.02))) for name, score in scores.items()}
    assert command(f"--reference={reference}", f"--variant={kept(tmp_path / 'int8.json', near)}") == 0
    assert "certificate certified; allowed is a loss of 0.00" in capsys.readouterr().out
    far = {name: 0.9 * score for name, score in reversed(near.items())}
    assert command(f"--reference={reference}", f"--variant={kept(tmp_path / 'int4.json', far)}") == 1
    assert "certificate regression certified" in capsys.readouterr().out
    assert command(f"--reference={reference}", f"--variant={reference}") == 0


GOOD = {"a": 0.5, "b": 1}


@pytest.mark.parametrize(
    ("reference", "variant", "sentence"),
    [
        ({"a": 0.5}, GOOD, "int8.json has a score of sample 'b' and "),
        (GOOD, {"a": 0.5, "b": 91.3}, "int8.json has 91.3 for sample 'b'; a score is a number from 0 to 1."),
        (GOOD, {"a": float("nan"), "b": 1}, "int8.json has nan for sample 'a'"),
        (GOOD, {"a": True, "b": 1}, "int8.json has True for sample 'a'"),
        (GOOD, {"a": None, "b": 1}, "int8.json has None for sample 'a'"),
        ([0.5], GOOD, "fp32.json holds no scores; they are one JSON object"),
        ({}, {}, "fp32.json holds no scores"),
    ],
)
def test_what_are_no_scores_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reference: Any, variant: Any, sentence: str
) -> None:
    files = kept(tmp_path / "fp32.json", reference), kept(tmp_path / "int8.json", variant)
    assert command(f"--reference={files[0]}", f"--variant={files[1]}") == 2
    assert sentence in capsys.readouterr().err


RUBBISH = ("{", "[]", "{}", "3", "null", '"fp32.json"', '[{"image_id": 1}]', '["x"]', "[null]")
# By the key that is changed: what is no such value.
STRANGE = {
    "bbox": ([1, 2, 3, 4, 5], [1, 2, 3], "box", [1, 2, 3, None], [1, 2, 3, float("nan")]),
    "score": ("high", float("inf"), None, True),
    "image_id": ("1", 1.5, None, 99999),
    "category_id": ("1", None),
}


def test_what_are_no_detections_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, reference, _ = made(30, seed=9)
    annotations, good = kept(tmp_path / "instances.json", truth), kept(tmp_path / "fp32.json", reference)
    words = "--metric=mAP", f"--annotations={annotations}", f"--reference={good}"
    rubbish = tmp_path / "rubbish.json"
    changed = [json.dumps([{**reference[0], key: value}]) for key, values in STRANGE.items() for value in values]
    lacking = [json.dumps([{name: one for name, one in reference[0].items() if name != key}]) for key in STRANGE]
    for content in (*RUBBISH, *changed, *lacking):
        rubbish.write_text(content)
        assert command(*words, f"--variant={rubbish}") == 2, content
        assert capsys.readouterr().err.startswith(f"error: {rubbish} is no "), content
    assert command(*words, f"--variant={tmp_path / 'none.json'}") == 2
    assert "none.json cannot be read: No such file or directory." in capsys.readouterr().err


def test_what_are_no_annotations_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, reference, _ = made(30, seed=9)
    good, rubbish, first = kept(tmp_path / "fp32.json", reference), tmp_path / "rubbish.json", truth["annotations"][0]
    without = [{**truth, "annotations": [{k: v for k, v in first.items() if k != key}]} for key in first]
    empty = [{**truth, kind: []} for kind in ("images", "categories", "annotations")]
    twice = {**truth, "annotations": [first, first]}
    for content in (*RUBBISH, *map(json.dumps, (*without, *empty, twice))):
        rubbish.write_text(content)
        words = "--metric=mAP", f"--annotations={rubbish}", f"--reference={good}", f"--variant={good}"
        assert command(*words) == 2, content
        assert capsys.readouterr().err.startswith(f"error: {rubbish} is no "), content
    # Nothing to be found: crowds alone.
    crowds = kept(rubbish, {**truth, "annotations": [{**one, "iscrowd": 1} for one in truth["annotations"]]})
    assert command("--metric=mAP", f"--annotations={crowds}", f"--reference={good}", f"--variant={good}") == 2
    assert "has objects in 0 images; by fewer than 20 nobody can tell." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--metric=mAP"], "--annotations is for --metric mAP, which needs it."),
        (["--annotations=x"], "--annotations is for --metric mAP, which needs it."),
        (["--factor=1"], "--factor is 1; it is a share between 0 and 1, as in 0.99."),
    ],
)
def test_what_does_not_fit_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], sentence: str) -> None:
    assert command("--reference=a", "--variant=b", *words) == 2
    assert sentence in capsys.readouterr().err
