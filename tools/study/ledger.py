"""The ledger of a study: what became of the answers of each class, and of each fifth of the reference's confidence."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from accuracy_scripts.paired import SliceOutcome
from tools.study.findings import Row

COLUMNS = (
    "workload",
    "backend",
    "scenario",
    "end_to_end",
    "recipe",
    "slice",
    "label",
    "samples",
    "both_right",
    "right_to_wrong",
    "wrong_to_right",
    "wrong_to_wrong",
    "changed",
    "difference",
    "difference_low_95_all_at_once",
    "difference_high_95_all_at_once",
)


def ledger(rows: Sequence[Row]) -> str:
    """Returns a line for each slice of each row as CSV, with intervals that hold for all slices of its kind.

    Of labels all is of samples that are right. Of a detector a class has its objects, found or not, and the difference
    is of its average precision; a fifth of confidence has images.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(line for row in rows for line in _lines(row))
    return file.getvalue()


def _lines(row: Row) -> Iterator[list[Any]]:
    cell = row.cell
    for kind, slices in (("class", row.classes), ("fifth of confidence", row.unsure)):
        for one in sorted(slices, key=lambda one: one.label):
            whole = "yes" if cell.end_to_end else "no"
            yield [cell.workload, cell.backend, cell.scenario, whole, cell.title, kind, *_slice(one)]


def _slice(one: SliceOutcome) -> list[Any]:
    found = one.outcomes
    counts = (found.total, found.both, found.only_reference, found.only_variant, found.swapped, found.changed)
    return [one.label, *counts, found.difference, one.low, one.high]
