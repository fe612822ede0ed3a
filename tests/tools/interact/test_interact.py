"""`tools.interact`: a real map with cells that fail, its files, and what is refused."""

import csv
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from reference_models.datasets import fashion_mnist
from suite import plugins
from suite.channel import Channel
from suite.resources import usable_cores
from suite.subject import describe
from suite.tasks import contests
from tests.conformance import loading
from tests.suite.commands import Command, Ended, cache
from tools.interact import conduct
from tools.interact.grid import Cell

pytestmark = pytest.mark.side_by_side


def interact(*words: str) -> Ended:
    ended = Command("tools.interact", f"--cache-dir={cache()}", *words).end(150)
    assert ended.left_behind == [], ended.stderr
    return ended


@pytest.mark.skipif(usable_cores() < 2, reason="a session of two threads wants two cores")
def test_a_map_has_every_cell_and_the_reason_where_one_fails(tmp_path: Path) -> None:
    """Batches of 8 have no room: with one thread the model says so, with two it takes its process with it."""
    folder, axes = tmp_path / "map", ("--batches=2,8,16", "--sessions=1,1024", "--threads=1,2", "--prefetch=0")
    time = ("--seconds=0.1", "--rounds=2")
    ended = interact("--backend=tests.zoo.little_memory", *axes, *time, f"--out={folder}")
    assert ended.code == 0, ended.stderr
    told = ("map: 8 of 16 cells, 0.1 s each: about ", "map: 2 rounds of 4 cells: about ", "map: round 2 of 2")
    assert all(line in ended.stderr for line in told)
    with (folder / "map.csv").open() as file:
        rows = {(row["sessions"], row["threads"], row["batch"]): row for row in csv.DictReader(file)}
    assert len(rows) == 16
    for threads in ("1", "2"):
        for batch in ("1", "2"):
            row = rows["1", threads, batch]
            assert (row["state"], row["rounds"], row["changed_answers"]) == ("measured", "2", "0")
            assert int(row["compared_answers"]) == 1024 and float(row["samples_per_s"]) > 0
        assert rows["1", threads, "16"]["reason"] == "not tried: a batch of 8 failed already"
        assert f"1,024 sessions of {threads} thread" in ended.stdout
    assert float(rows["1", "1", "1"]["relative"]) == 1
    assert "MemoryError: no room for 8 samples" in rows["1", "1", "8"]["reason"]
    assert "killed by SIGKILL" in rows["1", "2", "8"]["reason"]
    assert rows["1024", "1", "1"]["reason"] == f"1,024 cores wanted, {usable_cores():,} can be used"
    assert "Some cells that the cores allow fail: seen here; 2 of 8 did, and 2 were not tried" in ended.stdout
    assert "no answer of 1,024 or more differs in any of 4 cells" in ended.stdout

    found = json.loads((folder / "map.json").read_text())
    assert found["variant"]["backend"] == "tests.zoo.little_memory" and found["fingerprint"]["cores"]
    assert len(found["cells"]) == 16 and found["axes"]["batches"] == [1, 2, 8, 16]
    assert (folder / "map.png").read_bytes()[:4] == b"\x89PNG" and "</svg>" in (folder / "map.svg").read_text()


@pytest.mark.skipif(usable_cores() < 2, reason="two stages want two cores")
def test_a_graph_in_stages_is_mapped_and_answers_as_the_whole(tmp_path: Path) -> None:
    folder, axes = tmp_path / "map", ("--batches=8", "--sessions=1", "--threads=1,2", "--stages=1,2", "--prefetch=0")
    ended = interact(*axes, "--seconds=0.1", "--rounds=2", f"--out={folder}")
    assert ended.code == 0, ended.stderr
    with (folder / "map.csv").open() as file:
        rows = {(row["threads"], row["stages"], row["batch"]): row for row in csv.DictReader(file)}
    assert set(rows) == {(*kind, batch) for kind in (("1", "1"), ("2", "1"), ("2", "2")) for batch in ("1", "8")}
    for batch in ("1", "8"):
        row = rows["2", "2", batch]
        # Full batches, of which three are side by side.
        assert (row["state"], row["changed_answers"]) == ("measured", "0") and int(row["compared_answers"]) >= 1000
    assert "2 threads a session in 2 stages" in ended.stdout


