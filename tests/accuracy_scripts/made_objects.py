"""Objects in images, and detections of them, in the arrays that accuracy_scripts.objects takes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.objects import ABSENT, DETECTION, OBJECT, QUARTERS, SCORES

CATEGORIES, MOST, SIDE = 4, 5, 64


def objects_of(images: int, seed: int) -> NDArray[np.int64]:
    """Returns objects of images, some of which have none, shape (images, MOST, OBJECT)."""
    draw = np.random.default_rng(seed)
    found = np.full((images, MOST, OBJECT), ABSENT, np.int64)
    for image in range(images):
        for place in range(int(draw.integers(0, MOST + 1))):
            left, top = draw.integers(0, SIDE - 24, 2)
            wide, high = draw.integers(8, 24, 2)
            found[image, place] = (draw.integers(CATEGORIES), left, top, left + wide, top + high)
    return found


def payload_of(truth: NDArray[Any], score: int = SCORES) -> NDArray[np.int32]:
    """Returns the answers that find just the objects, all with this score, in thousandths."""
    found = np.full((*truth.shape[:2], DETECTION), ABSENT, np.int32)
    there = truth[..., 0] != ABSENT
    found[there, 0], found[there, 1] = truth[there, 0], score
    found[there, 2:] = QUARTERS * truth[there, 1:]
    return found.reshape(len(truth), -1)


def detected(truth: NDArray[np.int64], seed: int, *, lost: float = 0.1, apart: float = 2.0) -> NDArray[np.int32]:
    """Returns answers that lose some objects, find others nearby, twice or as another category, and some at nothing."""
    draw = np.random.default_rng(seed)
    rows = np.full((len(truth), 3 * MOST, DETECTION), ABSENT, np.int32)
    for image, objects in enumerate(truth):
        seen = []
        for category, *corners in objects[objects[:, 0] != ABSENT].tolist():
            for _ in range(1 + (draw.random() < 0.3)):
                if draw.random() >= lost:
                    named = category if draw.random() < 0.9 else int(draw.integers(CATEGORIES))
                    seen.append((named, corners + draw.normal(0, apart, 4), draw.normal(0.7, 0.2)))
        for _ in range(int(draw.integers(0, 3))):
            left, top = draw.uniform(0, SIDE - 16, 2)
            seen.append((int(draw.integers(CATEGORIES)), [left, top, left + 16, top + 16], draw.normal(0.4, 0.2)))
        # Few different scores: many are equal.
        order = sorted(((round(float(np.clip(score, 0.05, 1)), 2), *one) for *one, score in seen), key=lambda x: -x[0])
        for place, (score, category, corners) in enumerate(order):
            rows[image, place] = (category, round(SCORES * score), *np.rint(QUARTERS * np.asarray(corners)).astype(int))
    return rows.reshape(len(truth), -1)
