"""Two sets of answers to the same samples: what became of each sample, and whether that is within a margin.

What both have right, or both have wrong, cancels out: only the samples on which they differ make the interval wide.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.statistics import mcnemar_exact, normal_quantile, paired_difference_interval, paired_ratio_interval

CONFIDENCE = 0.95
# Where a p-value is sought: beyond this many standard deviations it is 0 in float64; so many halvings are exact enough.
MOST_Z, HALVINGS = 40.0, 40
CERTIFIED, REGRESSION, UNKNOWN = "certified", "regression certified", "cannot tell"


@dataclass(frozen=True)
class Outcomes:
    """How many samples are right with both, with one alone, with neither; and how many answers changed at all."""

    both: int
    only_reference: int
    only_variant: int
    neither: int
    changed: int

    @property
    def counts(self) -> dict[str, int]:
        """The numbers themselves, by name."""
        return {field.name: getattr(self, field.name) for field in fields(Outcomes)}

    @property
    def total(self) -> int:
        """The number of samples."""
        return self.both + self.only_reference + self.only_variant + self.neither

    @property
    def reference_share(self) -> float:
        """The reference's share of right answers."""
        return (self.both + self.only_reference) / self.total

    @property
    def variant_share(self) -> float:
        """The variant's share of right answers."""
        return (self.both + self.only_variant) / self.total

    @property
    def difference(self) -> float:
        """The variant's share of right answers minus the reference's."""
        return (self.only_variant - self.only_reference) / self.total

    @property
    def swapped(self) -> int:
        """How many answers changed that are wrong with both."""
        return self.changed - self.only_reference - self.only_variant

    @property
    def error_ratio(self) -> tuple[float, float, float] | None:
        """The variant's errors over the reference's and the ends of its 95 % interval; None where one has none."""
        ours, theirs = self.neither + self.only_variant, self.neither + self.only_reference
        if not ours or not theirs:
            return None
        return theirs / ours, *paired_ratio_interval(self.neither, self.only_variant, self.only_reference)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Returns the interval of the difference (Newcombe's method 10)."""
        counts = (self.both, self.only_reference, self.only_variant, self.neither)
        return paired_difference_interval(*counts, normal_quantile((1 + confidence) / 2))

    def margin_p_value(self, margin: float) -> float:
        """How likely a variant that loses just `margin` comes out so far from it, on either side.

        Where the interval above ends at the margin, what its confidence leaves.
        """
        above = self.difference > -margin
        if self.difference == -margin:
            return 1.0

        def clear(z: float) -> bool:
            counts = (self.both, self.only_reference, self.only_variant, self.neither)
            low, high = paired_difference_interval(*counts, z)
            return low > -margin if above else high < -margin

        low, high = 0.0, MOST_Z
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if clear(middle) else (low, middle)
        return math.erfc(low / math.sqrt(2))

    @property
    def p_value(self) -> float:
        """How likely two equals differ so much (McNemar's exact test, two-sided)."""
        return mcnemar_exact(self.only_reference, self.only_variant)


@dataclass(frozen=True)
class Certificate:
    """What the outcomes say of a margin: the variant loses less (certified), more (regression), or either.

    `more_samples`: how many more like these would tell, if they came out alike; 0 where it is told, and -1
    where no number would, since the loss is just the margin.
    """

    margin: float
    outcome: str
    more_samples: int


def compare(reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any]) -> Outcomes:
    """Returns the outcomes of answers in index order, shape (n,) each; raises ValueError where there are none."""
    if not len(truth) or not len(reference) == len(variant) == len(truth):
        raise ValueError(f"{len(reference)} and {len(variant)} answers are no pairs for {len(truth)} samples")
    return counted(reference == truth, variant == truth, reference != variant)


