"""A study on disk whose cells never ran."""

import os
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from common.files import write_json
from suite import plugins
from suite.places import cache_dir
from tools.study import findings, shelf
from tools.study.findings import Row
from tools.study.plan import Cell, Study

RESNET, MOBILENET = (Cell(f"fashion-{one}", "onnxruntime", "offline", "") for one in ("resnet", "mobilenet"))


def of(reference: Cell, recipe: str) -> Cell:
    return Cell(reference.workload, reference.backend, reference.scenario, recipe)


def data_dir(dataset: str) -> str:
    return str(cache_dir("", os.environ) / "data" / dataset)


@cache
def truth(workload: str) -> np.ndarray[Any, Any]:
    found = plugins.workload(workload)
    return found.open_dataset(Path(data_dir(found.dataset_name))).truth()


def answers(cell: Cell, wrong: int) -> np.ndarray[Any, Any]:
    """Returns answers of which the first `wrong` are wrong."""
    found = truth(cell.workload).astype(np.int64)
    found[:wrong] = (found[:wrong] + 1) % 10
    return found


def two_blocks(ratio: float) -> list[dict[str, Any]]:
    """Returns blocks of a variant that is about so many times as fast."""
    turns = ([100 * ratio, 101 * ratio], [99 * ratio, 100 * ratio])
    return [{"reference": [100.0, 100.0], "variant": one, "reference_outside": True} for one in turns]


class Made:
    """A study on disk whose cells never ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cells: list[Cell] = []
        write_json(folder / shelf.ABOUT, {"schema": shelf.SCHEMA, "fingerprint": {"cores": 2}})

    def add(
        self, cell: Cell, ratio: float, wrong: int, arithmetic: dict[str, int] | None = None, *, timed: bool = True
    ) -> None:
        """Adds a cell: its speed over the reference's, and how many of the 10,000 answers are wrong, from the first.

        If it is not `timed`, it has answered alone.
        """
        record = {
            "cell": asdict(cell),
            "state": "answered",
            "reason": None,
            "accuracy_percent": 100 - wrong / 100,
            "variant": {"id": cell.id},
            "arithmetic": arithmetic,
            "serving": {"batch": 64, "max_wait_us": 0, "sessions": 2, "threads": 1, "device": "cpu"},
            "machine_during": {"other_work_cores": 1.5 if cell.recipe == "prune:0.1" else 0.0},
            "changes_with_batch": 20 if cell.recipe == "quantize:int8" else 0,
            "certainly_misses": False,
            "blocks": [],
        }
        # The first samples are the least sure.
        found = answers(cell, wrong)
        confidence = np.linspace(0.3, 1, len(found), dtype=np.float32)
        shelf.keep_answered(self.folder, cell, record, shelf.Answers(found, confidence))
        if timed:
            self.time(cell, ratio)
        self.cells.append(cell)

    def time(self, cell: Cell, ratio: float) -> None:
        """Has a cell that has answered be finished."""
        record = shelf.recorded(self.folder, shelf.ANSWERS, cell.id)
        # What is emulated has none.
        turns = {"blocks": two_blocks(ratio), "first_blocks": 2} if ratio else {}
        shelf.keep_measured(self.folder, cell, {**(record or {}), **turns, "state": "measured"})

    def fail(self, cell: Cell, reason: str) -> None:
        shelf.keep_measured(self.folder, cell, {"cell": asdict(cell), "state": "failed", "reason": reason})
        self.cells.append(cell)

    def judge(self, cell: Cell, counts: bool, check: str = "complete", why: str = "as it was") -> None:
        checks = [{"name": "manifest", "passed": True, "detail": "every file"}]
        checks += [{"name": check, "passed": counts, "detail": why}]
        metric = {"value": 7000.0, "unit": "samples/s"}
        verdict = {"counts": counts, "checks": checks, "metric": metric, "goodput": {"per_s": 6543.0}}
        record = {"cell": asdict(cell), "state": "judged", "reason": None, "result": "results/x", "verdict": verdict}
        shelf.keep_verdict(self.folder, cell, record)

    def rows(self) -> list[Row]:
        return findings.rows(Study(tuple(self.cells)), self.folder, data_dir)
