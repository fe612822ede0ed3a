"""Batch sensitivity: how many of a variant's answers change with the order and the size of the batches."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scenarios.base import Session
from suite.placement import pinned, shares
from suite.probes.speed import raise_fault, system
from suite.subject import Subject

# A pass takes as long as it may: what is answered in it is waited for before every first run.
PASS_S = 2.0
# And as much longer as these samples take, as many as a performance run logs: with fewer, chance could explain more
# differences than a run may have.
LEAST = 4096


def sensitivity(
    subject: Subject, sessions: list[Session], batch: int, seed: int, pin: Sequence[int] = ()
) -> dict[str, Any]:
    """Returns how many answers change: the evaluation set answered again, shuffled by the seed, in other batches.

    All sessions answer side by side, as under load, each on its share of a pin's cores. A slow model is asked for as
    many samples as fit the time; the worst pass is what `samples` and `differences` say.
    """
    generator = np.random.default_rng(seed)
    baseline = _answers(subject, sessions, np.arange(subject.dataset.total), itertools.repeat(batch), pin)
    known = np.array(sorted(baseline))
    passes: list[dict[str, Any]] = []
    for label, sizes in _batchings(batch, generator):
        answers = _answers(subject, sessions, generator.permutation(known), sizes, pin)
        differences = sum(baseline[index] != payload for index, payload in answers.items())
        passes.append({"order": "shuffled", "batch": label, "samples": len(answers), "differences": differences})
    worst = max(passes, key=lambda one: float(one["differences"]) / float(one["samples"]))
    return {"seed": seed, "samples": worst["samples"], "differences": worst["differences"], "passes": passes}


def _batchings(largest: int, generator: np.random.Generator) -> list[tuple[str, Iterator[int]]]:
    mixed = (int(generator.integers(1, largest + 1)) for _ in itertools.count())
    passes: list[tuple[str, Iterator[int]]] = [("maximum", itertools.repeat(largest))]
    return passes if largest == 1 else [*passes, ("1", itertools.repeat(1)), ("mixed", mixed)]


def _answers(
    subject: Subject, sessions: list[Session], order: NDArray[np.int64], sizes: Iterator[int], pin: Sequence[int]
) -> dict[int, bytes]:
    """Returns the payload of each sample by its index, as far as the time allowed goes."""
    found: dict[int, bytes] = {}
    batches, lock = _batches(order, sizes), threading.Lock()

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        if payload is not None:
            found.update(zip(ids, (row.tobytes() for row in payload), strict=True))
        subject.beat(len(ids))

    systems = [system(subject, [session], complete, len(order), inline=True) for session in sessions]

    def answer(number: int, cores: tuple[int, ...]) -> None:
        with pinned(cores):
            answer_on(number)

    def answer_on(number: int) -> None:
        while not any(one.faults for one in systems):
            with lock:
                indices = next(batches, None)
            if indices is None:
                return
            systems[number].issue(indices, list(indices))

    places = enumerate(shares(pin, len(systems)))
    threads = [threading.Thread(target=answer, args=place, daemon=True) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        # A backend that hangs gives no beat, and the parent ends this process.
        thread.join()
    for one in systems:
        raise_fault(one)
    return found


def _batches(order: NDArray[np.int64], sizes: Iterator[int]) -> Iterator[list[int]]:
    end, start = time.perf_counter() + PASS_S, 0
    while start < len(order) and (start < LEAST or time.perf_counter() < end):
        indices: list[int] = order[start : start + next(sizes)].tolist()
        start += len(indices)
        yield indices
