"""What a system under test notes of its load as it goes on: when samples arrived, and what each worker completed."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenarios.base import Session


@dataclass
class Recorder:
    """One thread's part of the timeline: three numbers a batch (first sample, samples, time of completion in ns).

    `answered` are the samples whose outputs are there, those of a part that is not completed yet among them.
    """

    session: Session
    batches: "array[int]" = field(default_factory=lambda: array("q"))
    completed: int = 0
    answered: int = 0


@dataclass(frozen=True)
class Position:
    """How far a recording has been read: so many callbacks, and so many entries of each recorder."""

    callbacks: int = 0
    entries: tuple[int, ...] = ()


class Recording:
    """The timeline while it grows: of each callback its time and, after that, its samples; and the workers' parts."""

    def __init__(self, recorders: Sequence[Recorder]) -> None:
        self.recorders = recorders
        self.callback_ns, self.callback_samples = array("q"), array("q")
        self._counted = (0, 0)

    @property
    def issued(self) -> int:
        """How many samples have arrived; of a query that is answered as it is issued, one until it is."""
        callbacks, samples = self._counted
        new = self.callback_samples[callbacks:]
        callbacks, samples = self._counted = callbacks + len(new), samples + sum(new)
        return samples + max(0, len(self.callback_ns) - callbacks)

    @property
    def completed(self) -> int:
        """How many samples have been completed."""
        return sum(recorder.completed for recorder in self.recorders)

    @property
    def answered(self) -> int:
        """How many samples the sessions have answered, completed or about to be: whether it goes on."""
        return sum(max(recorder.answered, recorder.completed) for recorder in self.recorders)

    def since(self, position: Position) -> tuple[dict[str, NDArray[np.int64]], Position]:
        """Returns what came to the timeline's arrays since they were read up to a position, and the next position.

        Times are of the monotonic clock, in nanoseconds. Completions are read before arrivals, so that what was
        completed has arrived. Slices are copies: an array that numpy looks into cannot grow, and its worker would fail.
        """
        known = position.entries or (0,) * len(self.recorders)
        new = [recorder.batches[3 * count :] for recorder, count in zip(self.recorders, known, strict=True)]
        batches = np.concatenate([np.array(one, np.int64).reshape(-1, 3) for one in new])
        batches = batches[np.argsort(batches[:, 2], kind="stable")]
        # An arrival's count follows its time.
        counts = np.array(self.callback_samples[position.callbacks :], np.int64)
        callbacks = position.callbacks + len(counts)
        entries = tuple(count + len(one) // 3 for count, one in zip(known, new, strict=True))
        return {
            "callback_ns": np.array(self.callback_ns[position.callbacks : callbacks], np.int64),
            "callback_samples": counts,
            "batch_first": np.ascontiguousarray(batches[:, 0]),
            "batch_samples": np.ascontiguousarray(batches[:, 1]),
            "batch_ns": np.ascontiguousarray(batches[:, 2]),
        }, Position(callbacks, entries)
