"""The system under test: what stands between LoadGen's queries and the sessions of a backend.

LoadGen's thread puts each query into a queue. Of the idle workers one leads: it takes what waits, up to the maximum
batch, hands the lead on, answers its batch and completes it. So a batch is one run of samples in order of arrival,
a batch is taken by nobody twice, and at most one thread wakes for a query. Where LoadGen has one query under way at
a time (single-stream, multi-stream) its own thread answers, which saves two wake-ups.

After the first fault nothing is answered any more: what is open is completed empty, so that LoadGen can end, and
whoever reads `faults` must call the run failed.
"""

import threading
import time
import traceback
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Dataset, Workload
from scenarios.base import Session

# LoadGen's log buffer of a thread that completed more than this many samples at once can be lost (loadgen issue 1337).
MAX_BATCH = 1024

# The interpreter's default of 5 ms lets one busy thread hold up LoadGen's own for longer than a Server limit; every
# process with a system under test sets this.
SWITCH_INTERVAL_S = 5e-4

# Answers a batch: LoadGen's ids of its samples, and the payload, one row a sample, or None for no answer.
Complete = Callable[[list[int], NDArray[Any] | None], None]
Query = tuple[list[int], list[int]]


@dataclass
class Fault:
    """Why the run is failed: its kind (exception, shape, not-finite), and what was seen."""

    kind: str
    detail: str


class BadAnswer(Exception):
    """A backend returned something that is no answer."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass
class Recorder:
    """One thread's part of the timeline: three numbers a batch (first sample, samples, time of completion in ns)."""

    session: Session
    batches: "array[int]" = field(default_factory=lambda: array("q"))
    completed: int = 0

    def add(self, first: int, count: int, stamp_ns: int) -> None:
        """Notes a batch."""
        self.batches.extend((first, count, stamp_ns))
        self.completed += count


