"""Short measurements without a verdict, through the same SUT as a test: speed, steadiness of answers, memory of inputs.

Source: the repeat probe is in the spirit of MLPerf's TEST04.
"""

import random
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import RunFailed
from common.statistics import mean_lower_bound
from scenarios.base import Session
from scenarios.harness.sut import Complete, SystemUnderTest
from suite.subject import Subject

# A pass takes as long as it may, and as much longer as the law's least number of samples takes (suite.law.answers).
SENSITIVITY_PASS_S = 5.0
SENSITIVITY_LEAST = 512
REPEAT_PAIRS = 60
REPEAT_S = 2.0

# How much of the one and of the other image a never-seen input has; neither can be told from it by rounding.
MIX = (0.3, 0.7)

_current: SystemUnderTest | None = None


def throughput(subject: Subject, sessions: list[Session], batch: int, seconds: float) -> float:
    """Returns samples a second with every session busy."""
    count = batch * len(sessions) * 2
    elapsed = _answer_all(subject, sessions, batch, count)
    while elapsed < seconds / 4:
        count *= 4
        elapsed = _answer_all(subject, sessions, batch, count)
    count = max(count, int(count / elapsed * seconds))
    return count / _answer_all(subject, sessions, batch, count)


def _answer_all(subject: Subject, sessions: list[Session], batch: int, count: int) -> float:
    """Returns the seconds that `count` samples take from the one query that holds them to the last answer."""
    done = threading.Event()

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        if sut.completed >= count:
            done.set()

    sut = _system(subject, sessions, complete, batch, inline=False)
    total = subject.dataset.total
    started = time.perf_counter()
    sut.issue(list(range(count)), [number % total for number in range(count)])
    while not done.wait(0.5):
        _raise_fault(sut)
    elapsed = time.perf_counter() - started
    sut.close(1.0)
    _raise_fault(sut)
    return elapsed


def arrival_latency(subject: Subject, sessions: list[Session], batch: int, rate: float, seconds: float) -> float:
    """Returns the 99th percentile, in seconds, of single samples that arrive at random, `rate` a second on average."""
    count = max(100, round(rate * seconds))
    due = np.cumsum(np.random.default_rng().exponential(1 / rate, count))
    taken = np.zeros(count)
    done = threading.Event()

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        taken[ids] = time.perf_counter() - started - due[ids]
        if sut.completed >= count:
            done.set()

    sut = _system(subject, sessions, complete, batch, inline=False)
    started = time.perf_counter()
    for number, moment in enumerate(due):
        wait = moment - (time.perf_counter() - started)
        if wait > 0:
            time.sleep(wait)
        sut.issue([number], [number % subject.dataset.total])
    while not done.wait(0.5):
        _raise_fault(sut)
    sut.close(1.0)
    _raise_fault(sut)
    return float(np.percentile(taken, 99))


def query_latency(
    subject: Subject, sessions: list[Session], batch: int, samples_per_query: int, seconds: float
) -> float:
    """Returns the median seconds of one query, answered on the thread that issues it."""
    sut = _system(subject, sessions, lambda ids, payload: None, batch, inline=True)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 5:
        first = random.randrange(subject.dataset.total - samples_per_query + 1)
        query = list(range(first, first + samples_per_query))
        started = time.perf_counter()
        sut.issue(query, list(query))
        taken.append(time.perf_counter() - started)
        _raise_fault(sut)
    return statistics.median(taken)


def _system(
    subject: Subject, sessions: list[Session], complete: Complete, batch: int, *, inline: bool
) -> SystemUnderTest:
    global _current
    _current = SystemUnderTest(subject.workload, subject.dataset, sessions, complete, max_batch=batch, inline=inline)
    return _current


def answered() -> int:
    """Returns how many samples the probe that runs now has answered: a sign of life, for the parent."""
    return _current.completed if _current else 0


def _raise_fault(sut: SystemUnderTest) -> None:
    if sut.faults:
        raise RunFailed(f"The backend failed while it was being probed: {sut.faults[0].detail}.")


