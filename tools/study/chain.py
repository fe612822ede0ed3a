"""The waterfall of a chain of optimizations: what each step added and cost, given the steps before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, hypot, log

from accuracy_scripts.paired import Outcomes
from tools.study.findings import Row
from tools.study.plan import REFERENCE, beginnings


@dataclass(frozen=True)
class Addition:
    """What a step added to the throughput, as a ratio to what was before it, and changed of the answers.

    `ends` is the 95 % interval of the ratio, None where one of both has none.
    """

    step: str
    ratio: float
    ends: tuple[float, float] | None
    outcomes: Outcomes


def chains(rows: Sequence[Row]) -> list[tuple[Row, list[Addition]]]:
    """Returns the rows of several steps of which each was measured, with what each step added."""
    by_recipe = {row.cell.recipe: row for row in rows if row.ratio}
    found = []
    for recipe, row in by_recipe.items():
        steps = [by_recipe.get(begun) for begun in beginnings(recipe)]
        known = [step for step in steps if step is not None]
        whole = len(known) == len(steps) > 1 and all(step.before for step in known)
        if whole and REFERENCE in by_recipe:
            found.append((row, waterfall(known)))
    return found


def waterfall(steps: Sequence[Row]) -> list[Addition]:
    """Returns what each step of a chain added; `steps` are the rows that its steps make one after another.

    The first is held against the reference. Contests of two rows are independent: the interval of their quotient is
    that of a difference of logarithms by the method of variance estimates recovery (Zou and Donner, Statistics in
    Medicine 27, 2008).
    """
    first = steps[0]
    assert first.before
    added = [Addition(first.cell.recipe, first.ratio, first.ends, first.before)]
    for before, after in pairwise(steps):
        assert after.before
        step = after.cell.recipe.rpartition("+")[2]
        added.append(Addition(step, after.ratio / before.ratio, _quotient(before, after), after.before))
    return added


def _quotient(before: Row, after: Row) -> tuple[float, float] | None:
    if not (before.ends and after.ends):
        return None
    ratio = log(after.ratio / before.ratio)
    low = hypot(log(after.ratio / after.ends[0]), log(before.ends[1] / before.ratio))
    high = hypot(log(after.ends[1] / after.ratio), log(before.ratio / before.ends[0]))
    return exp(ratio - low), exp(ratio + high)
