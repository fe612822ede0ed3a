"""The raw loop: the model, one gather and one argmax a batch, and no harness; a thread for each session."""

import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.base import Session
from suite.subject import Subject

WARM_S = 0.3


def answer(subject: Subject, session: Session, indices: Any) -> None:
    """Does what a benchmark without a harness does: one gather, the model, one argmax."""
    session.predict(subject.dataset.batch(indices)).argmax(axis=1)


def answer_of_a_copy(subject: Subject, session: Session, indices: Any) -> None:
    """Does the same, and gathers one sample as it does several: by a copy."""
    session.predict(subject.dataset.batch(indices).copy()).argmax(axis=1)


def turns_ended(subject: Subject, sessions: list[Session], batch: int, seconds: float) -> list[NDArray[np.int64]]:
    """Returns, by session, when each turn of the raw loop ended, in ns from its start.

    A session has a thread of its own; each turn is a random batch of the resident samples.
    """
    ended: list[list[int]] = [[] for _ in sessions]
    begun: list[int] = []
    start = threading.Barrier(len(sessions), action=lambda: begun.append(time.perf_counter_ns()))

    def loop(number: int) -> None:
        batches = list(np.random.default_rng().integers(0, subject.dataset.total, (256, batch)))
        turns = ended[number]
        start.wait()
        end = begun[0] + int(seconds * 1e9)
        while not turns or turns[-1] < end:
            answer(subject, sessions[number], batches[len(turns) % 256])
            turns.append(time.perf_counter_ns())

    threads = [threading.Thread(target=loop, args=(number,)) for number in range(len(sessions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [np.array(turns, np.int64) - begun[0] for turns in ended]


def throughput(subject: Subject, sessions: list[Session], batch: int, seconds: float) -> float:
    """Returns the raw loop's samples/s."""
    ended = turns_ended(subject, sessions, batch, seconds)
    return sum(map(len, ended)) * batch / (max(int(turns[-1]) for turns in ended) / 1e9)