def sensitivity(subject: Subject, sessions: list[Session], batch: int) -> dict[str, Any]:
    """Returns how many answers change with order and batch: the evaluation set answered again in other batches.

    A slow model is asked for as many samples as fit the time; the worst pass is what `samples` and `differences` say.
    """
    generator = np.random.default_rng()
    order = np.arange(subject.dataset.total)
    baseline = _answers(subject, sessions, batch, order, _same(batch))
    passes: list[dict[str, Any]] = []
    for label, sizes in _batchings(batch):
        answers = _answers(subject, sessions, batch, generator.permutation(order[: len(baseline)]), sizes)
        differences = sum(baseline[index] != payload for index, payload in answers.items())
        passes.append({"order": "shuffled", "batch": label, "samples": len(answers), "differences": differences})
    worst = max(passes, key=lambda one: float(one["differences"]) / float(one["samples"]))
    return {"samples": worst["samples"], "differences": worst["differences"], "passes": passes}


def _same(size: int) -> Iterator[int]:
    while True:
        yield size


def _mixed(largest: int) -> Iterator[int]:
    while True:
        yield random.randint(1, largest)


def _batchings(largest: int) -> list[tuple[str, Iterator[int]]]:
    passes = [("maximum", _same(largest))]
    return passes if largest == 1 else [*passes, ("1", _same(1)), ("mixed", _mixed(largest))]


def _answers(
    subject: Subject, sessions: list[Session], batch: int, order: NDArray[np.int64], sizes: Iterator[int]
) -> dict[int, bytes]:
    """Returns the payload of each sample by its index, as far as the time allowed goes."""
    found: dict[int, bytes] = {}

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        if payload is not None:
            found.update(zip(ids, (row.tobytes() for row in payload), strict=True))

    sut = _system(subject, sessions, complete, batch, inline=True)
    end, start = time.perf_counter() + SENSITIVITY_PASS_S, 0
    while start < len(order) and (start < SENSITIVITY_LEAST or time.perf_counter() < end):
        indices = order[start : start + next(sizes)].tolist()
        sut.issue(indices, list(indices))
        _raise_fault(sut)
        start += len(indices)
    return found


def repeat_probe(subject: Subject, session: Session, batch: int) -> dict[str, Any]:
    """Returns how much faster one repeated sample is answered than inputs never seen before.

    `ratio` is the geometric mean over interleaved pairs of batches, `ratio_low_95` its one-sided 95 % lower bound
    by Student's t on the logarithms. An unseen input is a mixture of two samples, drawn anew: in range, and far from
    both. `novel_batch_ms` is the median time of such a batch, one session alone.
    """
    generator = np.random.default_rng()
    repeated = subject.dataset.batch([0] * batch)
    session.predict(repeated)
    logs: list[float] = []
    novel_s: list[float] = []
    end = time.perf_counter() + REPEAT_S
    while len(logs) < REPEAT_PAIRS and (time.perf_counter() < end or len(logs) < 5):
        novel = _unseen(subject, generator, batch)
        times = {}
        for name, samples in _shuffled([("novel", novel), ("repeated", repeated)]):
            started = time.perf_counter()
            session.predict(samples)
            times[name] = time.perf_counter() - started
        logs.append(float(np.log(times["novel"] / times["repeated"])))
        novel_s.append(times["novel"])
    return {
        "novel_batch_ms": statistics.median(novel_s) * 1000,
        "pairs": len(logs),
        "ratio": float(np.exp(np.mean(logs))),
        "ratio_low_95": float(np.exp(mean_lower_bound(logs))),
    }


def _unseen(subject: Subject, generator: np.random.Generator, batch: int) -> NDArray[np.float32]:
    """Returns inputs that nobody can have seen: random mixtures of two random samples."""
    one, other = (subject.dataset.batch(generator.integers(0, subject.dataset.total, batch)) for _ in range(2))
    share = generator.uniform(*MIX, (batch, *(1 for _ in subject.workload.input_shape))).astype(np.float32)
    return share * one + (1 - share) * other


def _shuffled(values: list[tuple[str, NDArray[np.float32]]]) -> list[tuple[str, NDArray[np.float32]]]:
    return random.sample(values, len(values))
