"""A contest: a variant and the reference, loaded side by side in one process, answer in turn.

What slows the machine for a while meets both. A block has four turns, reference, variant, variant, reference or the
other way round, so that a steady drift cancels out; its figure is one ratio.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, log
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.statistics import two_stage_count, two_stage_interval
from scenarios.base import Session
from suite.probes import speed
from suite.subject import Subject
from suite.variant import Serving

# The fewest of which a mean has an interval, and the spread that decides how many more there are.
LEAST_BLOCKS = 2
# Of the order in which answers are taken once more.
ORDER_SEED = 11


@dataclass(frozen=True)
class Side:
    """A model with its data, loaded, and how it is served."""

    subject: Subject
    sessions: list[Session]
    serving: Serving

    @classmethod
    def loaded(cls, subject: Subject, serving: Serving) -> "Side":
        """Returns a subject with the sessions of a serving, warmed up."""
        return cls(subject, subject.load(serving), serving)


# What is timed.
Timed = TypeVar("Timed")
# How fast a side is, the higher the better.
Measure = Callable[[Side], float]


@dataclass(frozen=True)
class Block:
    """How fast each side was in its two turns, as a rate, and which side began and ended."""

    reference: tuple[float, ...]
    variant: tuple[float, ...]
    reference_outside: bool

    @property
    def log_ratio(self) -> float:
        """The logarithm of the variant's rate over the reference's."""
        return fmean(map(log, self.variant)) - fmean(map(log, self.reference))

    def record(self) -> dict[str, Any]:
        """Returns it as JSON-like values."""
        return asdict(self)


def ratio(blocks: Sequence[Block]) -> float:
    """Returns the geometric mean of the blocks' ratios."""
    return exp(fmean(one.log_ratio for one in blocks))


def interval(blocks: Sequence[Block], first: int | None = None) -> tuple[float, float] | None:
    """Returns the 95 % interval of the ratio, None where there are fewer blocks than it takes.

    `first`: so many of them decided how many there are; None where that was decided beforehand.
    """
    if len(blocks) < max(first or 0, LEAST_BLOCKS):
        return None
    low, high = two_stage_interval([one.log_ratio for one in blocks], first or len(blocks))
    return exp(low), exp(high)


@dataclass(frozen=True)
class Stream:
    """Queries that come one after the other, and the percentile of their latency, as a share, that is held."""

    samples_per_query: int
    percentile: float


@dataclass(frozen=True)
class Terms:
    """How a contest is held: turns of so many seconds, in as many blocks as `blocks` says."""

    seconds: float
    least_blocks: int
    most_blocks: int
    width: float

    @classmethod
    def fixed(cls, seconds: float, count: int) -> "Terms":
        """Returns the terms of so many blocks, however much they spread."""
        return cls(seconds, count, count, 1.0)


def measure(seconds: float, stream: Stream | None) -> Measure:
    """Returns what times a side for about so many seconds.

    Of a stream it is queries/s, were each as slow as the percentile; else samples/s with every session busy.
    """
    # By the side's identity: what its last turn found.
    known: dict[int, float] = {}

    def rate(side: Side) -> float:
        if stream is None:
            found = speed.throughput(side.subject, side.sessions, side.serving, seconds, known.get(id(side)))
            known[id(side)] = found
            return found
        return 1 / speed.query_latency(
            side.subject, side.sessions, side.serving.batch, stream.samples_per_query, seconds, stream.percentile
        )

    return rate


def answers(side: Side, outputs: NDArray[Any] | None = None, *, count: int | None = None) -> NDArray[Any]:
    """Returns the payload of each sample of the evaluation set in index order, or of the first `count` and so on.

    `outputs`, if given, receives each sample's raw output.
    """
    total = side.subject.dataset.total
    return _answered(side, [number % total for number in range(total if count is None else count)], outputs)


def otherwise_batched(side: Side) -> NDArray[Any]:
    """Returns the payload of each sample in index order, answered in batches of half the size with other samples."""
    smaller = replace(side, serving=replace(side.serving, batch=max(1, side.serving.batch // 2)))
    order = np.random.default_rng(ORDER_SEED).permutation(side.subject.dataset.total)
    found = _answered(smaller, order.tolist())
    ordered = np.empty_like(found)
    ordered[order] = found
    return ordered


def _answered(side: Side, order: Sequence[int], outputs: NDArray[Any] | None = None) -> NDArray[Any]:
    """Returns the payload of each sample of an order, in which they are answered."""
    found: list[tuple[list[int], NDArray[Any]]] = []

    def keep(ids: list[int], payload: NDArray[Any] | None) -> None:
        if payload is not None:
            found.append((ids, payload.copy()))

    speed.answer_all(side.subject, side.sessions, side.serving, len(order), keep, outputs, order)
    first = found[0][1]
    ordered = np.empty((len(order), *first.shape[1:]), first.dtype)
    for ids, payload in found:
        ordered[ids] = payload
    return ordered


def block(reference: Timed, variant: Timed, rate: Callable[[Timed], float]) -> Block:
    """Returns one block of four turns of two of whatever `rate` times."""
    outside = random.random() < 0.5
    order = (0, 1, 1, 0) if outside else (1, 0, 0, 1)
    rates: tuple[list[float], list[float]] = ([], [])
    for side in order:
        rates[side].append(rate((reference, variant)[side]))
    return Block(tuple(rates[0]), tuple(rates[1]), outside)


def blocks(measure: Callable[[], Block], least: int, most: int, width: float) -> list[Block]:
    """Returns as many blocks as make the interval's ends be within `width` of the ratio, as a share, or `most`.

    The first `least` of them tell how many that are.
    """
    first = [measure() for _ in range(min(least, most))]
    if len(first) < LEAST_BLOCKS:
        return first
    needed = two_stage_count([one.log_ratio for one in first], log(1 + width))
    return [*first, *(measure() for _ in range(min(needed, most) - len(first)))]
