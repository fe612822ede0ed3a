"""A sweep: many servings of one model take turns, each telling how fast it is, and at first what it answers.

Turns that follow one another on the same sessions share them: to load a session takes longer than a turn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from scenarios.base import Session, callers
from suite.probes import contest, speed
from suite.search import LONGEST_BATCH_S, loaded
from suite.subject import Subject
from suite.variant import Serving

# A first turn looks for so long how fast a serving is, and has it answer as many samples to be compared; of a slow
# model as many as it answers in that time.
LOOK_S = 0.1
ANSWERS = 1024
ANSWERS_S = 2.0

# How the reason of a turn begins that nobody took.
NOT_TRIED = "not tried"


@dataclass(frozen=True)
class Turn:
    """A serving's turn: so many samples, or None for its first one, with runtime options of its own."""

    serving: Serving
    samples: int | None
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def layout(self) -> tuple[Serving, dict[str, str]]:
        """What the turns that share its sessions have in common."""
        return replace(self.serving, batch=1, prefetch=0), dict(self.options)


def sweep(subject: Subject, turns: Sequence[Turn]) -> Iterator[dict[str, Any]]:
    """Yields what each turn found, as soon as it is known: samples/s, and how many batches are answered side by side.

    They are JSON-like values; a first turn has answers too.

    A first turn has a reason in place of both where a smaller batch of its layout, whose turn came before, takes longer
    than LONGEST_BATCH_S.
    """
    for (layout, options), own in groupby(turns, key=lambda turn: turn.layout):
        with loaded(replace(subject, options={**subject.options, **options}), layout) as sessions:
            warm, slow, slow_s = 0, None, 0.0
            for turn in own:
                batch = turn.serving.batch
                if slow is not None and batch > slow:
                    yield {"reason": f"{NOT_TRIED}: a batch of {slow:,} takes {slow_s:.1f} s already"}
                    continue
                if batch != warm:
                    subject.warm_up(sessions, [batch], layout.pin)
                    warm = batch
                found = _taken(subject, sessions, turn)
                yield found
                batch_s = batch * _side_by_side(sessions) / found["samples_per_s"]
                if turn.samples is None and batch_s > LONGEST_BATCH_S:
                    slow, slow_s = batch, batch_s


def filling(batch: int, side_by_side: int, samples: float, least: int = 1) -> int:
    """Returns about so many samples: full batches, as many for each that is side by side, `least` each at least."""
    whole = batch * side_by_side
    return whole * max(least, round(samples / whole))


def _side_by_side(sessions: list[Session]) -> int:
    """Returns how many batches are answered side by side: of a session in stages several."""
    return sum(map(callers, sessions))


def _taken(subject: Subject, sessions: list[Session], turn: Turn) -> dict[str, Any]:
    serving, side_by_side = turn.serving, _side_by_side(sessions)
    found = {"side_by_side": side_by_side}
    if turn.samples is not None:
        return {**found, "samples_per_s": turn.samples / speed.answer_all(subject, sessions, serving, turn.samples)}
    rate = speed.throughput(subject, sessions, serving, LOOK_S)
    count = filling(serving.batch, side_by_side, min(ANSWERS, rate * ANSWERS_S))
    answers = contest.answers(contest.Side(subject, sessions, serving), count=count)
    return {**found, "samples_per_s": rate, "answers": answers.tolist()}
