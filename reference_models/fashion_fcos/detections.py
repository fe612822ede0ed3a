"""From the network's outputs to detections: decoded, the surest, without those that overlap."""

from functools import partial
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.objects import ABSENT, DETECTION, QUARTERS, SCORES
from reference_models.datasets.fashion_scenes import CLASSES, SIDE
from reference_models.suppression import Steps, kept

# Locations lie so many pixels apart.
STRIDE = 4
CELLS = SIDE // STRIDE
OUTPUT_SHAPE = (CLASSES + 4, CELLS, CELLS)

# What the reference does; a scene has six objects at most.
REFERENCE = Steps(score=0.05, iou=0.5, top=100, keep=16)

# Of so many images what is compared, each candidate with each, stays in a core's own cache.
AT_ONCE = 64

_ROWS, _COLUMNS = (STRIDE * axis.reshape(-1) + STRIDE // 2 for axis in np.indices((CELLS, CELLS)))
# Left, top, right and bottom of what has no size yet.
_CENTRES = np.stack([_COLUMNS, _ROWS, _COLUMNS, _ROWS], axis=1).astype(np.float32)
_OUTWARDS = STRIDE * np.array([-1, -1, 1, 1], np.float32)
# A box as large as the image has a logarithm of less than 3; what is far beyond is no float any more.
_MOST_LOG = np.float32(10)


def detections(outputs: NDArray[Any], steps: Steps = REFERENCE) -> NDArray[np.int32]:
    """Returns what is detected, shape (n, keep * DETECTION), of raw outputs (n, 14, 16, 16); of the surest first.

    A location names the category of its greatest logit alone.
    """
    if len(outputs) > AT_ONCE:
        parts = [outputs[begin : begin + AT_ONCE] for begin in range(0, len(outputs), AT_ONCE)]
        return np.concatenate([detections(part, steps) for part in parts])
    count = len(outputs)
    raw = outputs.reshape(count, CLASSES + 4, -1)
    logits = raw[:, :CLASSES].max(axis=1)
    passed = logits > _logit(steps.score)
    places = _surest(logits, min(steps.top, int(passed.sum(axis=1).max(initial=0))))
    chosen = np.take_along_axis(raw, places[:, None, :], axis=2)
    categories, sureness = chosen[:, :CLASSES].argmax(axis=1), chosen[:, :CLASSES].max(axis=1)
    distances = np.exp(np.minimum(chosen[:, CLASSES:], _MOST_LOG)).transpose(0, 2, 1)
    corners = np.clip(_CENTRES[places] + distances * _OUTWARDS, 0, SIDE)
    left = kept(corners, categories, np.take_along_axis(passed, places, axis=1), steps)
    return _payload(categories, sureness, corners, left, steps.keep)


def with_steps(steps: Steps) -> "partial[NDArray[np.int32]]":
    """Returns what makes detections by other steps than the reference's."""
    return partial(detections, steps=steps)


def confidence(outputs: NDArray[Any]) -> NDArray[np.float64]:
    """Returns how far the score that is nearest to one half is from it, shape (n,), from 0 to 1.

    There a detection is sure or not: the nearer, the less it takes to change what is detected.
    """
    logits = outputs[:, :CLASSES].reshape(len(outputs), -1)
    nearest = np.abs(logits).min(axis=1).astype(np.float64)
    return np.asarray(np.tanh(nearest / 2))


def _logit(score: float) -> float:
    """Returns the logit of a score from 0 to 1."""
    return log(score / (1 - score)) if 0 < score < 1 else float("-inf" if score <= 0 else "inf")


def _surest(logits: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Returns the places of the greatest logits of each image, the greatest first, shape (n, most)."""
    if most == 0:
        return np.zeros((len(logits), 0), np.int64)
    if most < logits.shape[1]:
        places = np.argpartition(-logits, most - 1, axis=1)[:, :most]
        # Of equals the first comes first, in batches of any size.
        places.sort(axis=1)
    else:
        places = np.broadcast_to(np.arange(logits.shape[1]), logits.shape)
    order = np.argsort(-np.take_along_axis(logits, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)


def _payload(
    categories: NDArray[np.int64],
    sureness: NDArray[Any],
    corners: NDArray[Any],
    left: NDArray[np.bool_],
    most: int,
) -> NDArray[np.int32]:
    """Returns the candidates that are left as rows of whole numbers; REFERENCE.keep of them, so that all are alike."""
    found = np.full((len(left), REFERENCE.keep, DETECTION), ABSENT, np.int32)
    rank = left.cumsum(axis=1) - 1
    image, place = np.nonzero(left & (rank < most))
    row = rank[image, place]
    found[image, row, 0] = categories[image, place]
    # What is no number fails the run, whatever is made of it here.
    with np.errstate(invalid="ignore"):
        found[image, row, 1] = np.rint(SCORES / (1 + np.exp(-sureness[image, place])))
        found[image, row, 2:] = np.rint(QUARTERS * corners[image, place])
    return found.reshape(len(left), -1)
