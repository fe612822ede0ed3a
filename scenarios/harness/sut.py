"""The system under test: what stands between LoadGen's queries and the sessions of a backend.

LoadGen's thread puts each query into a queue (waiting.py), and workers answer what they take of it, a run of samples in
order of arrival, and complete it. Where LoadGen has one query under way at a time (single-stream, multi-stream) its own
thread answers, which saves two wake-ups.

A query of more than a batch (offline) is cut into parts of several batches each, and a part is encoded, completed and
noted at once: after a batch of computing the caches hold nothing of Python, and what is done once a batch takes five
to ten times as long as in a loop. Towards the end of a query parts are smaller, so that workers end together.

After the first fault nothing is answered any more: what is open is completed empty, so that LoadGen can end, and
whoever reads `faults` must call the run failed.
"""

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Dataset, Indices, Workload
from scenarios.base import Session, callers
from scenarios.harness.parts import batch_sizes, parts
from scenarios.harness.recording import Position, Recorder, Recording
from scenarios.harness.stages import Laps, Stages, predict_marked
from scenarios.harness.waiting import Part, Waiting

# LoadGen's log buffer of a thread that completed more than this many samples at once can be lost (loadgen issue 1337).
MAX_BATCH = 1024

# The most threads that gather for one session.
MOST_PREFETCH = 16

# The most batches of a part. With 8, batches of 16 cost 0.2 to 0.4 µs a sample more (`--only offline-parts`).
BATCHES_A_PART = 32

# The interpreter's default of 5 ms lets one busy thread hold up LoadGen's own for longer than a Server limit; every
# process with a system under test sets this.
SWITCH_INTERVAL_S = 5e-4

# Answers a batch: LoadGen's ids of its samples, and the payload, one row a sample, or None for no answer.
Complete = Callable[[list[int], NDArray[Any] | None], None]
Issue = Callable[[list[int], list[int]], None]
# Outputs that are being computed, and what follows them if they are followed.
Begun = tuple[Future[NDArray[Any]], Laps | None] | None


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


