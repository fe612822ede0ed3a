"""Judges what was detected in images, by COCO's mean average precision, where all of it is in arrays.

Matching is COCO's (IoU 0.50 to 0.95, each detection, the surest first, with the free object of its category that it
overlaps most), of many images at a time: pycocotools takes some seconds for 2,000 images, and a study judges hundreds
of answer logs. What comes out is pycocotools' own (tests/accuracy_scripts/test_objects.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts import bootstrap
from accuracy_scripts.detection import MOST_DETECTIONS, Category, average_precision, mean_over_categories
from accuracy_scripts.paired import CONFIDENCE, Outcomes, SliceOutcome, counted, sliced
from common.errors import UsageError
from common.files import sha256_bytes
from common.statistics import normal_quantile

TITLE, COUNTED = "mAP", "objects"

# An object: category, left, top, right and bottom in pixels. A detection: category, score in thousandths, and the
# corners in quarters of a pixel. What is none is all ABSENT.
OBJECT, DETECTION = 5, 6
ABSENT = -1
SCORES, QUARTERS = 1000, 4

# COCO's.
THRESHOLDS = np.linspace(0.5, 0.95, 10)
# An image is right where what is detected with this score, in thousandths, or more, are its objects and nothing else.
SURE = 500
# As many draws of images tell an interval of a study's many variants, in a second each.
DRAWS = 1000
# Where fewer draws lie beyond an end, that is a matter of chance.
FEWEST_BEYOND = 10


@dataclass(frozen=True, eq=False)
class Detected:
    """Detections of n images, D each: `category` (n, D), ABSENT for none, `score` (n, D), `corners` in pixels."""

    category: NDArray[np.int64]
    score: NDArray[np.int64]
    corners: NDArray[np.float64]

    @staticmethod
    def of(answers: NDArray[Any]) -> "Detected":
        """Returns the detections of answers (n, D * DETECTION); raises UsageError where they are none."""
        if answers.ndim != 2 or answers.shape[1] % DETECTION or answers.dtype.kind != "i":
            raise UsageError(
                f"An answer is {DETECTION} whole numbers for each detection, not {answers.dtype} of shape "
                f"{answers.shape[1:]}: the data type may be wrong."
            )
        if answers.shape[1] > MOST_DETECTIONS * DETECTION:
            # COCO counts no more, and what nobody bounds takes all memory.
            raise UsageError(
                f"An answer holds {answers.shape[1] // DETECTION} detections, of which {MOST_DETECTIONS} count at most."
            )
        rows = answers.astype(np.int64).reshape(len(answers), -1, DETECTION)
        return Detected(rows[..., 0], rows[..., 1], rows[..., 2:] / QUARTERS)

    @property
    def there(self) -> NDArray[np.bool_]:
        """Where there is a detection."""
        return np.asarray(self.category != ABSENT)

    @cached_property
    def ranked(self) -> NDArray[np.int64]:
        """The places of each image's detections, the surest first, and of equals in their order."""
        return np.argsort(-self.score, axis=1, kind="stable")

    @property
    def sure(self) -> NDArray[np.bool_]:
        """Where there is one that is sure enough to be shown to people."""
        return self.there & (self.score >= SURE)

    def objects(self) -> NDArray[np.float64]:
        """Returns those that are sure as if they were objects, shape (n, D, OBJECT)."""
        found = np.concatenate([self.category[..., None], self.corners], axis=2)
        found[~self.sure] = ABSENT
        return found


