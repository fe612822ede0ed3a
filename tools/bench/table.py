"""The table of what was measured, as Markdown, from the files that `--out` wrote."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import UsageError
from tools.bench.rows import UNKNOWN

HEADS = ("what", "measured", "bar", "verdict", "reference harness")


def markdown(paths: Sequence[Path]) -> str:
    """Returns the rows of the files, the last of each name, a line each; raises UsageError for what is no such file."""
    machines: dict[str, None] = {}
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        try:
            content = json.loads(path.read_bytes())
            machines[content["machine"]] = None
            found |= {one["name"]: one for one in content["rows"]}
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is no file that --out wrote ({type(error).__name__}: {error}).") from error
    lines = [_line(one) for one in (HEADS, ["---"] * len(HEADS), *map(_cells, found.values()))]
    return "\n".join([*(f"- {machine}" for machine in machines), "", *lines])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if "not_measured" in row:
        return row["name"], "", "", f"not measured: {row['not_measured']}", ""
    unit = f" {row['unit']}" if row["unit"] else ""
    interval = "" if row["low_95"] is None else f"{row['low_95']:.3g} to {row['high_95']:.3g}, "
    measured = (
        f"{row['figure']:.3g}{unit} ({interval}{len(row['figures'])} pairs) on {row['base']:,.4g} {row['sides_unit']}"
    )
    verdict = row["verdict"]
    if verdict == UNKNOWN:
        verdict += f"; about {row['more_pairs']:,} more pairs would"
    return row["name"], measured, row["bar"], verdict, row["reference"].removeprefix("reference harness, ")
