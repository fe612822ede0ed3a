"""How a study's pages name rows and figures: each with the file that it is from."""

import re

from tools.study.findings import Row

# A link of the pages' own; what an error message has of brackets is none.
LINK = re.compile(r"\[([^\[\]]+)\]\(((?:answers|cells|results)/[^()\s]+|[\w-]+\.(?:csv|json))\)")


def unlinked(text: str) -> str:
    """Returns a text without its links, for a terminal or where they would lead nowhere."""
    return LINK.sub(r"\1", text)


def named(row: Row) -> str:
    """Returns a row's recipe, with the file that its figures are from."""
    return f"[`{row.cell.title}`]({row.record})"


def told(row: Row) -> str:
    """Returns a row's recipe, its throughput over the reference's and its accuracy."""
    return f"{named(row)} ({times(row)}, {row.accuracy:.2f} %)"


def times(row: Row) -> str:
    """Returns a row's throughput over the reference's."""
    return f"{row.ratio:.2f} times"


def points(row: Row) -> str:
    """Returns what a row's accuracy is beside the reference's."""
    return f"{100 * row.outcomes.difference:+.2f} points" if row.outcomes else "unknown"


def run(row: Row) -> str:
    """Returns the figure of a row's full run, with its verdict; nothing where there was none."""
    return f"[{row.figure:,.0f} {row.unit}]({row.evidence}/verdict.json)" if row.figure else ""


def place(row: Row) -> str:
    """Returns a row's recipe with its workload and setting."""
    return f"{named(row) if row.record else f'`{row.cell.title}`'} on {row.cell.workload}, {row.cell.setting}"


def some(names: list[str], most: int = 3) -> str:
    """Returns the first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
