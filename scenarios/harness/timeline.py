"""The system under test's own timeline of one test, and what follows from it.

Samples are numbered in order of arrival. Arrivals are stamped when LoadGen's callback is entered, completions just
before LoadGen is told. So each latency here is a lower bound of the one that LoadGen measures: LoadGen starts its
clock no later than its callback and stops it no earlier than it is told.
"""

import zipfile
import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import RunFailed
from common.files import atomic_file

FILE = "timeline.npz"

Int64 = NDArray[np.int64]

# More samples than any test has: a count above it is damage, and expanding it would only exhaust the memory.
MOST_SAMPLES = 2**31

# What a damaged archive makes numpy and zipfile raise; RuntimeError is an encrypted or unknown kind of member.
UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    MemoryError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
)


class TimelineError(RunFailed):
    """A timeline is not there or is no timeline."""


@dataclass(frozen=True, eq=False)
class Timeline:
    """When samples arrived and were completed, in nanoseconds of one monotonic clock.

    One entry a callback: its time and its number of samples. One entry a run of samples completed together: the
    number of its first sample, how many, and when. `problem` says what is wrong with it, and nothing else may be
    asked while something is.
    """

    callback_ns: Int64
    callback_samples: Int64
    batch_first: Int64
    batch_samples: Int64
    batch_ns: Int64

    def save(self, path: Path) -> None:
        """Writes the arrays as one npz file, atomically."""
        with atomic_file(path) as file:
            np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Timeline":
        """Returns the timeline in a file; raises TimelineError where it is missing, cut off, or holds other arrays."""
        names = [field.name for field in fields(cls)]
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                arrays = {name: content[name] for name in content.files}
        except UNREADABLE as error:
            raise TimelineError(f"{path} cannot be read as a timeline: {error}") from error
        if sorted(arrays) != sorted(names):
            raise TimelineError(f"{path} is no timeline: it holds {sorted(arrays)}, not {sorted(names)}.")
        if any(array.dtype != np.int64 or array.ndim != 1 for array in arrays.values()):
            raise TimelineError(f"{path} is no timeline: its arrays are not one-dimensional int64.")
        return cls(**arrays)

    @property
    def issued(self) -> int:
        """Samples that arrived."""
        return sum(self.callback_samples.tolist())

    @property
    def completed(self) -> int:
        """Samples that were completed, each as often as it was."""
        return sum(self.batch_samples.tolist())

    @cached_property
    def problem(self) -> str | None:
        """What makes the timeline impossible, or None."""
        return self._shape_problem() or self._coverage_problem() or self._clock_problem()

    @cached_property
    def arrival_ns(self) -> Int64:
        """When each sample arrived, in order of arrival."""
        return np.repeat(self.callback_ns, self.callback_samples)

    @cached_property
    def completion_ns(self) -> Int64:
        """When each sample was completed, in order of arrival."""
        order = np.argsort(self.batch_first, kind="stable")
        return np.repeat(self.batch_ns[order], self.batch_samples[order])

    @property
    def duration_ns(self) -> int:
        """From the first callback to the last completion."""
        return int(self.batch_ns.max() - self.callback_ns[0])

    @property
    def last_issued_ns(self) -> int:
        """From the first callback to the completion of the sample that arrived last."""
        return int(self.completion_ns[-1] - self.callback_ns[0])

    @property
    def throughput(self) -> float:
        """Samples a second until the last one was completed, the drain included."""
        return self.completed / (self.duration_ns / 1e9)

    @cached_property
    def sample_latencies_ns(self) -> Int64:
        """A lower bound of each sample's latency, shortest first."""
        return np.sort(self.completion_ns - self.arrival_ns)

    @cached_property
    def query_latencies_ns(self) -> Int64:
        """A lower bound of the latency of each callback's query, shortest first; a query ends with its last sample."""
        starts = np.concatenate(([0], np.cumsum(self.callback_samples)[:-1]))
        return np.sort(np.maximum.reduceat(self.completion_ns, starts) - self.callback_ns)

    def samples_over(self, limit_ns: float) -> int:
        """Returns how many samples surely took longer than a limit."""
        return len(self.sample_latencies_ns) - int(np.searchsorted(self.sample_latencies_ns, limit_ns, side="right"))

    def _shape_problem(self) -> str | None:
        if not len(self.callback_ns) or not len(self.batch_ns):
            return "it holds no arrival or no completion"
        if len(self.callback_ns) != len(self.callback_samples):
            return "it holds not one count a callback"
        if not len(self.batch_first) == len(self.batch_samples) == len(self.batch_ns):
            return "it holds not one first sample and one count a completion"
        if self.callback_samples.min() < 1 or self.batch_samples.min() < 1 or self.batch_first.min() < 0:
            return "it holds a count below one or a sample below zero"
        if max(self.issued, self.completed) > MOST_SAMPLES:
            return f"it speaks of more than {MOST_SAMPLES} samples"
        return None

    def _coverage_problem(self) -> str | None:
        """Says where a sample was completed not at all, twice, or without having arrived."""
        order = np.argsort(self.batch_first, kind="stable")
        first, count = self.batch_first[order], self.batch_samples[order]
        expected = np.concatenate(([0], np.cumsum(count)[:-1]))
        wrong = np.flatnonzero(first != expected)
        if len(wrong):
            found, wanted = int(first[wrong[0]]), int(expected[wrong[0]])
            return f"sample {min(found, wanted)} was completed {'never' if found > wanted else 'twice'}"
        if self.completed != self.issued:
            return f"{self.issued} samples arrived and {self.completed} were completed"
        return None

    def _clock_problem(self) -> str | None:
        if (np.diff(self.callback_ns) < 0).any():
            return "its clock runs backwards between two arrivals"
        early = np.flatnonzero(self.completion_ns < self.arrival_ns)
        if len(early):
            return f"sample {int(early[0])} was completed before it arrived"
        if self.duration_ns <= 0:
            return "it lasts no time"
        return None