class SystemUnderTest:
    """Batches, dispatches, completes, and keeps every fault.

    `inline` answers on the thread that issues. `prefetch` is how many threads of each session gather, and end to end
    decode, the batches that come next beside the one that it answers, 0 for none: that pays where sessions do not fill
    the machine, and delays an answer by up to so many batches. `max_wait_ns` is how long a batch that is not full may
    wait for more. `outputs`, if given, receives each sample's raw output by its index. `cores`, if given, has for each
    session the cores that its threads keep to; inline, the thread that issues is for the caller to place. `stages`, if
    given, follows a part of the load now and then.
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
        prefetch: int = 0,
        outputs: NDArray[Any] | None = None,
        cores: Sequence[Sequence[int]] = (),
        stages: Stages | None = None,
    ) -> None:
        self._dataset, self._complete = dataset, complete
        self._output_shape, self._encode = workload.output_shape, workload.encode
        self._max_batch, self._outputs = max_batch, outputs
        # What is gathered beside a session that answers is a batch, and no more.
        self._part_batches = 1 if prefetch else max(1, min(BATCHES_A_PART, MAX_BATCH // max_batch))
        self._prefetch = prefetch
        self._stages = stages
        # A worker for each thread that may use a session at a time, on that session's cores.
        placed = [
            (Recorder(session), own)
            for session, own in zip(sessions, cores or [()] * len(sessions), strict=True)
            for _ in range(1 if inline else callers(session))
        ]
        self._recorders = [recorder for recorder, _ in placed]
        self._recording, self._waiting = Recording(self._recorders), Waiting(max_batch, max_wait_ns)
        self.faults: list[Fault] = []
        self.issue = self._inline() if inline else self._issue_queued
        self._workers = (
            []
            if inline
            else [
                threading.Thread(
                    target=self._work_ahead if prefetch else self._work,
                    args=(recorder, own),
                    name=f"worker-{number}",
                    daemon=True,
                )
                for number, (recorder, own) in enumerate(placed)
            ]
        )
        for worker in self._workers:
            worker.start()

    @property
    def side_by_side(self) -> int:
        """How many batches are worked at side by side where load is enough."""
        return len(self._recorders)

    def batch_sizes(self, count: int) -> list[int]:
        """Returns of how many samples the batches of one query of `count` samples are, the smallest first."""
        if count <= self._max_batch:
            return [count]
        return sorted(batch_sizes(count, self._max_batch, self.side_by_side))

    @property
    def issued(self) -> int:
        """How many samples have arrived; of a query that is answered as it is issued, one until it is."""
        return self._recording.issued

    @property
    def completed(self) -> int:
        """How many samples have been completed."""
        return self._recording.completed

    @property
    def answered(self) -> int:
        """How many samples the sessions have answered, completed or about to be: whether it goes on."""
        return self._recording.answered

    def flush(self) -> None:
        """LoadGen's sign that no query follows; nothing is held back here that could be flushed."""

    def close(self, timeout_s: float) -> bool:
        """Ends the workers once the queue is empty; returns whether all ended in time."""
        self._waiting.close()
        deadline = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        return not any(worker.is_alive() for worker in self._workers)

    def timeline(self) -> dict[str, NDArray[np.int64]]:
        """Returns the timeline's arrays, so far; times are of the monotonic clock, in nanoseconds."""
        return self.timeline_since(Position())[0]

    def timeline_since(self, position: Position) -> tuple[dict[str, NDArray[np.int64]], Position]:
        """Returns what came to the timeline's arrays since a position, and the next position."""
        return self._recording.since(position)

    def record_fault(self, kind: str, detail: str) -> None:
        """Keeps a fault; from here on nothing is answered."""
        self.faults.append(Fault(kind, detail))

    def _inline(self) -> Issue:
        """Returns what answers a query on the thread that issues it.

        The caches hold nothing of Python after the model has run. So what it uses is bound here in advance, a query of
        one batch is answered without a call of our own that could be spared, and what the answer does not need comes
        after it: that halves what is added to a query (`python -m tools.bench_harness --only single-stream`).
        """
        recorder, most, shape = self._recorders[0], self._max_batch, self._output_shape
        batch, predict, encode, complete = self._dataset.batch, recorder.session.predict, self._encode, self._complete
        arrived, faults = self._recording.callback_ns.append, self.faults
        stages, follow, first, expected = self._stages, self._predict, 0, (1, *shape)

        def issue(ids: list[int], indices: list[int]) -> None:
            nonlocal first, expected
            arrived(perf_counter_ns())
            if faults or len(ids) > most:
                self._issue_parts(first, ids, indices)
                first += len(ids)
                return
            payload = None
            laps = stages.begin() if stages else None
            try:
                outputs = follow(recorder.session, indices, laps) if laps else predict(batch(indices))
                if outputs.shape != expected:
                    expected = (len(ids), *shape)
                    _check_shape(outputs, expected)
                rows = encode(outputs)
                if len(rows) != len(ids):
                    _check_rows(rows, len(ids))
                payload = rows
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a backend raises fails the run
                self._keep(error)
            if laps:
                laps("postprocess")
            try:
                stamp_ns = perf_counter_ns()
                complete(ids, payload)
            except Exception as error:  # noqa: BLE001 - LoadGen's thread: an exception would end the test without its logs
                self.record_fault("exception", f"{type(error).__name__}: {error}")
            count = len(ids)
            self._recording.callback_samples.append(count)
            recorder.completed += count
            recorder.batches.extend((first, count, stamp_ns))
            if payload is not None:
                self._look_at(outputs, indices)
            if laps and stages:
                laps("completion")
                stages.keep(first, count, laps)
            first += count

        return issue

    def _issue_parts(self, first: int, ids: list[int], indices: list[int]) -> None:
        """Answers a query of many batches on the thread that issues it, or any after a fault."""
        self._recording.callback_samples.append(len(ids))
        try:
            for start, end in parts(len(ids), self._max_batch, 1, self._part_batches):
                self._answer(self._recorders[0], first + start, ids[start:end], indices[start:end])
        except Exception as error:  # noqa: BLE001 - LoadGen's thread: an exception would end the test without its logs
            self.record_fault("exception", f"{type(error).__name__}: {error}")

    def _issue_queued(self, ids: list[int], indices: list[int]) -> None:
        recording, count, step = self._recording, len(ids), self._max_batch
        recording.callback_ns.append(perf_counter_ns())
        recording.callback_samples.append(count)
        if count <= step:
            self._waiting.put((ids, indices, False))
            return
        for start, end in parts(count, step, len(self._workers), self._part_batches):
            self._waiting.put((ids[start:end], indices[start:end], True))

    def _work(self, recorder: Recorder, cores: Sequence[int]) -> None:
        try:
            _keep_to(cores)
            while (part := self._waiting.take()) is not None:
                self._answer(recorder, *part)
                # Else LoadGen's thread, where it yields, may wait for the end of several slices of time.
                os.sched_yield()
        except Exception as error:  # noqa: BLE001 - a thread's edge: what it leaves open, the fault explains
            self.record_fault("exception", f"{type(error).__name__}: {error}")

    def _work_ahead(self, recorder: Recorder, cores: Sequence[int]) -> None:
        """Completes batches while a thread of the session's own answers the next, and others gather those behind it.

        Those threads are made by this one, and keep to the same cores.
        """
        begun = deque[tuple[Part, Begun]]()
        try:
            _keep_to(cores)
            with ThreadPoolExecutor(1) as session, ThreadPoolExecutor(self._prefetch) as gatherers:
                while True:
                    while len(begun) <= self._prefetch and (batch := self._waiting.take(wait=not begun)) is not None:
                        begun.append((batch, self._begin(session, gatherers, recorder, batch)))
                    if not begun:
                        return
                    self._answer(recorder, *(first := begun.popleft())[0], first[1])
                    os.sched_yield()
        except Exception as error:  # noqa: BLE001 - a thread's edge: what it leaves open, the fault explains
            self.record_fault("exception", f"{type(error).__name__}: {error}")

    def _begin(
        self, session: ThreadPoolExecutor, gatherers: ThreadPoolExecutor, recorder: Recorder, batch: Part
    ) -> Begun:
        """Returns what will be the outputs of a batch, or None after a fault."""
        if self.faults:
            return None
        laps = self._stages.begin() if self._stages else None
        gathered = gatherers.submit(self._gathered, batch[2], laps)
        return session.submit(_predict_gathered, recorder.session, gathered, laps), laps

    def _gathered(self, indices: list[int], laps: Laps | None) -> NDArray[Any]:
        if laps is None:
            return self._dataset.batch(indices)
        laps.resume()
        return self._dataset.batch_marked(indices, laps)

    def _answer(self, recorder: Recorder, first: int, ids: list[int], indices: list[int], begun: Begun = None) -> None:
        """Answers a part, with the outputs that were begun if some were, and completes it."""
        payload, laps, count = None, None, len(ids)
        if not self.faults:
            try:
                outputs, laps = self._outputs_of(recorder, indices) if begun is None else _ended(begun)
                _check_shape(outputs, (count, *self._output_shape))
                rows = self._encode(outputs)
                _check_rows(rows, count)
                payload = rows
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a backend raises fails the run
                self._keep(error)
        if laps:
            laps("postprocess")
        # Who is told may ask at once how many are completed.
        recorder.completed += count
        # The time is stamped where LoadGen stamps: just before it is told.
        stamp_ns = perf_counter_ns()
        self._complete(ids, payload)
        recorder.batches.extend((first, count, stamp_ns))
        if payload is not None:
            self._look_at(outputs, indices)
        if laps and self._stages:
            laps("completion")
            self._stages.keep(first, count, laps)

    def _outputs_of(self, recorder: Recorder, indices: list[int]) -> tuple[NDArray[Any], Laps | None]:
        """Returns the outputs of a part, predicted batch by batch, and what followed it if it was followed.

        Raises BadAnswer where a batch has other rows.
        """
        laps = self._stages.begin() if self._stages else None
        count = len(indices)
        if count <= self._max_batch:
            return self._predict(recorder.session, indices, laps), laps
        found, rows, recorder.answered = [], np.array(indices), recorder.completed
        for start in range(0, count, self._max_batch):
            end = min(start + self._max_batch, count)
            outputs = self._predict(recorder.session, rows[start:end], laps)
            _check_shape(outputs, (end - start, *self._output_shape))
            # A session may use the memory of its outputs again.
            found.append(outputs.copy())
            recorder.answered += end - start
        return np.concatenate(found), laps

    def _predict(self, session: Session, indices: Indices, laps: Laps | None) -> NDArray[Any]:
        if laps is None:
            return session.predict(self._dataset.batch(indices))
        return predict_marked(session, self._dataset.batch_marked(indices, laps), laps)

    def _look_at(self, outputs: NDArray[Any], indices: list[int]) -> None:
        """Keeps outputs where they are wanted, and a fault where they are no numbers.

        It comes after the answer: the time that it takes is not the system's, and the run is failed all the same.
        """
        try:
            # Counting takes half the time of asking for all.
            if np.count_nonzero(np.isfinite(outputs)) != outputs.size:
                self.record_fault("not-finite", f"the backend answered NaN or infinity in a batch of {len(indices)}")
            if self._outputs is not None:
                self._outputs[indices] = outputs
        except Exception as error:  # noqa: BLE001 - nothing may leave a callback, and no worker ends of what it is given
            self._keep(error)

    def _keep(self, error: BaseException) -> None:
        """Keeps what a backend raised as a fault; where it was raised is for the log."""
        if isinstance(error, BadAnswer):
            self.record_fault(error.kind, str(error))
            return
        traceback.print_exception(error)
        self.record_fault("exception", f"{type(error).__name__}: {error}")


