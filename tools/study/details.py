"""The smaller tables of a study's report: what counts, both rankings, what flipped where, each step of a chain."""

from collections.abc import Iterator, Sequence

from accuracy_scripts.paired import CERTIFIED, REGRESSION, Outcomes, SliceOutcome
from tools.study.chain import Addition, chains
from tools.study.findings import BROKE, INVALID, OPEN, UNJUDGED, WORTHLESS, Row
from tools.study.plan import REFERENCE
from tools.study.ranking import ranked, speed
from tools.study.words import named

# What a table says, its head, and its lines.
Detail = tuple[str, Sequence[str], list[list[str]]]

WORTH = ("recipe", "counts for", "certified", "right answers/s", "loss", "smallest change it would show")
FLIPS = (
    "recipe",
    "right to wrong",
    "wrong to right",
    "wrong to wrong",
    "wrong answers",
    "95 %",
    "worst class, all at once",
)
RANKS = ("rank", "by throughput", "", "by throughput that counts", "")
CHANGES = ("recipe", "least sure", "2nd fifth", "3rd fifth", "4th fifth", "surest", "in smaller batches")
STEPS = ("chain", "step", "throughput", "95 %", "points", "changed")
VALUE = "Throughput over the reference's as far as it counts, and what of it is certain with 95 %:"
FLIPPED = "Answers that flipped, and wrong answers over the reference's:"
CHANGED = "Answers that changed, by how sure the reference was of its own, in fifths of the samples:"
# Of a table of ranks: as many lines are enough to see what they do.
MOST_RANKS = 8
RANKED = f"The rank by throughput alone beside the rank by throughput that counts, the first {MOST_RANKS}:"


def details(own: Sequence[Row]) -> Iterator[Detail]:
    """Yields the tables of a group that have a line."""
    tables: tuple[Detail, ...] = (
        (VALUE, WORTH, _worth(own)),
        (FLIPPED, FLIPS, _flips(own)),
        (RANKED, RANKS, _ranks(own)),
        (CHANGED, CHANGES, _changes(own)),
        ("What each step of a chain added, given the steps before it:", STEPS, _steps(own)),
    )
    yield from (one for one in tables if one[2])


def _ranks(own: Sequence[Row]) -> list[list[str]]:
    """Returns the lines of both rankings, beside each other."""
    alone = ranked(own)
    honest = [row for row in alone if row.valid_ratio]
    lines = []
    for number, left in enumerate(alone[:MOST_RANKS]):
        right = honest[number] if number < len(honest) else None
        lines.append(
            [
                str(number + 1),
                f"{named(left)}{' ✗' if left.state in WORTHLESS else ' ?' if left.state in OPEN else ''}",
                f"{speed(left):.2f}",
                named(right) if right else "",
                f"{speed(right):.2f}" if right else "",
            ]
        )
    return lines


def _worth(own: Sequence[Row]) -> list[list[str]]:
    """Returns the lines of the rows that have a throughput."""
    return [
        [
            named(row),
            f"{row.valid_ratio:.3f}" if row.valid_ratio else _nothing(row),
            f"{row.certified_ratio:.3f}" if row.certified_ratio else _nothing(row),
            f"[{row.goodput:,.0f}]({row.evidence}/verdict.json)" if row.goodput else "",
            _loss(row),
            "" if row.smallest_seen is None else f"{100 * row.smallest_seen:.1f} %",
        ]
        for row in own
        if row.ratio and row.cell.recipe != REFERENCE
    ]


def _nothing(row: Row) -> str:
    return {UNJUDGED: "not judged", INVALID: "0 (not valid)", BROKE: "0 (full runs failed)"}.get(row.state, "0")


def _loss(row: Row) -> str:
    """Returns what is certain of a row's loss against what its target allows."""
    certificate = row.certificate
    if certificate is None:
        return ""
    allowed = f"{100 * certificate.margin:.2f} points"
    alone = ", by itself" if row.certified_alone else ""
    if certificate.outcome in (CERTIFIED, REGRESSION):
        return f"{certificate.outcome}{alone}: {'below' if certificate.outcome == CERTIFIED else 'above'} {allowed}"
    more = f"; about {certificate.more_samples:,} more samples would" if certificate.more_samples > 0 else ""
    return f"{certificate.outcome} whether it is below {allowed}{more}"


def _flips(own: Sequence[Row]) -> list[list[str]]:
    """Returns the lines of the rows whose answers are not all the reference's."""
    return [_flipped(row, row.outcomes, row.classes[0]) for row in own if row.outcomes and row.outcomes.changed]


def _flipped(row: Row, outcomes: Outcomes, worst: SliceOutcome) -> list[str]:
    ratio = outcomes.error_ratio
    low, high = 100 * worst.low, 100 * worst.high
    return [
        named(row),
        f"{outcomes.only_reference:,}",
        f"{outcomes.only_variant:,}",
        f"{outcomes.swapped:,}",
        f"{ratio[0]:.3f} times" if ratio else "",
        f"{ratio[1]:.3f} to {ratio[2]:.3f}" if ratio else "",
        f"{worst.label}: {100 * worst.outcomes.difference:+.1f} ({low:+.1f} to {high:+.1f})",
    ]


def _changes(own: Sequence[Row]) -> list[list[str]]:
    """Returns the lines of the rows whose answers are not all the reference's."""
    return [
        [
            named(row),
            *(_percent(one.outcomes.changed / one.outcomes.total) for one in row.unsure),
            _percent(row.changes_with_batch) if row.changes_with_batch else "none",
        ]
        for row in own
        if row.outcomes and row.outcomes.changed
    ]


def _steps(own: Sequence[Row]) -> list[list[str]]:
    """Returns a line for each step of each chain."""
    return [
        [named(row) if number == 0 else "", *_added(one)]
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
