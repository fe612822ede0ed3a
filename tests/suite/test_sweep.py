"""A sweep: servings take turns on sessions that they share, and what would take too long is not tried."""

from pathlib import Path

import pytest

from suite.probes import sweep as probing
from suite.probes.sweep import ANSWERS, Turn, filling, sweep
from suite.subject import Subject
from suite.variant import Serving
from tests.suite.subjects import subject

pytestmark = pytest.mark.side_by_side


@pytest.fixture(scope="module")
def simulated(data_root: Path) -> Subject:
    return subject("simulated", data_root, per_batch_us="200", per_sample_us="5")


def test_a_first_turn_answers_and_every_turn_says_how_fast_it_was(simulated: Subject) -> None:
    one, ahead = Serving(1, 0, 1, 1, "cpu"), Serving(24, 0, 2, 1, "cpu", prefetch=1)
    first, other, later = sweep(simulated, [Turn(one, None), Turn(ahead, None), Turn(ahead, 480)])
    assert len(first["answers"]) == ANSWERS and len(other["answers"]) == filling(24, 2, ANSWERS) == 1008
    # In whatever batches and sessions, each sample has its own answer.
    assert other["answers"] == first["answers"][:1008] and len(set(first["answers"])) > 1
    assert "answers" not in later
    # Two sessions answer 24 samples in 0.32 ms each, or more slowly on a busy machine.
    assert 0 < later["samples_per_s"] < 2 * 24 / 0.32e-3 * 1.05


def test_a_batch_larger_than_one_that_takes_too_long_is_not_tried(
    simulated: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "LONGEST_BATCH_S", 1e-9)
    servings = [Serving(batch, 0, 1, 1, "cpu", prefetch=ahead) for batch in (1, 2) for ahead in (0, 1)]
    found = list(sweep(simulated, [Turn(one, None) for one in (*servings, Serving(2, 0, 2, 1, "cpu"))]))
    assert ["reason" in one for one in found] == [False, False, True, True, False]
    assert found[2]["reason"].startswith("not tried: a batch of 1 takes ")
    # Later turns have been tried before.
    assert "reason" not in next(sweep(simulated, [Turn(servings[2], 8)]))


@pytest.mark.parametrize(
    ("batch", "sessions", "samples", "least", "filled"),
    [(1, 1, 1024, 1, 1024), (16, 2, 100, 1, 96), (1024, 2, 10, 1, 2048), (1024, 2, 10, 3, 6144), (16, 2, 500, 3, 512)],
)
def test_a_turn_is_full_batches_as_many_for_each_that_is_side_by_side(
    batch: int, sessions: int, samples: int, least: int, filled: int
) -> None:
    assert filling(batch, sessions, samples, least) == filled