def matches(found: Detected, truth: NDArray[Any]) -> NDArray[np.int64]:
    """Returns with which object each detection is matched at each of THRESHOLDS, shape (thresholds, n, D), else ABSENT.

    `truth` are the objects, shape (n, M, OBJECT). The detections of an image are ranked by their scores first, and by
    their order where these are equal.
    """
    images, ranks = found.category.shape
    shared = overlaps(found.corners, truth[..., 1:].astype(np.float64))
    fits = found.there[..., None] & (found.category[..., None] == truth[:, None, :, 0])
    shared = np.where(fits, shared, -1.0)
    order = found.ranked
    least = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None, None]
    free = np.ones((len(THRESHOLDS), images, truth.shape[1]), bool)
    matched = np.full((len(THRESHOLDS), images, ranks), ABSENT, np.int64)
    every, levels = np.arange(images), np.arange(len(THRESHOLDS))[:, None]
    for rank in range(ranks if truth.shape[1] else 0):
        place = order[:, rank]
        open_to = np.where(free, shared[every, place][None], -1.0)
        # Of equals the last, as pycocotools has it.
        best = truth.shape[1] - 1 - open_to[..., ::-1].argmax(axis=2)
        good = np.take_along_axis(open_to, best[..., None], axis=2) >= least
        hit = good[..., 0]
        matched[:, every, place] = np.where(hit, best, ABSENT)
        free[levels, every, best] &= ~hit
    return matched


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Returns the intersection of boxes (..., n, 4) with boxes (..., m, 4) over their union, shape (..., n, m)."""
    one, other = first[..., :, None, :], second[..., None, :, :]
    wide = np.minimum(one[..., 2], other[..., 2]) - np.maximum(one[..., 0], other[..., 0])
    high = np.minimum(one[..., 3], other[..., 3]) - np.maximum(one[..., 1], other[..., 1])
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    areas = [
        np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)
        for boxes in (first, second)
    ]
    union = areas[0][..., :, None] + areas[1][..., None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


@dataclass(frozen=True, eq=False)
class Judged:
    """Detections judged by the objects of their images: what is right, shape (n,), what is found, and by category.

    `found_objects`: with which objects something sure is matched at the first threshold, shape (n, M).
    """

    right: NDArray[np.bool_]
    found_objects: NDArray[np.bool_]
    categories: Sequence[Category]

    @staticmethod
    def of(found: Detected, truth: NDArray[Any]) -> "Judged":
        """Returns what is found beside the objects (n, M, OBJECT)."""
        matched = matches(found, truth)
        there = truth[..., 0] != ABSENT
        sure = np.where(found.sure, matched[0], ABSENT)
        # What is matched with none marks a column of its own.
        marked = np.zeros((len(truth), truth.shape[1] + 1), bool)
        np.put_along_axis(marked, sure % (truth.shape[1] + 1), True, axis=1)
        objects = marked[:, :-1] & there
        count = there.sum(axis=1)
        right = (found.sure.sum(axis=1) == count) & (objects.sum(axis=1) == count)
        numbers = range(int(truth[..., 0].max(initial=ABSENT)) + 1)
        return Judged(right, objects, [_category(number, found, truth, matched) for number in numbers])

    @cached_property
    def drawn(self) -> NDArray[np.float64]:
        """Average precision of each category in DRAWS draws of images, the same for all detections of as many."""
        images = len(self.right)
        most = max([images, *(len(one.image) for one in self.categories)])
        draws = bootstrap.drawn(images, DRAWS, most)
        return np.concatenate([_precisions(self.categories, counts) for counts in draws], axis=1)

    @cached_property
    def precisions(self) -> NDArray[np.float64]:
        """Average precision of each category, nan where there is no object of it, shape (categories,)."""
        return _precisions(self.categories, np.ones((1, len(self.right)), np.int64))[:, 0]

    @property
    def mean(self) -> float:
        """COCO's mean average precision, from 0 to 1."""
        return float(mean_over_categories(self.precisions[:, None])[0])


def _category(number: int, found: Detected, truth: NDArray[Any], matched: NDArray[np.int64]) -> Category:
    """Returns the detections of a category, the surest of all images first."""
    image, rank = np.nonzero(np.take_along_axis(found.category, found.ranked, axis=1) == number)
    place = found.ranked[image, rank]
    order = np.argsort(-found.score[image, place], kind="stable")
    image, place = image[order], place[order]
    right = matched[:, image, place] != ABSENT
    return Category(image, right, np.zeros_like(right), (truth[..., 0] == number).sum(axis=1))


