"""The steps from a detector's candidates, thousands an image, to its detections."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.objects import overlaps
from common.errors import UsageError
from common.names import unknown
from reference_models.suppression import ALL_CLASSES, FAST, KINDS, NONE, Steps

# The least and the most of each number.
RANGES: Mapping[str, tuple[float, float]] = {"score": (0, 1), "iou": (0, 1), "top": (1, 1e6), "keep": (1, 1e6)}

ROWS = 512
# Which images are timed, where a round over all would take too long.
SEED = 3

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Candidates:
    """An image's candidate boxes: corners, shape (n, 4) as x, y, x, y in pixels, scores and categories, shape (n,).

    Categories are numbered from 0 on: large numbers would take pixels of the corners' precision.
    """

    corners: Numbers
    scores: Numbers
    categories: Places


def parse(text: str, base: Steps) -> Steps:
    """Returns `base` with what a text such as score=0.3,nms=fast changes; raises UsageError for anything else."""
    names = [field.name for field in fields(Steps)]
    changes: dict[str, Any] = {}
    for word in text.split(","):
        key, equals, value = word.partition("=")
        if key not in names:
            raise unknown("step of post-processing", key, names)
        if not equals or key in changes:
            raise UsageError(f"'{text}' must give {key} one value, as in {key}={getattr(base, key)}.")
        changes[key] = _choice(value) if key == "nms" else _number(key, value)
    return replace(base, **changes)


def _choice(value: str) -> str:
    if value not in KINDS:
        raise unknown("nms", value, KINDS)
    return value


def _number(key: str, text: str) -> float | int:
    least, most = RANGES[key]
    whole = isinstance(getattr(Steps(), key), int)
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise UsageError(f"{key} is '{text}'; it is a {'whole ' if whole else ''}number from {least:g} to {most:g}.")
    return value


def chosen(found: Candidates, steps: Steps) -> Places:
    """Returns which of an image's candidates are its detections, the surest first, shape (m,)."""
    passed = np.flatnonzero(found.scores > steps.score)
    # Stable: of equal scores the first comes first.
    order = passed[np.argsort(-found.scores[passed], kind="stable")][: steps.top]
    if steps.nms == NONE or not len(order):
        return order[: steps.keep]
    corners = found.corners[order]
    if steps.nms != ALL_CLASSES:
        corners = _apart(corners, found.categories[order])
    suppress = _fast if steps.nms == FAST else _greedy
    return order[suppress(corners, steps.iou, steps.keep)]


def _apart(corners: Numbers, categories: Places) -> Numbers:
    """Returns boxes of which those of other categories lie nowhere near."""
    side = corners.max() - corners.min() + 1
    return np.asarray(corners + (categories * side)[:, None])


def _greedy(corners: Numbers, iou: float, most: int) -> Places:
    left, kept = np.arange(len(corners)), list[int]()
    while len(left) and len(kept) < most:
        kept.append(int(left[0]))
        left = left[1:][overlaps(corners[left[:1]], corners[left[1:]])[0] <= iou]
    return np.array(kept, np.int64)


def _fast(corners: Numbers, iou: float, most: int) -> Places:
    nearest = np.zeros(len(corners))
    # Some rows at a time: all against all would not fit where there are very many.
    for begin in range(0, len(corners), ROWS):
        surer = np.triu(overlaps(corners[begin : begin + ROWS], corners), begin + 1)
        nearest = np.maximum(nearest, surer.max(axis=0))
    return np.flatnonzero(nearest <= iou)[:most]


def timed_on(images: list[Candidates], base: Steps, seconds: float, now: Callable[[], float]) -> list[Candidates]:
    """Returns images, drawn at random, that the reference's steps take so many seconds for, or all of them."""
    drawn = [images[place] for place in np.random.default_rng(SEED).permutation(len(images))]
    begun = now()
    for count, one in enumerate(drawn, 1):
        chosen(one, base)
        if now() - begun >= seconds:
            return drawn[:count]
    return drawn


def rate(images: list[Candidates], seconds: float, now: Callable[[], float]) -> Callable[[Steps], float]:
    """Returns what times steps over these images, in whole rounds for so many seconds at least, in images/s."""

    def timed(steps: Steps) -> float:
        begun, count = now(), 0
        while count == 0 or now() - begun < seconds:
            for one in images:
                chosen(one, steps)
            count += len(images)
        return count / (now() - begun)

    return timed
