"""`tools.postprocess`: what cheaper post-processing costs is certified, and its speed is beside the reference's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.flags import run
from tests.accuracy_scripts.made_coco import Found, made
from tools.postprocess import __main__ as postprocess

pytestmark = pytest.mark.side_by_side


def raw(images: int, seed: int) -> tuple[dict[str, Any], Found]:
    """Returns annotations and a detector's candidates: each thing that it saw ten times over, less and less sure."""
    truth, seen, _ = made(images, seed)
    draw = np.random.default_rng(seed)
    found = []
    for one in seen:
        for again in range(10):
            box = (np.array(one["bbox"]) + draw.normal(0, 4.0 * bool(again), 4)).tolist()
            found.append({**one, "bbox": box, "score": one["score"] * 0.93**again})
    return truth, found


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postprocess, "SECONDS", 0.01)
    monkeypatch.setattr(postprocess, "MOST", 5)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    truth, found = raw(200, seed=5)
    for name, content in (("instances", truth), ("raw", found)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    return [f"--annotations={tmp_path / 'instances.json'}", f"--candidates={tmp_path / 'raw.json'}"]


def command(*words: str) -> int:
    return run(postprocess.main, postprocess.FLAGS, list(words), arguments="VARIANT ...")


def test_what_is_free_and_what_is_ruinous_is_told(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--json", *files, "top=500", "nms=none", "score=0.6") == 1
    told = json.loads(capsys.readouterr().out)
    same, none, sure = told["variants"]
    assert 180 < told["images"] <= 200 and told["candidates"] > 3000
    # All candidates of an image are fewer than 500.
    assert (same["outcome"], same["map"], same["detections"]) == (
        "certified",
        same["reference_map"],
        told["reference_detections"],
    )
    # Ten times the same thing is nine times wrong.
    assert none["outcome"] == "regression certified" and none["detections"] > 5 * told["reference_detections"]
    assert none["map"] < 0.9 * none["reference_map"] and none["difference_95"][1] < -none["margin"]
    assert sure["outcome"] == "regression certified" and sure["detections"] < told["reference_detections"]
    # And to look at no overlap at all takes a small part of the time.
    assert none["ratio"] > 2 and none["interval_95"][0] > 1 and told["images_timed"] <= told["images"]
    assert told["reference"]["score"] == 0.05 and told["factor"] == 0.99


def test_a_line_says_what_it_gains_and_costs(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(*files, "--reference=score=0.1", "keep=90") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(" of them timed; post-processing alone, which counts for no system")
    assert lines[1].startswith("reference   score=0.1,iou=0.5,top=1000,keep=100,nms=by-class: ")
    assert lines[2].startswith("keep=90 ") and " +0.0000 (" in lines[2] and ", certified; allowed is" in lines[2]


def test_three_outcomes_are_told_with_what_could_tell(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What goes at a higher overlap loses a little here; all classes at once or fast differs in too few images."""
    assert command("--json", "--factor=0.95", *files, "iou=0.6") == 0
    (found,) = json.loads(capsys.readouterr().out)["variants"]
    assert found["outcome"] == "certified" and found["differing_images"] >= 20 and not found["reason"]
    assert command(*files, "nms=all-classes", "nms=fast") == 1
    assert capsys.readouterr().out.count("cannot tell: fewer than 20 images have other matches; allowed") == 2
    assert command("--json", "--factor=0.997", *files, "iou=0.6") == 1
    (found,) = json.loads(capsys.readouterr().out)["variants"]
    assert found["outcome"] == "cannot tell" and found["differing_images"] >= 20 and found["more_images"] > 0


def test_categories_of_any_number_are_as_good_as_others(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As pixels beside their offset their overlaps would drown in it; a hash of 64 bits fits no signed integer."""
    assert command("--json", *files, "score=0.6") == 1
    expected = json.loads(capsys.readouterr().out)
    for name in ("instances", "raw"):
        path = tmp_path / f"{name}.json"
        path.write_text(path.read_text().replace('"category_id": 3', f'"category_id": {2**63}'))
    path = tmp_path / "instances.json"
    path.write_text(path.read_text().replace('{"id": 3, "name": "3"}', f'{{"id": {2**63}, "name": "3"}}'))
    assert command("--json", *files, "score=0.6") == 1
    found = json.loads(capsys.readouterr().out)
    assert [one["map"] for one in found["variants"]] == [one["map"] for one in expected["variants"]]
    assert found["reference_detections"] == expected["reference_detections"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name a variant or more"),
        (["keep=20", "score=1"], "score=1 leaves no detection at all"),
        (["--factor=1", "keep=20"], "--factor is 1"),
        (["nms=sof"], "Unknown nms 'sof'"),
        (["--candidates=/nowhere", "keep=20"], "/nowhere cannot be read"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    files: list[str], capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert command(*files, *words) == 2
    said = capsys.readouterr().err
    assert "postprocess: " not in said, "nothing was begun"
    assert f"error: {sentence}" in said and len([line for line in said.splitlines() if "error" in line]) == 1
