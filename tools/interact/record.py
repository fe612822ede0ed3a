"""A map as files: JSON with every round, and a table with a line a cell."""

import csv
import io
from typing import Any

from tools.interact.conduct import Chart, Measured
from tools.interact.shapes import shapes

SCHEMA = 1
COLUMNS = (
    "batch",
    "sessions",
    "threads",
    "stages",
    "prefetch",
    "state",
    "reason",
    "samples_per_s",
    "samples_per_s_lowest",
    "samples_per_s_highest",
    "rounds",
    "relative",
    "compared_answers",
    "changed_answers",
)


def record(chart: Chart, about: dict[str, Any]) -> dict[str, Any]:
    """Returns the map as JSON-like values, with what it is `about`."""
    return {
        "schema": SCHEMA,
        **about,
        "cells": [{**_values(chart, one), "rounds_samples_per_s": list(one.rates)} for one in chart.cells.values()],
        "best": _values(chart, chart.best),
        "shapes": [one.__dict__ for one in shapes(chart)],
    }


def table(chart: Chart) -> str:
    """Returns the map as CSV, a line a cell."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_values(chart, one) for one in chart.cells.values())
    return file.getvalue()


def _values(chart: Chart, one: Measured) -> dict[str, Any]:
    """Returns a cell's values by column; those that a cell without figures lacks are missing."""
    cell = one.cell
    found = {
        "batch": cell.batch,
        "sessions": cell.sessions,
        "threads": cell.threads,
        "stages": cell.stages,
        "prefetch": cell.prefetch,
        "state": "measured" if one.reason is None else "none",
        "reason": one.reason,
    }
    if one.reason is not None:
        return found
    return {
        **found,
        "samples_per_s": one.median,
        "samples_per_s_lowest": min(one.rates),
        "samples_per_s_highest": max(one.rates),
        "rounds": len(one.rates),
        "relative": chart.relative(one),
        "compared_answers": one.compared,
        "changed_answers": one.changed,
    }
