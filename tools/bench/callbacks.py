"""The least that LoadGen can be answered with: what LoadGen and its binding cost by themselves."""

import contextlib
import threading
from collections import deque

import numpy as np

from scenarios.base import Session
from scenarios.harness import loadgen
from suite.subject import Subject

# Completed in one call at most.
MOST = 1024


class Callback:
    """What LoadGen's test needs beside `issue`: nothing is held back, and nothing can fail."""

    faults: tuple[()] = ()

    def flush(self) -> None:
        """Does nothing: nothing is held back."""

    def record_fault(self, kind: str, detail: str) -> None:
        """Raises: nothing here can fail but this."""
        raise RuntimeError(f"{kind}: {detail}")


class Bare(Callback):
    """Answers at once, with rows that are there already, by way of what the suite completes with; and no more."""

    def __init__(self) -> None:
        complete, rows = loadgen.completer(), np.zeros(MOST, np.int64)
        one = rows[:1]

        def issue(ids: list[int], indices: list[int]) -> None:
            if len(ids) == 1:
                complete(ids, one)
                return
            for start in range(0, len(ids), MOST):
                part = ids[start : start + MOST]
                complete(part, rows[: len(part)])

        self.issue = issue


class Least(Callback):
    """The least that a single-stream callback in Python can do: the raw loop's turn, and LoadGen is told."""

    def __init__(self, subject: Subject, session: Session) -> None:
        batch, predict, complete = subject.dataset.batch, session.predict, loadgen.completer()

        def issue(ids: list[int], indices: list[int]) -> None:
            complete(ids, predict(batch(indices)).argmax(axis=1))

        self.issue = issue


class LeastQueue(Callback):
    """The least that a queue and a thread for each session can do in Python, without a check, a count or a record.

    A query of more than a batch is cut into batches; a thread takes what waits, up to a batch, answers and completes.
    Only a thread that has nothing to do is woken.
    """

    def __init__(self, subject: Subject, sessions: list[Session], most: int) -> None:
        waiting = deque[tuple[list[int], list[int]]]()
        idle = list[threading.Lock]()
        put, batch, complete = waiting.append, subject.dataset.batch, loadgen.complete

        def issue(ids: list[int], indices: list[int]) -> None:
            for start in range(0, len(ids), most):
                put((ids[start : start + most], indices[start : start + most]))
                if idle:
                    ring()

        def ring() -> None:
            with contextlib.suppress(IndexError):
                idle.pop().release()

        def rest(bell: threading.Lock) -> None:
            idle.append(bell)
            if waiting:
                # It came before anybody could be woken for it, or else the bell has been rung already.
                with contextlib.suppress(ValueError):
                    idle.remove(bell)
                    return
            bell.acquire()

        def fill(ids: list[int], indices: list[int]) -> None:
            with contextlib.suppress(IndexError):
                while len(ids) < most:
                    more = waiting.popleft()
                    if len(ids) + len(more[0]) > most:
                        waiting.appendleft(more)
                        ring()
                        return
                    ids += more[0]
                    indices += more[1]

        def work(session: Session) -> None:
            bell = threading.Lock()
            bell.acquire()
            while True:
                try:
                    ids, indices = waiting.popleft()
                except IndexError:
                    rest(bell)
                    continue
                fill(ids, indices)
                complete(ids, session.predict(batch(indices)).argmax(axis=1))

        self.issue = issue
        for session in sessions:
            threading.Thread(target=work, args=(session,), daemon=True).start()
