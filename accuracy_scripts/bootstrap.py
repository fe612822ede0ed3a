"""Paired bootstrap: how sure the difference of two scores on the same samples is, by drawing the samples anew.

For what is no share of right answers: mAP over images, F1 and ROUGE over samples. Both sides get the same draws, so
that what a hard sample costs both cancels out (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter
13; Koehn, Statistical significance tests for machine translation evaluation, EMNLP 2004). The interval is that of
percentiles.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import CONFIDENCE, UNKNOWN, Certificate, judged

DRAWS, SEED = 2000, 11
# Where the two differ on fewer samples, drawing these anew does not tell what others would do; nor do as few at all.
FEWEST = 20
# A smaller difference of two scores is rounding.
LEAST_APART = 1e-9
# So many counts at a time.
AT_ONCE = 2_000_000

# A score by how often each sample is there: counts of shape (draws, samples) to scores of shape (draws,).
Score = Callable[[NDArray[np.int64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Difference:
    """Two scores of the same samples, the second minus the first with its ends; `differing` samples are not alike."""

    reference: float
    variant: float
    low: float
    high: float
    samples: int
    differing: int

    @property
    def value(self) -> float:
        """The variant's score minus the reference's."""
        return self.variant - self.reference


def of_means(reference: NDArray[np.float64], variant: NDArray[np.float64], draws: int = DRAWS) -> Difference:
    """Returns the difference of two means of scores from 0 to 1, shape (n,) each, such as F1 or ROUGE a sample.

    Two samples are added, one that gained and one that lost as much as any did, or all of it where FEWEST did not
    differ: what was seen on no sample may be on the next (as Agresti and Min add to the counts of pairs, Statistics in
    Medicine 24, 2005).
    """
    apart = variant - reference
    differing = int(np.count_nonzero(np.abs(apart) > LEAST_APART))
    most = float(np.abs(apart).max()) if differing >= FEWEST else 1.0
    added = np.array([*apart, -most, most])
    low, high = _ends(lambda counts: counts @ added / len(apart), len(added), draws)
    return Difference(float(reference.mean()), float(variant.mean()), low, high, len(apart), differing)


def of_scores(
    reference: Score, variant: Score, samples: int, differing: int, draws: int = DRAWS, values: int = 0
) -> Difference:
    """Returns the difference of two scores that are no means, of so many samples.

    `values`: so many numbers a score takes of each draw, where they are more than the samples.
    """
    once = np.ones((1, samples), np.int64)
    low, high = _ends(lambda counts: variant(counts) - reference(counts), samples, draws, values)
    return Difference(float(reference(once)[0]), float(variant(once)[0]), low, high, samples, differing)


def certify(found: Difference, margin: float) -> Certificate:
    """Returns whether a loss is within `margin`; nobody can tell by fewer than FEWEST samples, or from no spread."""
    if found.samples < FEWEST or found.low == found.high:
        return Certificate(margin, UNKNOWN, -1)
    return judged(found.value, (found.low, found.high), found.samples, margin)


def too_few(found: Difference, what: str, *, of_matches: bool) -> str:
    """Returns why nobody can tell, whatever the interval is; nothing where it tells.

    `what` are the samples; those that differ have to be enough where the scores are of matches.
    """
    if found.samples < FEWEST:
        return f": fewer than {FEWEST} {what}"
    return f": fewer than {FEWEST} {what} have other matches" if of_matches and found.differing < FEWEST else ""


def _ends(difference: Score, samples: int, draws: int, values: int = 0) -> tuple[float, float]:
    """Returns the percentiles of a difference between which CONFIDENCE of the draws lie that have one."""
    found = np.concatenate([difference(counts) for counts in drawn(samples, draws, max(samples, values))])
    low, high = np.nanquantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def drawn(samples: int, draws: int, values: int) -> Iterator[NDArray[np.int64]]:
    """Yields how often each sample is drawn, shape (some draws, samples), as many as `values` of each allow."""
    generator, some = np.random.default_rng(SEED), max(1, AT_ONCE // values)
    for begin in range(0, draws, some):
        rows = min(some, draws - begin)
        places = generator.integers(samples, size=(rows, samples)) + samples * np.arange(rows)[:, None]
        yield np.bincount(places.reshape(-1), minlength=rows * samples).reshape(rows, samples)
