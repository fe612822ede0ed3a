"""What judges the answers of a task: `labels` where an answer is a class, `objects` where it is what is in an image."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import Outcomes, SliceOutcome


class Judge(Protocol):
    """An accuracy script as a module; answers are in index order, shape (n,) or (n, k), beside the truth (n, ...)."""

    # What people call the metric, and what `by_class` counts in a class: samples or objects.
    TITLE: str
    COUNTED: str

    def score(self, answers: NDArray[Any], truth: NDArray[Any]) -> Mapping[str, Any]:
        """Returns the metrics, in percent, the chief one with its 95 % interval, low_95 and high_95.

        Raises UsageError where the answers are none of the task's.
        """
        ...

    def right(self, answers: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.bool_]:
        """Tells of each sample whether its answer is right, shape (n,)."""
        ...

    def agree(self, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
        """Tells of each sample whether two sides say the same, as far as the task goes, shape (n,)."""
        ...

    def compare(self, reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any]) -> Outcomes:
        """Returns what became of the samples, and the difference of the metric with its interval.

        Raises ValueError where there are none, or not as many on each side.
        """
        ...

    def by_class(self, reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any]) -> Sequence[SliceOutcome]:
        """Returns each class's outcomes, the greatest loss first."""
        ...

    def by_slice(
        self, reference: NDArray[Any], variant: NDArray[Any], truth: NDArray[Any], slices: NDArray[Any]
    ) -> Sequence[SliceOutcome]:
        """Returns the outcomes of the samples of each slice, in order; `slices` has each one's, shape (n,)."""
        ...