def counted(reference: NDArray[np.bool_], variant: NDArray[np.bool_], changed: NDArray[np.bool_]) -> Outcomes:
    """Returns the outcomes of samples that each side has right or not, and that changed or not, shape (n,) each."""
    counts = (
        reference & variant,
        reference & ~variant,
        ~reference & variant,
        ~reference & ~variant,
        changed,
    )
    return Outcomes(*(int(np.count_nonzero(count)) for count in counts))


def certify(outcomes: Outcomes, margin: float) -> Certificate:
    """Returns whether the variant's loss is within `margin`, a share of the samples, by the interval's two ends."""
    return judged(outcomes.difference, outcomes.interval(), outcomes.total, margin)


def judged(difference: float, ends: tuple[float, float], total: int, margin: float) -> Certificate:
    """Returns what a difference with its interval, on so many samples, says of a margin."""
    low, high = ends
    if low > -margin:
        return Certificate(margin, CERTIFIED, 0)
    if high < -margin:
        return Certificate(margin, REGRESSION, 0)
    distance = abs(difference + margin)
    if not distance:
        # On the margin itself no number of samples tells.
        return Certificate(margin, UNKNOWN, -1)
    needed = math.ceil(total * ((high - low) / 2 / distance) ** 2)
    return Certificate(margin, UNKNOWN, max(1, needed - total))


def samples_needed(reference_share: float, changed: float, margin: float, power: float) -> int:
    """Returns how many samples certify a variant as good as its reference with this power, within `margin`.

    `changed` is the share of samples that just one of both has right. The fewest of which the interval above still
    clears the margin where the difference falls as low as it does with a chance of 1 - `power`. Raises ValueError where
    such shares cannot be.
    """
    if not (0 < margin < 1 and 0 < power < 1 and 0 <= changed / 2 <= min(reference_share, 1 - reference_share)):
        raise ValueError(f"shares of {reference_share}, {changed}, {margin} and {power} are impossible")

    def enough(total: int) -> bool:
        lost = max(0.0, normal_quantile(power)) * math.sqrt(changed * total)
        only_reference = min(round(changed * total), round((changed * total + lost) / 2))
        only_variant = round(changed * total) - only_reference
        both = min(total - only_reference - only_variant, round(reference_share * total) - only_reference)
        outcomes = Outcomes(both, only_reference, only_variant, total - both - only_reference - only_variant, 0)
        return certify(outcomes, margin).outcome == CERTIFIED

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class SliceOutcome:
    """A slice's outcomes, and the interval of its difference among all slices at once (Bonferroni)."""

    label: int
    outcomes: Outcomes
    low: float
    high: float


def by_class(reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any]) -> list[SliceOutcome]:
    """Returns each class's outcomes, the greatest loss first."""
    return sorted(by_slice(reference, variant, truth, truth), key=lambda one: one.outcomes.difference)


def by_slice(
    reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any], slices: NDArray[Any]
) -> list[SliceOutcome]:
    """Returns the outcomes of each slice, in order; `slices` has each sample's, a whole number, shape (n,)."""
    return sliced(reference == truth, variant == truth, reference != variant, slices)


def sliced(
    reference: NDArray[np.bool_], variant: NDArray[np.bool_], changed: NDArray[np.bool_], slices: NDArray[Any]
) -> list[SliceOutcome]:
    """Returns the same of samples that each side has right or not, and that changed or not, shape (n,) each."""
    labels = np.unique(slices)
    found = []
    for label in labels:
        own = slices == label
        outcomes = counted(reference[own], variant[own], changed[own])
        low, high = outcomes.interval(1 - (1 - CONFIDENCE) / len(labels))
        found.append(SliceOutcome(int(label), outcomes, low, high))
    return found


def fifths(confidence: NDArray[Any]) -> NDArray[np.int64]:
    """Returns for each sample in which fifth its confidence is, shape (n,), from 0, the least, to 4."""
    return np.searchsorted(np.quantile(confidence, (0.2, 0.4, 0.6, 0.8)), confidence)
