"""What follows from a study's rows: both rankings, inversions, what to use, what lies, the front, the headline."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt
from statistics import fmean

from tools.study.findings import COUNTS, LEFT_OUT, WORTHLESS, Row
from tools.study.plan import REFERENCE, SERVER

Group = tuple[str, list[Row]]


@dataclass(frozen=True)
class Inversion:
    """Two variants of one workload: the faster one is worth nothing, the better one not known to be."""

    faster: Row
    better: Row


def groups(rows: Sequence[Row]) -> list[Group]:
    """Returns the rows of each workload and setting that were tried, with their title."""
    return all_groups([row for row in rows if row.state != LEFT_OUT])


def all_groups(rows: Sequence[Row]) -> list[Group]:
    """Returns the rows of each workload and setting, with their title."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row.cell.workload} on {row.cell.setting}", []).append(row)
    return list(found.items())


def reference_of(own: Sequence[Row]) -> Row | None:
    """Returns the row of a group's reference."""
    return next((row for row in own if row.cell.recipe == REFERENCE), None)


def speed(row: Row) -> float:
    """Returns a row's throughput over the reference's, which is 1 by itself and whatever its own row measured."""
    return 1.0 if row.cell.recipe == REFERENCE and row.ratio else row.ratio


def ends(row: Row, own: Sequence[Row]) -> tuple[float, float]:
    """Returns the 95 % interval of a row's `speed` in its group.

    The reference's is up to its own noise. A ratio of one block has that of single blocks of the group's other rows:
    theirs are of means of n blocks, and so narrower by the root of n. Where none of them has one nothing is known.
    """
    if row.cell.recipe == REFERENCE:
        return 1.0, noise(own)
    if row.ends:
        return row.ends
    halves = [log(one.ends[1] / one.ends[0]) / 2 * sqrt(one.blocks) for one in own if one.ends and one.processes == 1]
    wide = exp(sqrt(fmean(half**2 for half in halves))) if halves else inf
    return row.ratio / wide, row.ratio * wide


def ranked(found: Sequence[Row]) -> list[Row]:
    """Returns the rows that have a throughput, the fastest first."""
    return sorted((row for row in found if row.ratio), key=lambda row: -speed(row))


def inversions(own: Sequence[Row]) -> list[Inversion]:
    """Returns the pairs that the two rankings of a group have in another order, as far as they can be told apart.

    The faster one is worth nothing. What beats those that are worth most comes first.
    """
    by_speed = ranked(own)
    return [
        Inversion(faster, slower)
        for slower in by_speed
        for faster in by_speed
        if faster.state in WORTHLESS and slower.state not in WORTHLESS and ends(faster, own)[0] > ends(slower, own)[1]
    ]


def recommended(own: Sequence[Row]) -> list[Row]:
    """Returns what counts and is surely faster than the reference, as far as it cannot be told from the fastest of it.

    Surely faster is beyond what the reference was against itself. In Server it has to hold more load, too. What to use
    comes first: that of the fewest steps, of these the most accurate. The others follow, the fastest first.
    """
    floor = noise(own)
    sure = [row for row in own if row.state == COUNTS and row.cell.recipe != REFERENCE and row.known_ends[0] > floor]
    sure = [row for row in sure if row.cell.scenario != SERVER or _holds_more(row, reference_of(own))]
    fastest = max((row.ratio for row in sure), default=0.0)
    level = ranked([row for row in sure if row.known_ends[1] >= fastest])
    first = max(level, key=lambda row: (-row.cell.recipe.count("+"), row.accuracy), default=None)
    return [] if first is None else [first, *(row for row in level if row is not first)]


def lies(own: Sequence[Row]) -> list[Row]:
    """Returns what is worth nothing and surely faster than the reference, the fastest first."""
    return [row for row in ranked(own) if row.state in WORTHLESS and ends(row, own)[0] > noise(own)]


def noise(own: Sequence[Row]) -> float:
    """Returns the ratio from which on a group's variants are faster: what its reference may be against itself."""
    reference = reference_of(own)
    return max(1.0, reference.ends[1]) if reference and reference.ends else 1.0


def _holds_more(row: Row, reference: Row | None) -> bool:
    """Tells whether a row's full runs held more load than those of the reference, which count."""
    return reference is not None and reference.state == COUNTS and (row.figure or 0.0) > (reference.figure or inf)


def pareto(found: Sequence[Row]) -> list[Row]:
    """Returns the rows of which no other is both faster and more accurate, the fastest first."""
    front: list[Row] = []
    for row in ranked(found):
        if not front or row.accuracy > front[-1].accuracy:
            front.append(row)
    return front


def treacherous(found: Sequence[Row]) -> list[tuple[str, str, list[Row], list[Row]]]:
    """Returns what meets the target on one workload and misses it on another: backend, recipe, those rows, these."""
    measured = [row for row in found if row.outcomes is not None]
    pairs = []
    for backend, recipe in dict.fromkeys((row.cell.backend, row.cell.recipe) for row in measured):
        # In which scenario answers were taken hardly matters: one for each workload.
        once = {
            row.cell.workload: row for row in measured if (row.cell.backend, row.cell.recipe) == (backend, recipe)
        }.values()
        safe, ruinous = ([row for row in once if (row.accuracy < row.target) is missed] for missed in (False, True))
        if safe and ruinous:
            pairs.append((backend, recipe, safe, ruinous))
    return pairs
