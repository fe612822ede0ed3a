"""Inputs that nobody can have seen: are they answered as fast as known ones, and as the reference answers them?

In the spirit of MLPerf's TEST04. What remembers answers is slower on such inputs, or wrong. A session is asked
directly, with inputs that are ready, end to end too: decoding is the dataset's part, and no session can remember it.
"""

import statistics
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.statistics import mean_lower_bound
from reference_models.base import Dataset
from scenarios.base import Session
from suite.subject import Subject

PAIRS = 60
PAIRS_S = 2.0
LEAST_PAIRS = 5

# How many unseen inputs are answered to be compared with the reference's answers.
COMPARED = 256

# An unseen input is a sample moved sideways, with a tenth of another one: as hard for a model as a sample is, and no
# rounding leads back to one.
MOST_SHIFT = 3
MIX = (0.85, 0.95)


def repeat_probe(subject: Subject, session: Session, batch: int, seed: int) -> dict[str, Any]:
    """Returns how much faster a batch that was just answered is answered again than one of inputs never seen.

    `ratio` is the geometric mean over interleaved pairs of batches, `ratio_low_95` its one-sided 95 % lower bound
    by Student's t on the logarithms. Both batches of a pair are made of the same samples, and the one that repeats
    consists of the samples themselves. `novel_batch_ms` is the median time of the other, one session alone.
    """
    generator = np.random.default_rng(seed)
    logs: list[float] = []
    novel_s: list[float] = []
    whole = subject.whole()
    end = time.perf_counter() + PAIRS_S
    while len(logs) < PAIRS and (time.perf_counter() < end or len(logs) < LEAST_PAIRS):
        indices = generator.integers(0, subject.dataset.total, batch)
        known, novel = subject.dataset.batch(indices), subject.taken(unseen(whole, generator, indices))
        _seconds(subject, session, known)
        order = [("known", known), ("novel", novel)][:: 1 if generator.random() < 0.5 else -1]
        times = {name: _seconds(subject, session, samples) for name, samples in order}
        logs.append(float(np.log(times["novel"] / times["known"])))
        novel_s.append(times["novel"])
    return {
        "seed": seed,
        "novel_batch_ms": statistics.median(novel_s) * 1000,
        "pairs": len(logs),
        "ratio": float(np.exp(np.mean(logs))),
        "ratio_low_95": float(np.exp(mean_lower_bound(logs))),
    }


def drawn(dataset: Dataset, seed: int) -> NDArray[np.float32]:
    """Returns the COMPARED unseen inputs of a seed, of samples that are all resident, as the reference takes them."""
    generator = np.random.default_rng(seed)
    return unseen(dataset, generator, generator.integers(0, dataset.total, COMPARED))


def answers(subject: Subject, session: Session, batch: int, seed: int) -> list[str]:
    """Returns a session's payloads for the unseen inputs of a seed, in hexadecimal.

    They are made of what the reference takes, and then brought into the form that the model takes.
    """
    inputs = subject.taken(drawn(subject.whole(), seed))
    found: list[str] = []
    for start in range(0, len(inputs), batch):
        payload = subject.workload.encode(session.predict(inputs[start : start + batch]))
        subject.beat(len(payload))
        found += [row.tobytes().hex() for row in payload]
    return found


def unseen(dataset: Dataset, generator: np.random.Generator, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns inputs made of these samples that nobody can have seen, shape (n, *input_shape)."""
    one: NDArray[np.float32] = dataset.batch(indices)
    other: NDArray[np.float32] = dataset.batch(generator.integers(0, dataset.total, len(indices)))
    shape = (len(indices), *(1 for _ in one.shape[1:]))
    share = generator.uniform(*MIX, shape).astype(np.float32)
    return share * _moved(one, generator) + (1 - share) * other


def _moved(samples: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Returns each sample shifted along its last axis, to the left or to the right."""
    shifts = generator.integers(1, MOST_SHIFT + 1, len(samples)) * generator.choice((-1, 1), len(samples))
    columns = (np.arange(samples.shape[-1]) - shifts[:, None]) % samples.shape[-1]
    return np.take_along_axis(samples, columns.reshape(len(samples), *(1 for _ in samples.shape[2:]), -1), axis=-1)


def _seconds(subject: Subject, session: Session, samples: NDArray[Any]) -> float:
    started = time.perf_counter()
    session.predict(samples)
    elapsed = time.perf_counter() - started
    subject.beat(len(samples))
    return elapsed
