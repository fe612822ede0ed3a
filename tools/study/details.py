"""The smaller tables of a study's report: both rankings, what changed where, and what each step of a chain added."""

from collections.abc import Iterator, Sequence

from tools.study.chain import Addition, chains
from tools.study.findings import Row, ranked

# What a table says, its head, and its lines.
Detail = tuple[str, Sequence[str], list[list[str]]]

RANKS = ("rank", "by throughput", "", "by throughput that counts", "")
CHANGES = ("recipe", "least sure", "2nd fifth", "3rd fifth", "4th fifth", "surest", "in smaller batches")
STEPS = ("chain", "step", "throughput", "95 %", "points", "changed")
CHANGED = "Answers that changed, by how sure the reference was of its own, in fifths of the samples:"
# Of a table of ranks: as many lines are enough to see what they do.
MOST_RANKS = 8


def details(own: Sequence[Row]) -> Iterator[Detail]:
    """Yields the tables of a group that have a line."""
    tables: tuple[Detail, ...] = (
        ("The rank by throughput alone beside the rank by throughput that counts:", RANKS, _ranks(own)),
        (CHANGED, CHANGES, _changes(own)),
        ("What each step of a chain added, given the steps before it:", STEPS, _steps(own)),
    )
    yield from (one for one in tables if one[2])


def _ranks(own: Sequence[Row]) -> list[list[str]]:
    """Returns the lines of both rankings, beside each other."""
    alone = ranked(own, lambda row: row.ratio)
    honest = [row for row in ranked(own, lambda row: row.valid_ratio) if row.valid_ratio]
    lines = []
    for number, left in enumerate(alone[:MOST_RANKS]):
        right = honest[number] if number < len(honest) else None
        lines.append(
            [
                str(number + 1),
                f"`{left.cell.title}`{'' if left.valid_ratio else ' ✗'}",
                f"{left.ratio:.2f}",
                f"`{right.cell.title}`" if right else "",
                f"{right.ratio:.2f}" if right else "",
            ]
        )
    return lines


def _changes(own: Sequence[Row]) -> list[list[str]]:
    """Returns the lines of the rows whose answers are not all the reference's."""
    return [
        [
            f"`{row.cell.title}`",
            *(_percent(one.outcomes.changed / one.outcomes.total) for one in row.unsure),
            _percent(row.changes_with_batch) if row.changes_with_batch else "none",
        ]
        for row in own
        if row.outcomes and row.outcomes.changed
    ]


def _steps(own: Sequence[Row]) -> list[list[str]]:
    """Returns a line for each step of each chain."""
    return [
        [f"`{row.cell.title}`" if number == 0 else "", *_added(one)]
        for row, added in chains(own)
        for number, one in enumerate(added)
    ]


def _added(one: Addition) -> list[str]:
    low, high = (100 * end for end in one.outcomes.interval())
    return [
        f"`{one.step}`",
        f"{one.ratio:.3f}",
        f"{one.ends[0]:.3f} to {one.ends[1]:.3f}" if one.ends else "one block",
        f"{100 * one.outcomes.difference:+.2f} ({low:+.2f} to {high:+.2f})",
        _percent(one.outcomes.changed / one.outcomes.total),
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