def test_a_graph_that_cannot_be_cut_is_a_cell_that_says_so() -> None:
    workload = plugins.workload("fashion-resnet")
    made = loading.variant("onnxruntime", workload)
    subject = describe(workload.name, "onnxruntime", made.model, dict(made.options), loading.data_folder(workload))
    ground = conduct.Ground(subject, "cpu", (), 16, 60)
    cells = [Cell(1, 1, 2, 0), *(Cell(1, 16, batch, 0, 16) for batch in (2, 4))]
    found = conduct._looks(cells, ground)
    assert len(found[cells[0]]["answers"]) == 1024
    assert "cannot be cut into 16 stages" in found[cells[1]]["reason"]
    assert found[cells[2]]["reason"] == "not tried: a batch of 2 failed already"


def test_end_to_end_there_is_something_to_do_ahead(tmp_path: Path) -> None:
    folder, axes = tmp_path / "map", ("--batches=2", "--sessions=1", "--threads=1", "--prefetch=0,1")
    ended = interact("--end-to-end", *axes, "--seconds=0.1", "--rounds=2", f"--out={folder}")
    assert ended.code == 0, ended.stderr
    assert "fashion-resnet on onnxruntime (cpu), end to end" in ended.stdout
    found = json.loads((folder / "map.json").read_text())
    assert found["end_to_end"] and len(found["cells"]) == 4
    assert "no answer of 1,024 or more differs in any of 4 cells" in ended.stdout


@pytest.mark.parametrize("end_to_end", [False, True])
def test_samples_are_loaded_as_they_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end_to_end: bool
) -> None:
    workload = plugins.workload("fashion-resnet")
    made = loading.variant("onnxruntime", workload)
    serving = Cell(1, 1, 2, 0).serving("cpu", (), end_to_end=end_to_end)
    job = {
        "phase": "a round",
        "expected_samples": 64,
        "subject": describe(
            workload.name, "onnxruntime", made.model, dict(made.options), loading.data_folder(workload)
        ),
        "turns": [{"serving": asdict(serving), "samples": 64, "options": {}}],
        "journal": str(tmp_path / "journal"),
    }
    loaded, load = [], fashion_mnist.FashionMnist.load

    def noted(self: fashion_mnist.FashionMnist, indices: Any, decoded: bool = True) -> None:
        loaded.append(decoded)
        load(self, indices, decoded)

    monkeypatch.setattr(fashion_mnist.FashionMnist, "load", noted)
    contests.sweep(job, Channel(os.open(os.devnull, os.O_WRONLY)))
    assert loaded == [not end_to_end] and len((tmp_path / "journal").read_text().splitlines()) == 1


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        ended = interact(f"--out={tmp_path / 'map'}", *words)
        assert ended.code == 2 and not ended.stdout
        return ended.sentence

    assert "leave batch, parallel, prefetch and pipeline out" in refused("--optimize=batch:16")
    assert "leave pipeline out, and give --stages" in refused("--backend-options=pipeline=2")
    assert "the backend torch cuts none" in refused("--backend=torch", "--stages=2")
    assert "--stages holds '17'; it takes whole numbers from 1 to 16" in refused("--stages=17")
    assert "--batches holds '2048'; it takes whole numbers from 1 to 1024" in refused("--batches=2048")
    assert "--pin is auto, and nothing is chosen here" in refused("--pin=auto")
    assert not (tmp_path / "map").exists()
    (tmp_path / "file").touch()
    assert f"The map cannot be kept in {tmp_path / 'file'}" in refused(f"--out={tmp_path / 'file'}")
