"""Several studies beside one another: what differs is told, and what was altered is refused."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UsageError
from tests.tools.study.made import answers, data_dir, two_blocks
from tools.study import merge, merge_report, shelf
from tools.study.plan import Cell

pytestmark = pytest.mark.side_by_side

REFERENCE = Cell("fashion-resnet", "onnxruntime", "offline", "")
FAST, PRUNED, ALONE = (
    Cell("fashion-resnet", "onnxruntime", "offline", recipe) for recipe in ("quantize:int8", "prune:0.1", "cluster:8")
)


class Machine:
    """A study of a machine that never was."""

    def __init__(self, folder: Path, cpu: str, source: str = "5" * 64) -> None:
        self.folder, self.number = folder, 0
        fingerprint = {"cpu_model": cpu, "cores": 2, "kernel": "6.1", "packages": {"numpy": "2", "onnxruntime": cpu}}
        shelf.keep(folder, "", "study", {"fingerprint": fingerprint, "source_sha256": source})

    def add(self, cell: Cell, ratio: float, wrong: int, model: str = "m") -> None:
        """Adds a cell of two blocks, whose first `wrong` answers are wrong."""
        record = {
            "cell": asdict(cell),
            "state": "measured",
            "reason": None,
            "first_blocks": 2,
            "changes_with_batch": 0,
            "machine_during": {},
            "started_at": f"2026-11-26T00:00:0{self.number}.000Z",
            "accuracy_percent": 100 - wrong / 100,
            "arithmetic": {"uint8 x int8 on CPU": 9},
            "variant": {"model": {"sha256": model}},
            "blocks": two_blocks(ratio),
        }
        found = answers(cell, wrong)
        confidence = np.full(len(found), 0.9, np.float32)
        shelf.keep_answered(self.folder, cell, record, shelf.Answers(found, confidence))
        shelf.keep_measured(self.folder, cell, shelf.recorded(self.folder, shelf.ANSWERS, cell.id) or {})
        self.number += 1

    def judge(self, cell: Cell, counts: bool) -> None:
        check = {"name": "same-answers", "passed": counts, "detail": "they are not"}
        verdict = {"schema": 1, "counts": counts, "checks": [check], "metric": {"value": 7000.0, "unit": "samples/s"}}
        record = {"cell": asdict(cell), "state": "judged", "reason": None, "result": "results/x", "verdict": verdict}
        shelf.keep_verdict(self.folder, cell, record)
        shelf.keep(self.folder, "results/x", "verdict", verdict)


@pytest.fixture
def machines(tmp_path: Path) -> list[Machine]:
    """Returns two machines: INT8 is faster on the second, counts there alone, and answers otherwise."""
    found = [Machine(tmp_path / name, name) for name in ("one", "two")]
    for machine, ratio, wrong, counts in zip(found, (1.2, 2.0), (660, 663), (False, True), strict=True):
        machine.add(REFERENCE, 1.0, 650)
        machine.add(FAST, ratio, wrong, model=machine.folder.name)
        machine.add(PRUNED, 1.01, 655)
        machine.judge(FAST, counts)
    found[1].add(ALONE, 1.0, 650)
    return found


def read(machines: list[Machine], out: Path) -> list[merge.Member]:
    return merge.read([one.folder for one in machines], out, data_dir)


def files(machines: list[Machine]) -> dict[Path, bytes]:
    return {path: path.read_bytes() for one in machines for path in one.folder.rglob("*") if path.is_file()}


def test_each_machine_has_its_rows_and_what_differs_is_told(machines: list[Machine], tmp_path: Path) -> None:
    before = files(machines)
    members = read(machines, tmp_path / "merged")
    text = merge_report.markdown(members)
    where = "fashion-resnet on onnxruntime, offline"
    assert "**A**: one, 2 cores, Linux 6.1" in text and "**B**: two" in text
    assert "packages.onnxruntime: A one, B two" in text and "packages.numpy" not in text
    assert "3 variants were measured on more than one machine; 2 agree in all that was measured." in text
    assert f"`quantize:int8` ({where}) differs in throughput: A 1.20 (" in text and ", B 2.00 (" in text
    assert f"`quantize:int8` ({where}) differs in whether it counts: A refused, B counts." in text
    assert "differs in 3 of 10,000 answers (0.03 %) between A and B, with another model each" in text
    assert "`prune:0.1` (fashion" not in text
    assert f"On machine B alone, or measured nowhere else: `cluster:8` ({where})." in text
    assert f"### {where}: machine A" in text and f"### {where}: machine B" in text
    assert "(../two/results/x/verdict.json)" in text
    assert "made with other sources than this report" in text
    assert files(machines) == before

    lines = list(csv.DictReader(io.StringIO(merge_report.csv_table(members))))
    assert [(line["machine"], line["recipe"]) for line in lines] == [
        *(("A", title) for title in ("reference", "quantize:int8", "prune:0.1")),
        *(("B", title) for title in ("reference", "quantize:int8", "prune:0.1", "cluster:8")),
    ]


def test_studies_of_other_sources_are_not_compared(machines: list[Machine], tmp_path: Path) -> None:
    other = Machine(tmp_path / "three", "three", source="6" * 64)
    other.add(REFERENCE, 1.0, 650)
    with pytest.raises(UsageError, match="three with 666666666666: what differs could be the sources' doing"):
        read([*machines, other], tmp_path / "merged")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def answered(finished: Path) -> Path:
    """Returns the record of what a cell answered, by that of what it measured."""
    return finished.parents[1] / shelf.ANSWERS / finished.name


ALTERED: dict[str, tuple[str, Callable[[Path], object]]] = {
    "99.00 %, and its answers have 93.40 %: it was altered": ("cells", lambda one: edit(one, accuracy_percent=99.0)),
    "are not those of their record": ("answers", lambda one: one.write_bytes(one.read_bytes()[:-1] + b"\7")),
    "cannot be read (No such file": ("answers", Path.unlink),
    "lacks the reference of quantize:int8": ("reference", lambda one: (one.unlink(), answered(one).unlink())),
    "is not the file of the cell that it holds": ("cells", lambda one: edit(one, cell=asdict(PRUNED))),
    "is no whole study: StatisticsError": ("cells", lambda one: edit(one, blocks=[])),
    "is no whole study: TypeError": ("cells", lambda one: edit(one, cell={"workload": "x"})),
    "has another verdict on quantize:int8": ("verdict", lambda one: edit(one, counts=True)),
    "is no file of a study": ("study", lambda one: one.write_text("{")),
    "cannot be read: No such file": ("study", Path.unlink),
}


@pytest.mark.parametrize("sentence", ALTERED)
def test_what_was_altered_or_is_missing_is_one_sentence(machines: list[Machine], tmp_path: Path, sentence: str) -> None:
    what, alter = ALTERED[sentence]
    one = machines[0].folder
    alter(
        {
            "cells": one / shelf.CELLS / f"{FAST.id}.json",
            "answers": one / shelf.CELLS / f"{FAST.id}.npz",
            "reference": one / shelf.CELLS / f"{REFERENCE.id}.json",
            "verdict": one / "results" / "x" / "verdict.json",
            "study": one / "study.json",
        }[what]
    )
    with pytest.raises(UsageError) as caught:
        read(machines, tmp_path / "merged")
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_what_was_emulated_beside_a_reference_that_had_no_turns_yet_is_merged(machines: list[Machine]) -> None:
    """Its budget ended after the answers, with which what is emulated is finished."""
    one = machines[0].folder
    for cell in (FAST, PRUNED, REFERENCE):
        (one / shelf.CELLS / f"{cell.id}.json").unlink()
    machines[0].add(replace(REFERENCE, recipe="emulate:int8"), 1.0, 655)
    (member, _) = read(machines, one.parent / "merged")
    assert [row.cell.recipe for row in member.rows] == ["emulate:int8"]


def test_studies_are_given_each_once_and_the_report_lies_beside_them(machines: list[Machine], tmp_path: Path) -> None:
    one, two = (machine.folder for machine in machines)
    for folders, out, sentence in (
        ([one], tmp_path / "merged", "wants two studies or more"),
        ([one, two, one], tmp_path / "merged", "the same study twice"),
        ([one, two], one / "merged", "inside a study that is merged"),
        ([one, tmp_path / "none"], tmp_path / "merged", "study.json cannot be read"),
    ):
        with pytest.raises(UsageError, match=sentence):
            merge.read(folders, out, data_dir)
    shutil.copytree(one, tmp_path / "copy")
    with pytest.raises(UsageError, match="copy is a copy of .*one, which agrees with itself"):
        merge.read([one, tmp_path / "copy"], tmp_path / "merged", data_dir)
    empty = Machine(tmp_path / "empty", "empty")
    with pytest.raises(UsageError, match="without a finished cell"):
        read([machines[0], empty], tmp_path / "merged")


def test_a_study_twice_measured_on_one_machine_is_called_so(tmp_path: Path) -> None:
    found = [Machine(tmp_path / name, "same") for name in ("first", "second")]
    for machine, ratio in zip(found, (1.0, 1.001), strict=True):
        machine.add(REFERENCE, ratio, 650)
    text = merge_report.markdown(read(found, tmp_path / "merged"))
    assert "these are the same machine" in text and "1 agree in all" in text
