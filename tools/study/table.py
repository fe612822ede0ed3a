"""A study's rows as CSV; accuracies in percent, everything else in shares."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from suite import arithmetic
from tools.study.findings import FAILED, UNJUDGED, Row
from tools.study.plan import Cell
from tools.study.ranking import groups, inversions


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as CSV, a line each."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    inverted: dict[Cell, list[str]] = {}
    for _, own in groups(rows):
        for pair in inversions(own):
            inverted.setdefault(pair.faster.cell, []).append(pair.better.cell.title)
    writer.writerows({**_values(row), "inverted_with": "; ".join(inverted.get(row.cell, ()))} for row in rows)
    return file.getvalue()


COLUMNS = (
    "workload",
    "backend",
    "scenario",
    "end_to_end",
    "recipe",
    "state",
    "reason",
    "ratio",
    "ratio_low_95",
    "ratio_high_95",
    "smallest_change_seen",
    "blocks",
    "processes",
    "serving",
    "valid_ratio",
    "certified_ratio",
    "inverted_with",
    "accuracy_percent",
    "target_percent",
    "difference",
    "difference_low_95",
    "difference_high_95",
    "p_holm",
    "changed",
    "right_to_wrong",
    "wrong_to_right",
    "worst_class",
    "worst_class_difference",
    "changed_by_fifth_of_confidence",
    "changes_with_batch",
    "certificate",
    "certificate_p_holm",
    "more_samples",
    "wrong_to_wrong",
    "error_ratio",
    "error_ratio_low_95",
    "error_ratio_high_95",
    "goodput",
    "arithmetic",
    "throughput",
    "unit",
    "evidence",
    "record",
    "notes",
)


def _values(row: Row) -> dict[str, Any]:
    cell = row.cell
    found = {
        "workload": cell.workload,
        "backend": cell.backend,
        "scenario": cell.scenario,
        "end_to_end": "yes" if cell.end_to_end else "no",
        "recipe": cell.title,
        "state": row.state,
        "reason": row.reason,
    }
    if row.outcomes is None or row.worst is None or row.certificate is None:
        return found
    low, high = row.outcomes.interval()
    return {
        **found,
        "ratio": row.ratio or "",
        "ratio_low_95": row.ends[0] if row.ends else "",
        "ratio_high_95": row.ends[1] if row.ends else "",
        "smallest_change_seen": "" if row.smallest_seen is None else row.smallest_seen,
        "blocks": row.blocks,
        "processes": row.processes,
        "serving": row.serving,
        "valid_ratio": "" if row.state in (UNJUDGED, FAILED) or row.untimed else row.valid_ratio,
        "certified_ratio": "" if row.state in (UNJUDGED, FAILED) or row.untimed else row.certified_ratio,
        "accuracy_percent": row.accuracy,
        "target_percent": row.target,
        "difference": row.outcomes.difference,
        "difference_low_95": low,
        "difference_high_95": high,
        "p_holm": row.p_holm,
        "changed": row.outcomes.changed,
        "right_to_wrong": row.outcomes.only_reference,
        "wrong_to_right": row.outcomes.only_variant,
        "worst_class": row.worst.label,
        "worst_class_difference": row.worst.outcomes.difference,
        "changed_by_fifth_of_confidence": " ".join(f"{one.outcomes.changed}" for one in row.unsure),
        "changes_with_batch": row.changes_with_batch,
        "certificate": row.certificate.outcome,
        "certificate_p_holm": row.certificate_p_holm,
        "more_samples": max(0, row.certificate.more_samples) or "",
        "wrong_to_wrong": row.outcomes.swapped,
        **dict(
            zip(
                ("error_ratio", "error_ratio_low_95", "error_ratio_high_95"),
                row.outcomes.error_ratio or (),
                strict=False,
            )
        ),
        "goodput": row.goodput or "",
        "arithmetic": arithmetic.shares(row.arithmetic) if row.arithmetic else "",
        "throughput": row.figure or "",
        "unit": row.unit,
        "evidence": row.evidence,
        "record": row.record,
        "notes": "; ".join(row.notes),
    }