def _precisions(categories: Sequence[Category], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([average_precision(one, counts) for one in categories])


class _Same:
    """An array that equals any of the same content; it can be taken once, since a cache keeps what it is asked by."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array: NDArray[Any] | None = np.ascontiguousarray(array)
        self._key = f"{self._array.dtype.str}{self._array.shape}{sha256_bytes(self._array.tobytes())}"

    def taken(self) -> NDArray[Any]:
        """Returns the array, and lets go of it."""
        array, self._array = self._array, None
        assert array is not None
        return array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._key == self._key

    def __hash__(self) -> int:
        return hash(self._key)


# A study holds its answers against the same few references, and asks for each several times; one takes some 0.5 MB.
@lru_cache(maxsize=128)
def _judged(answers: _Same, truth: _Same) -> Judged:
    return Judged.of(Detected.of(answers.taken()), truth.taken())


def judged(answers: NDArray[Any], truth: NDArray[Any]) -> Judged:
    """Returns answers (n, D * DETECTION) beside the objects (n, M, OBJECT); raises UsageError where they are none."""
    if len(answers) != len(truth):
        raise UsageError(f"There are {len(answers)} answers to {len(truth)} samples.")
    return _judged(_Same(answers), _Same(truth))


def score(answers: NDArray[Any], truth: NDArray[Any]) -> dict[str, Any]:
    """Returns mAP (COCO's, IoU 0.50 to 0.95) with its 95 % interval by a bootstrap over images, in percent.

    Besides: `right_images` of `total`. Raises UsageError where the answers are no detections, or no image has objects.
    """
    if not (truth[..., 0] != ABSENT).any():
        raise UsageError("There is nothing to score: no image has an object.")
    found = judged(answers, truth)
    low, high = _quantiles(mean_over_categories(found.drawn), CONFIDENCE)
    return {
        "mAP": 100 * found.mean,
        "low_95": 100 * low,
        "high_95": 100 * high,
        "right_images": int(found.right.sum()),
        "total": len(truth),
    }


def right(answers: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of each image whether what is surely detected are its objects and nothing else, shape (n,).

    By category and an IoU of 0.5 or more.
    """
    return judged(answers, truth).right


def agree(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of each image whether what both sides surely detect are the same objects, shape (n,), as `right` does."""
    return right(one, Detected.of(other).objects())


@dataclass(frozen=True, eq=False)
class PrecisionOutcomes(Outcomes):
    """Outcomes of images, or of objects, beside the average precision of both sides, from 0 to 1.

    `apart` is the difference in each draw of images; the same are drawn for both sides, so that what a hard one costs
    both cancels out. `images`: so many have a say in it.
    """

    reference_precision: float
    variant_precision: float
    apart: NDArray[np.float64]
    images: int

    @property
    def reference_share(self) -> float:
        """The reference's average precision."""
        return self.reference_precision

    @property
    def variant_share(self) -> float:
        """The variant's average precision."""
        return self.variant_precision

    @property
    def difference(self) -> float:
        """The variant's average precision minus the reference's."""
        return self.variant_precision - self.reference_precision

    @property
    def error_ratio(self) -> None:
        """An average precision is no share of errors."""
        return None

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Returns the interval of the difference: percentiles of a paired bootstrap, and what was seen on no image.

        Beyond what so few draws tell it is that of a normal distribution with their spread. Either side is at least as
        far away as if those images lost or won all of which none was seen among so many (Clopper and Pearson): of
        variants that hardly differ the draws alone have no width.
        """
        from scipy.stats import beta

        low, high = _quantiles(self.apart, confidence)
        if (1 - confidence) / 2 * len(self.apart) < FEWEST_BEYOND:
            half = normal_quantile((1 + confidence) / 2) * float(np.nanstd(self.apart))
            low, high = self.difference - half, self.difference + half
        unseen = float(beta.ppf((1 + confidence) / 2, 1, max(1, self.images)))
        return min(low, self.difference - unseen), max(high, self.difference + unseen)

    def margin_p_value(self, margin: float) -> float:
        """How likely a variant that loses just `margin` comes out so far from it, by a normal distribution.

        It is as wide as the interval on that side: where that ends at the margin, this is what its confidence leaves.
        """
        low, high = self.interval()
        end = low if self.difference > -margin else high
        spread = abs(self.difference - end) / normal_quantile((1 + CONFIDENCE) / 2)
        return math.erfc(abs(self.difference + margin) / spread / math.sqrt(2))

    @property
    def p_value(self) -> float:
        """How likely two equals differ so much."""
        return self.margin_p_value(0.0)


def _quantiles(draws: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    low, high = np.nanquantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def compare(reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any]) -> PrecisionOutcomes:
    """Returns what became of the images, and the difference of mAP; raises ValueError where there are none."""
    if not len(truth) or not len(reference) == len(variant) == len(truth):
        raise ValueError(f"{len(reference)} and {len(variant)} answers are no pairs for {len(truth)} samples")
    ours, theirs = judged(reference, truth), judged(variant, truth)
    apart = mean_over_categories(theirs.drawn) - mean_over_categories(ours.drawn)
    counts = counted(ours.right, theirs.right, _changed(ours, theirs, reference, variant))
    return PrecisionOutcomes(
        **counts.counts,
        reference_precision=ours.mean,
        variant_precision=theirs.mean,
        apart=apart,
        images=len(truth),
    )


def _changed(ours: Judged, theirs: Judged, reference: NDArray[Any], variant: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of which images two sides do not say the same: where one alone is right they do not, either."""
    return np.asarray(~agree(variant, reference) | (ours.right != theirs.right))


def by_class(reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any]) -> list[SliceOutcome]:
    """Returns each category's average precision and how many of its objects are found, the greatest loss first.

    Categories of which there is no object are left out.
    """
    ours, theirs = judged(reference, truth), judged(variant, truth)
    labels = np.flatnonzero(np.isfinite(ours.precisions))
    found = []
    for label in labels.tolist():
        own = truth[..., 0] == label
        one, other = ours.found_objects[own], theirs.found_objects[own]
        outcomes = PrecisionOutcomes(
            **counted(one, other, one != other).counts,
            reference_precision=float(ours.precisions[label]),
            variant_precision=float(theirs.precisions[label]),
            apart=theirs.drawn[label] - ours.drawn[label],
            # Those that show one.
            images=int(np.count_nonzero(own.any(axis=1))),
        )
        found.append(SliceOutcome(label, outcomes, *outcomes.interval(1 - (1 - CONFIDENCE) / len(labels))))
    return sorted(found, key=lambda one: one.outcomes.difference)


def by_slice(
    reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any], slices: NDArray[Any]
) -> list[SliceOutcome]:
    """Returns how many images of each slice are right, in order; `slices` has each one's, a whole number, (n,)."""
    ours, theirs = judged(reference, truth), judged(variant, truth)
    return sliced(ours.right, theirs.right, _changed(ours, theirs, reference, variant), slices)
