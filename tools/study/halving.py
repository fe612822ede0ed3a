"""Who goes on in the search for the fastest that counts: decisions on figures alone, nothing is measured here.

Everybody gets two blocks; who is certainly slower than the best, or than the reference, drops out, and the others get
as many again, eight at most, until one is left or they are known well enough. Nobody is dropped for being among the
slower half: what cannot be told from the best stays.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, sqrt
from statistics import fmean

from tools.study.plan import REFERENCE, Cell

CONFIDENCE = 0.95
# Of what that leaves, the share that each look at the blocks gets: who goes on is decided by what was seen. With all of
# it 87 to 97 % of simulated searches had all ratios within at their end, with this 94 to 98, for a sixth more blocks.
SHARE = 0.5
FIRST_BLOCKS = 2
# So many at a time at most, so that the time can be looked at in between.
MOST_AT_ONCE = 8


@dataclass(frozen=True)
class Pace:
    """A variant's throughput over the reference's: of so many blocks, with the interval of 95 % for all."""

    ratio: float
    low: float
    high: float
    blocks: int = 0

    def within(self, width: float) -> bool:
        """Tells whether the interval's ends are within `width` of the ratio, as a share."""
        return self.high <= self.low * (1 + width) ** 2


# Beside itself: of no block, and known.
REFERENCE_PACE = Pace(1.0, 1.0, 1.0)


def paces(found: Mapping[Cell, Sequence[float]]) -> dict[Cell, Pace]:
    """Returns each variant's pace from the logarithms of its blocks' ratios, of which each has one at least.

    Student's t with the spread of all variants' blocks together, as in an analysis of variance (Fisher, Statistical
    Methods for Research Workers, 1925): it is the machine's unrest rather than a variant's, and two blocks of each
    of ten variants know it better than two of one. The intervals hold for all variants together (Bonferroni): of
    twelve that are as fast as the reference, one would else come out as surely faster in a quarter of all searches.
    They hold at a search's end, however often it was looked (SHARE).
    Everything is possible where no variant has two blocks.
    """
    from scipy.special import stdtrit

    freedom = sum(len(logs) - 1 for logs in found.values())
    if not freedom:
        return {cell: Pace(exp(fmean(logs)), 0.0, inf, len(logs)) for cell, logs in found.items()}
    middles = {cell: fmean(logs) for cell, logs in found.items()}
    squares = sum((one - middles[cell]) ** 2 for cell, logs in found.items() for one in logs)
    reach = float(stdtrit(freedom, 1 - SHARE * (1 - CONFIDENCE) / 2 / len(found))) * sqrt(squares / freedom)
    return {cell: _pace(middles[cell], reach / sqrt(len(logs)), len(logs)) for cell, logs in found.items()}


def _pace(middle: float, reach: float, blocks: int) -> Pace:
    return Pace(exp(middle), exp(middle - reach), exp(middle + reach), blocks)


def racing(known: Mapping[Cell, Pace], eligible: Collection[Cell]) -> list[Cell]:
    """Returns the variants that may be the fastest, the fastest first.

    All but those that are certainly slower than the best of the eligible, or than the reference.
    """
    bar = max([1.0, *(known[cell].low for cell in eligible if cell in known)])
    return sorted((cell for cell, pace in known.items() if pace.high >= bar), key=lambda cell: -known[cell].ratio)


def due(known: Mapping[Cell, Pace], eligible: Collection[Cell], width: float) -> list[tuple[Cell, int]]:
    """Returns who gets how many more blocks, in this order: those that may be the fastest as many as they had, or
    MOST_AT_ONCE.

    Nobody does where one of the eligible is left and surely faster than the reference; and none whose interval is
    within `width` of its ratio.
    """
    left = racing(known, eligible)
    may_win = [cell for cell in left if cell in eligible]
    if not may_win or (len(may_win) == 1 and known[may_win[0]].low > 1):
        return []
    return [(cell, min(known[cell].blocks, MOST_AT_ONCE)) for cell in left if not known[cell].within(width)]


def leader(known: Mapping[Cell, Pace], eligible: Collection[Cell], counts: Mapping[Cell, bool]) -> Cell | None:
    """Returns the fastest of the eligible where it would win if it counted and has no verdict yet, else None."""
    fastest = max((cell for cell in eligible if cell in known), key=lambda cell: known[cell].ratio, default=None)
    return fastest if fastest and fastest not in counts and known[fastest].low > 1 else None


def next_to_judge(known: Mapping[Cell, Pace], eligible: Collection[Cell], counts: Mapping[Cell, bool]) -> Cell | None:
    """Returns who gets full runs next of those without a verdict that may be the fastest of all that counts.

    That one counts does not end it, as long as another could be faster: its upper end against the lower end of what
    counts. First what would win, the fastest first; then the reference, which is the answer where nothing wins; then
    the others. None where nobody is left; what is certainly slower than the reference is nobody.
    """
    bar = max([1.0, *(known[cell].low for cell, passed in counts.items() if passed)])
    left = [cell for cell in eligible if cell in known and cell not in counts and known[cell].high >= bar]

    def rank(cell: Cell) -> tuple[bool, bool, float]:
        return known[cell].low > 1, cell.recipe == REFERENCE, known[cell].ratio

    return max(left, key=rank, default=None)


def winner(known: Mapping[Cell, Pace], counts: Mapping[Cell, bool]) -> Cell | None:
    """Returns the fastest of those that count and are surely faster than the reference, None where there is none."""
    sure = [cell for cell, passed in counts.items() if passed and known[cell].low > 1]
    return max(sure, key=lambda cell: known[cell].ratio, default=None)
