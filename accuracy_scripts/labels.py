"""Judges answers that are classes, one a sample: by top-1, exact tests and Newcombe's interval."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import by_class, by_slice, compare
from accuracy_scripts.top1 import score

__all__ = ["COUNTED", "TITLE", "agree", "by_class", "by_slice", "compare", "right", "score"]

TITLE, COUNTED = "top-1", "samples"


def right(answers: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of each answer whether it is the sample's class, shape (n,)."""
    return np.asarray(answers == truth)


def agree(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of each sample whether two sides give it the same class, shape (n,)."""
    return np.asarray(one == other)
