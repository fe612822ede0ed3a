"""Speed: samples a second, latency of a query, latency of random arrivals."""

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import RunFailed
from scenarios.base import Session
from scenarios.harness.sut import Complete, SystemUnderTest
from scenarios.harness.yielding import pays, yielding
from suite.own_thread import on_own_thread
from suite.placement import shares
from suite.subject import Subject
from suite.variant import Serving


def throughput(
    subject: Subject, sessions: list[Session], serving: Serving, seconds: float, known: float | None = None
) -> float:
    """Returns samples a second with every session busy.

    How many samples take about so many seconds is found out first, which takes nearly as long, unless it is `known`.
    """
    count = serving.batch * len(sessions) * 2
    if known is None:
        elapsed = answer_all(subject, sessions, serving, count)
        while elapsed < seconds / 4:
            count *= 4
            elapsed = answer_all(subject, sessions, serving, count)
        known = count / elapsed
    count = max(count, int(known * seconds))
    return count / answer_all(subject, sessions, serving, count)


def answer_all(
    subject: Subject,
    sessions: list[Session],
    serving: Serving,
    count: int,
    keep: Complete = lambda ids, payload: None,
    outputs: NDArray[Any] | None = None,
    order: Sequence[int] | None = None,
) -> float:
    """Returns the seconds that `count` samples take from the one query that holds them to the last answer.

    They are the evaluation set in `order`, or in that of its indices, again and again; `keep` is given each batch's
    numbers and payload, `outputs` receives raw outputs by the sample's index.
    """
    done = threading.Event()

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        keep(ids, payload)
        if sut.completed >= count:
            done.set()

    sut = _serving_system(subject, sessions, complete, serving, outputs)
    samples = range(subject.dataset.total) if order is None else order
    started = time.perf_counter()
    sut.issue(list(range(count)), [samples[number % len(samples)] for number in range(count)])
    told = 0
    while not done.wait(0.5):
        raise_fault(sut)
        answered = sut.answered
        subject.beat(answered - told)
        told = answered
    elapsed = time.perf_counter() - started
    subject.beat(count - told)
    sut.close(1.0)
    raise_fault(sut)
    return elapsed


def arrival_latency(
    subject: Subject, sessions: list[Session], serving: Serving, rate: float, seconds: float, limit_ms: float
) -> float:
    """Returns the 99th percentile, in seconds, of single samples that arrive at random, `rate` a second on average.

    They are issued as LoadGen's thread issues them where that is the limit.
    """
    count = max(100, round(rate * seconds))
    due = np.cumsum(np.random.default_rng().exponential(1 / rate, count))
    taken = np.zeros(count)
    done = threading.Event()

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        taken[ids] = time.perf_counter() - started - due[ids]
        subject.beat(len(ids))
        if sut.completed >= count:
            done.set()

    sut = _serving_system(subject, sessions, complete, serving)
    started = time.perf_counter()
    with yielding(limit_ms * 1e6 if pays(serving.threads) else None):
        for number, moment in enumerate(due):
            wait = moment - (time.perf_counter() - started)
            if wait > 0:
                time.sleep(wait)
            sut.issue([number], [number % subject.dataset.total])
    while not done.wait(0.5):
        raise_fault(sut)
    sut.close(1.0)
    raise_fault(sut)
    return float(np.percentile(taken, 99))


@on_own_thread
def query_latency(
    subject: Subject,
    sessions: list[Session],
    batch: int,
    samples_per_query: int,
    seconds: float,
    percentile: float = 0.5,
) -> float:
    """Returns a percentile, as a share, of the seconds of one query, answered on the thread that issues it."""
    sut = system(subject, sessions, lambda ids, payload: subject.beat(len(ids)), batch, inline=True)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 5:
        first = random.randrange(subject.dataset.total - samples_per_query + 1)
        query = list(range(first, first + samples_per_query))
        started = time.perf_counter()
        sut.issue(query, list(query))
        taken.append(time.perf_counter() - started)
        raise_fault(sut)
    return float(np.quantile(taken, percentile))


def system(
    subject: Subject,
    sessions: list[Session],
    complete: Complete,
    batch: int,
    *,
    inline: bool,
    pin: Sequence[int] = (),
) -> SystemUnderTest:
    """Returns the system under test of a probe."""
    return SystemUnderTest(
        subject.workload,
        subject.dataset,
        sessions,
        complete,
        max_batch=batch,
        inline=inline,
        cores=shares(pin, len(sessions)),
    )


def _serving_system(
    subject: Subject,
    sessions: list[Session],
    complete: Complete,
    serving: Serving,
    outputs: NDArray[Any] | None = None,
) -> SystemUnderTest:
    """Returns the system under test of a probe that is served as a test is."""
    return SystemUnderTest(
        subject.workload,
        subject.dataset,
        sessions,
        complete,
        max_batch=serving.batch,
        max_wait_ns=serving.max_wait_us * 1000,
        prefetch=serving.prefetch,
        outputs=outputs,
        cores=shares(serving.pin, len(sessions)),
    )


def raise_fault(sut: SystemUnderTest) -> None:
    """Raises RunFailed where the backend has failed."""
    if sut.faults:
        raise RunFailed(f"The backend failed while it was being probed: {sut.faults[0].detail}.")