class SystemUnderTest:
    """Batches, dispatches, completes, and keeps every fault.

    `inline` answers on the thread that issues. `max_wait_ns` is how long a batch that is not full may wait for more.
    `outputs`, if given, receives each sample's raw output by its index.
    """

    def __init__(
        self,
        workload: Workload,
        dataset: Dataset,
        sessions: Sequence[Session],
        complete: Complete,
        *,
        max_batch: int,
        max_wait_ns: int = 0,
        inline: bool = False,
        outputs: NDArray[Any] | None = None,
    ) -> None:
        self._workload, self._dataset, self._complete = workload, dataset, complete
        self._max_batch, self._max_wait_ns, self._outputs = max_batch, max_wait_ns, outputs
        self._callback_ns, self._callback_samples = array("q"), array("q")
        self._recorders = [Recorder(session) for session in sessions]
        self._waiting: SimpleQueue[Query | None] = SimpleQueue()
        self._held: Query | None = None
        self._lead = threading.Lock()
        self._next_sample = 0
        self._closed = False
        self.faults: list[Fault] = []
        self.issued = 0
        self.issue = self._issue_inline if inline else self._issue_queued
        self._workers = (
            []
            if inline
            else [
                threading.Thread(target=self._work, args=(recorder,), name=f"worker-{number}", daemon=True)
                for number, recorder in enumerate(self._recorders)
            ]
        )
        for worker in self._workers:
            worker.start()

    @property
    def completed(self) -> int:
        """How many samples have been completed."""
        return sum(recorder.completed for recorder in self._recorders)

    def flush(self) -> None:
        """LoadGen's sign that no query follows; nothing is held back here that could be flushed."""

    def close(self, timeout_s: float) -> bool:
        """Ends the workers once the queue is empty; returns whether all ended in time."""
        self._waiting.put(None)
        deadline = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)

    def timeline(self) -> dict[str, NDArray[np.int64]]:
        """Returns the timeline's arrays; times are of the monotonic clock, in nanoseconds."""
        batches = np.concatenate([np.array(recorder.batches, np.int64).reshape(-1, 3) for recorder in self._recorders])
        batches = batches[np.argsort(batches[:, 2], kind="stable")]
        return {
            "callback_ns": np.array(self._callback_ns, np.int64),
            "callback_samples": np.array(self._callback_samples, np.int64),
            "batch_first": np.ascontiguousarray(batches[:, 0]),
            "batch_samples": np.ascontiguousarray(batches[:, 1]),
            "batch_ns": np.ascontiguousarray(batches[:, 2]),
        }

    def record_fault(self, kind: str, detail: str) -> None:
        """Keeps a fault; from here on nothing is answered."""
        self.faults.append(Fault(kind, detail))

    def _note_arrival(self, count: int) -> None:
        self._callback_ns.append(time.perf_counter_ns())
        self._callback_samples.append(count)
        self.issued += count

    def _issue_inline(self, ids: list[int], indices: list[int]) -> None:
        self._note_arrival(len(ids))
        step, first = self._max_batch, self._next_sample
        self._next_sample += len(ids)
        try:
            for start in range(0, len(ids), step):
                end = start + step
                self._answer(self._recorders[0], first + start, ids[start:end], indices[start:end])
        except Exception as error:  # noqa: BLE001 - LoadGen's thread: an exception would end the test without its logs
            self.record_fault("exception", f"{type(error).__name__}: {error}")

    def _issue_queued(self, ids: list[int], indices: list[int]) -> None:
        self._note_arrival(len(ids))
        step = self._max_batch
        if len(ids) <= step:
            self._waiting.put((ids, indices))
            return
        for start in range(0, len(ids), step):
            self._waiting.put((ids[start : start + step], indices[start : start + step]))

    def _work(self, recorder: Recorder) -> None:
        try:
            while (batch := self._take()) is not None:
                self._answer(recorder, *batch)
        except Exception as error:  # noqa: BLE001 - a thread's edge: what it leaves open, the fault explains
            self.record_fault("exception", f"{type(error).__name__}: {error}")

    def _take(self) -> tuple[int, list[int], list[int]] | None:
        """Returns the next batch and the number of its first sample, or None once the queue is closed."""
        with self._lead:
            query, self._held = self._held, None
            if query is None and not self._closed:
                query = self._waiting.get()
            if query is None:
                self._closed = True
                return None
            ids, indices = query
            self._fill(ids, indices)
            first = self._next_sample
            self._next_sample += len(ids)
            return first, ids, indices

    def _fill(self, ids: list[int], indices: list[int]) -> None:
        """Adds waiting queries to a batch until it is full, nothing waits, or the wait is over."""
        deadline = time.perf_counter_ns() + self._max_wait_ns if self._max_wait_ns else 0
        while len(ids) < self._max_batch:
            try:
                more = (
                    self._waiting.get(timeout=max(0, deadline - time.perf_counter_ns()) / 1e9)
                    if deadline
                    else (self._waiting.get_nowait())
                )
            except Empty:
                return
            if more is None:
                self._closed = True
                return
            if len(ids) + len(more[0]) > self._max_batch:
                self._held = more
                return
            ids += more[0]
            indices += more[1]

    def _answer(self, recorder: Recorder, first: int, ids: list[int], indices: list[int]) -> None:
        payload = None
        if not self.faults:
            try:
                payload = self._predict(recorder.session, indices)
            except BadAnswer as error:
                self.record_fault(error.kind, str(error))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a backend raises fails the run
                # Where it was raised is for the log; the fault is one sentence.
                traceback.print_exc()
                self.record_fault("exception", f"{type(error).__name__}: {error}")
        # The number is stamped where LoadGen stamps: just before it is told.
        recorder.add(first, len(ids), time.perf_counter_ns())
        self._complete(ids, payload)

    def _predict(self, session: Session, indices: list[int]) -> NDArray[Any]:
        outputs = session.predict(self._dataset.batch(indices))
        expected = (len(indices), *self._workload.output_shape)
        if outputs.shape != expected:
            raise BadAnswer("shape", f"the backend answered shape {outputs.shape} where {expected} was asked")
        if not np.isfinite(outputs).all():
            raise BadAnswer("not-finite", f"the backend answered NaN or infinity in a batch of {len(indices)}")
        if self._outputs is not None:
            self._outputs[indices] = outputs
        payload = self._workload.encode(outputs)
        if len(payload) != len(indices):
            raise BadAnswer("shape", f"the workload encoded {len(payload)} answers of {len(indices)} samples")
        return payload
