"""A sweep: many servings of one model take turns, each telling how fast it is, and at first what it answers.

Turns that follow one another on the same sessions share them: to load a session takes longer than a turn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from scenarios.base import Session
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
    """A serving's turn: so many samples, or None for its first one."""

    serving: Serving
    samples: int | None

    @property
    def layout(self) -> Serving:
        """What the turns that share its sessions have in common."""
        return replace(self.serving, batch=1, prefetch=0)


def sweep(subject: Subject, turns: Sequence[Turn]) -> Iterator[dict[str, Any]]:
    """Yields what each turn found, as soon as it is known: samples/s, and a first one's answers, as JSON-like values.

    A first turn has a reason in place of both where a smaller batch of its layout, whose turn came before, takes longer
    than LONGEST_BATCH_S.
    """
    for layout, own in groupby(turns, key=lambda turn: turn.layout):
        with loaded(subject, layout) as sessions:
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
                batch_s = batch * len(sessions) / found["samples_per_s"]
                if turn.samples is None and batch_s > LONGEST_BATCH_S:
                    slow, slow_s = batch, batch_s


def filling(serving: Serving, samples: float, least: int = 1) -> int:
    """Returns about so many samples: full batches, as many for each session, and `least` each at least."""
    whole = serving.batch * serving.sessions
    return whole * max(least, round(samples / whole))


def _taken(subject: Subject, sessions: list[Session], turn: Turn) -> dict[str, Any]:
    serving = turn.serving
    if turn.samples is not None:
        return {"samples_per_s": turn.samples / speed.answer_all(subject, sessions, serving, turn.samples)}
    rate = speed.throughput(subject, sessions, serving, LOOK_S)
    count = filling(serving, min(ANSWERS, rate * ANSWERS_S))
    answers = contest.answers(contest.Side(subject, sessions, serving), count=count)
    return {"samples_per_s": rate, "answers": answers.tolist()}