def _predict_gathered(session: Session, gathered: Future[NDArray[Any]], laps: Laps | None) -> NDArray[Any]:
    """Returns the outputs of a batch that waited for its session, or that its session waits for."""
    samples = gathered.result()
    if laps:
        laps.resume()
    outputs = predict_marked(session, samples, laps) if laps else session.predict(samples)
    # A session may use the memory of its outputs again, and is asked for the next before these are completed.
    return outputs.copy()


def _ended(begun: tuple[Future[NDArray[Any]], Laps | None]) -> tuple[NDArray[Any], Laps | None]:
    """Returns what was begun, once it has ended."""
    future, laps = begun
    outputs = future.result()
    if laps:
        laps.resume()
    return outputs, laps


def _check_shape(outputs: NDArray[Any], expected: tuple[int, ...]) -> None:
    """Raises BadAnswer where outputs have another shape."""
    if outputs.shape != expected:
        raise BadAnswer("shape", f"the backend answered shape {outputs.shape} where {expected} was asked")


def _check_rows(rows: NDArray[Any], count: int) -> None:
    """Raises BadAnswer where there is not one row a sample."""
    if len(rows) != count:
        raise BadAnswer("shape", f"the workload encoded {len(rows)} answers of {count} samples")


def _keep_to(cores: Sequence[int]) -> None:
    """Keeps the calling thread, and those that it makes, to these cores; none are all that it has."""
    if cores:
        os.sched_setaffinity(0, cores)
