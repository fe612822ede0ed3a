"""`tools.blame`: real recipes, asked by the command; what cannot be asked is refused in a sentence."""

import csv
import io
import json
from pathlib import Path

import pytest

from accuracy_scripts.paired import Outcomes, certify
from suite import plugins
from suite.parameters import joined
from suite.probes.layers import loses
from tests.suite.commands import Command, Ended, cache
from tools.blame import report
from tools.blame.__main__ import _write as write
from tools.blame.findings import Findings, Measured

# The models are made first.
pytestmark = [pytest.mark.side_by_side, pytest.mark.timeout(400)]

# A recipe in which one of two layers does nearly all harm.
RUINED, HARMLESS = 2, 17
RECIPE = f"prune:0.5,keep={joined(set(range(18)) - {RUINED, HARMLESS})}"


def blame(*words: str, workload: str = "fashion-mobilenet") -> Ended:
    return Command("tools.blame", f"--workload={workload}", "--nospeed", f"--cache-dir={cache()}", *words).end(300)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    folder = tmp_path_factory.mktemp("blame") / "out"
    return blame(f"--optimize={RECIPE}", f"--out={folder}"), folder


def test_who_is_guilty_is_said_and_what_is_left_of_the_loss(asked: tuple[Ended, Path]) -> None:
    ended, _ = asked
    assert ended.code == 0 and not ended.left_behind, ended.stderr
    without = f"prune:0.5,keep={joined(set(range(18)) - {HARMLESS})}"
    assert f"guilty: layer {RUINED} (Conv blocks.0.body.1.0, 32x1x3x3)" in ended.stdout
    assert f"left as it was, in float32: {without} has 93." in ended.stdout
    assert "certified: it loses less than 0.93 points; it meets its target of 92.26 %" in ended.stdout
    assert "say nothing of accuracy" in ended.stdout
    assert [line for line in ended.stderr.splitlines() if "changing one layer alone" in line]


def test_the_files_say_the_same(asked: tuple[Ended, Path]) -> None:
    ended, folder = asked
    found = json.loads((folder / "blame.json").read_text())
    rows = list(csv.DictReader(io.StringIO((folder / "blame.csv").read_text())))
    assert [int(row["layer"]) for row in rows] == [one["number"] for one in found["layers"]] == [RUINED, HARMLESS]
    assert int(rows[0]["repaired"]) == found["layers"][0]["repaired"] > 0
    whole, (last,) = found["whole"], found["without"]
    assert whole["recipe"] == RECIPE and whole["outcomes"]["changed"] == found["ranked_by"]["flipped"]
    assert whole["accuracy_percent"] < last["accuracy_percent"] and last["outcome"] == "certified"
    assert whole["kept"] == [number for number in range(18) if number not in (RUINED, HARMLESS)]
    assert f"{whole['accuracy_percent']:.2f} % against 93.19 %" in ended.stdout
    assert found["target_percent"] == plugins.workload("fashion-mobilenet").target
    assert (folder / "blame.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "blame.svg").read_text().rstrip().endswith("</svg>")


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        (
            Outcomes(9300, 20, 10, 670, 31),
            "which chance explains (p = 0.099); certified: it loses less than 0.93 points",
        ),
        (Outcomes(9300, 10, 20, 670, 31), "nothing is lost; certified"),
        (Outcomes(9320, 0, 0, 680, 0), "+0.00 points (95 % -0.04 to +0.04), no answer changed; certified"),
    ],
)
def test_where_nothing_is_lost_there_is_nothing_to_blame(outcomes: Outcomes, sentence: str) -> None:
    whole = Measured("cluster:8", (), outcomes, certify(outcomes, 0.01 * outcomes.reference_share))
    found = Findings("fashion-mobilenet", "onnxruntime", "", 92.26, whole, 31, 31, (), (), {})
    assert not loses(outcomes, whole.certificate)
    assert report.text(found).splitlines()[-1].startswith("nothing to blame: ") and sentence in report.text(found)


def test_a_picture_of_another_recipe_does_not_stay(tmp_path: Path) -> None:
    write(tmp_path / "out", dict.fromkeys(("json", "csv", "svg", "png"), b"of one"))
    write(tmp_path / "out", dict.fromkeys(("json", "csv"), b"of another"))
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert found == {"blame.json": b"of another", "blame.csv": b"of another"}


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        ended = blame(*words, f"--out={tmp_path / 'out'}")
        assert ended.code == 2 and not ended.stdout
        return ended.sentence

    assert "No step of the recipe 'fuse:level=basic' makes a model" in refused("--optimize=fuse:level=basic")
    assert "Use --backend onnxruntime." in refused("--backend=torch", "--optimize=quantize:int8")
    assert "trains all layers together" in refused("--optimize=prune:0.3,tune=1")
    assert "Say with keep which layers quantize leaves" in refused("--optimize=quantize:int8,layers=but-ends")
    assert "cannot keep layer 18" in refused("--optimize=prune:0.3,keep=18")
    assert "python -m tools.fetch_data" in refused(f"--data-dir={tmp_path}", "--optimize=prune:0.3")
    assert not (tmp_path / "out").exists()
    ended = blame("--optimize=prune:0.3", "--out=suite/blame")
    assert ended.code == 2 and "--out is suite/blame" in ended.sentence
