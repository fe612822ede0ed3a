"""Looks: a variant answers a few samples, then more, as long as they cannot tell and there is time.

On the samples that the reference has answered too, what is far below the target shows after a few hundred.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import CONFIDENCE
from reference_models.base import Dataset, Indices, Mark, Workload
from reference_models.forms import Form
from suite.probes import contest
from suite.probes.contest import Side

# Samples seen with each look but the last, which is at all of them. With 500 a loss of some 4 points is certain, with
# 2,000 one of 2, where the target allows 1.
SIZES = (500, 2000)
LOOKS = len(SIZES) + 1
# What ended the looks: all was seen that there is to compare with, time, or certainty.
ALL, TIME, CERTAIN = "all", "time", "certain"


class Part:
    """Some samples of a dataset as a dataset of their own, which numbers them from 0 on."""

    def __init__(self, whole: Dataset, indices: NDArray[np.int64]) -> None:
        self._whole, self._indices = whole, indices
        self.total = len(indices)
        self.digest = whole.digest
        self.preprocessing = whole.preprocessing

    def load(self, indices: Indices, decoded: bool = True) -> None:
        """Makes these of its samples resident, and no others."""
        self._whole.load(self._indices[np.asarray(indices)], decoded)

    def unload(self) -> None:
        """Drops what is resident."""
        self._whole.unload()

    def taken(self, form: Form) -> "Part":
        """Returns the same samples, none of them resident, in another form."""
        return Part(self._whole.taken(form), self._indices)

    def batch(self, indices: Indices) -> NDArray[Any]:
        """Returns samples, preprocessed."""
        return self._whole.batch(self._indices[np.asarray(indices)])

    def batch_marked(self, indices: Indices, mark: Mark) -> NDArray[Any]:
        """Returns the same, and marks what is done for it."""
        return self._whole.batch_marked(self._indices[np.asarray(indices)], mark)

    def truth(self) -> NDArray[np.int64]:
        """Returns the expected answer of each of its samples."""
        return self._whole.truth()[self._indices]


def order(total: int, seed: int) -> NDArray[np.int64]:
    """Returns all samples in the order in which they are looked at: at random, since some datasets are sorted."""
    return np.random.default_rng(seed).permutation(total)


def certainly_below(reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any], workload: Workload) -> bool:
    """Tells whether a variant misses its target with 95 %, by answers to the same samples, (n,) or (n, k) each.

    Its accuracy is the reference's, which is known of all samples, and the difference of both; the interval of the
    difference is widened so that it holds for all looks together (Bonferroni).
    """
    _, high = workload.judge.compare(reference, variant, truth).interval(1 - (1 - CONFIDENCE) / LOOKS)
    return workload.quality + 100 * high < workload.target


def answers(side: Side, seed: int, seconds: float, reference: Sequence[Any] | None) -> tuple[NDArray[Any], str]:
    """Returns the answers to the first samples in the seed's order, shape (n,) or (n, k), and what ended them.

    They are as many as are needed and fit the time.

    The first look is always taken, the next where it would end within `seconds` at the pace so far. With the
    reference's own answers to these samples it ends where it is certainly below the target.
    """
    subject = side.subject
    samples = order(subject.dataset.total, seed)[: None if reference is None else len(reference)]
    found: NDArray[Any] = np.empty(0, subject.workload.payload_dtype)
    answering_s = 0.0
    for size in sorted({*(size for size in SIZES if size < len(samples)), len(samples)}):
        if len(found) and answering_s * size / len(found) > seconds:
            return found, TIME
        started = time.perf_counter()
        part = Part(subject.dataset, samples[len(found) : size])
        part.load(range(part.total))
        more = contest.answers(replace(side, subject=replace(subject, dataset=part)))
        found = np.concatenate([found, more]) if len(found) else more
        # Judging is not answering: it takes as long however many are left.
        answering_s += time.perf_counter() - started
        truth = subject.dataset.truth()[samples[:size]]
        if reference is not None and certainly_below(
            np.array(reference[:size], found.dtype), found, truth, subject.workload
        ):
            return found, CERTAIN
    return found, ALL
