"""Looks: a few samples first, and more only where they cannot tell."""

from pathlib import Path

import numpy as np
import pytest

from suite import plugins
from suite.probes import looks
from suite.probes.contest import Side
from suite.variant import Serving
from tests.suite.subjects import subject

SERVING = Serving(64, 0, 1, 1, "cpu")
WORKLOAD = plugins.workload("fashion-mobilenet")


def test_it_goes_on_until_it_is_certain_or_has_answered_all(data_root: Path) -> None:
    ours = subject("onnxruntime", data_root)
    side = Side.loaded(ours, SERVING)
    order, truth = looks.order(ours.dataset.total, 7), ours.dataset.truth()

    def seen(seconds: float, reference: list[int] | None) -> tuple[int, str]:
        found, ended_by = looks.answers(side, 7, seconds, reference)
        return len(found), ended_by

    # Beside somebody who is always right, its 6.6 points fewer are certainly more than the one that is allowed.
    assert seen(60, truth[order].tolist()) == (500, looks.CERTAIN)
    assert seen(60, truth[order[:400]].tolist())[0] == 400
    # There is no time for more than the first look.
    assert seen(0, None) == (500, looks.TIME)

    found, ended_by = looks.answers(side, 7, 60, truth[order[:1200]].tolist())
    assert ended_by == looks.CERTAIN
    ours.dataset.load(range(ours.dataset.total))
    right = side.sessions[0].predict(ours.dataset.batch(order[: len(found)])).argmax(1)
    assert found.tolist() == right.tolist()
    # Beside itself it can never be certain.
    more = side.sessions[0].predict(ours.dataset.batch(order[500:600])).argmax(1)
    assert seen(60, [*found.tolist(), *more.tolist()]) == (600, looks.ALL)


@pytest.mark.parametrize(
    ("samples", "lost", "won", "certain"),
    [
        (500, 0, 0, False),
        (500, 6, 0, False),
        (500, 50, 10, True),
        (2000, 30, 10, False),
        (2000, 80, 20, True),
        # On the target itself, however many there are.
        (10_000, 93, 0, False),
        (10_000, 200, 20, True),
    ],
)
def test_what_is_certain_is_far_below_for_so_few_samples(samples: int, lost: int, won: int, certain: bool) -> None:
    """The reference is right on 93 %; `lost` of its right answers go wrong, and `won` of its wrong ones right."""
    truth = np.zeros(samples, np.int64)
    reference = truth.copy()
    reference[: round(0.07 * samples)] = 1
    variant = reference.copy()
    variant[:won] = 0
    variant[samples - lost :] = 1
    assert looks.certainly_below(reference, variant, truth, WORKLOAD) is certain


def test_hardly_any_variant_on_its_target_is_called_below_it_in_any_look() -> None:
    """The interval holds for three looks together: 2.5 % would be wrong at most, and the paired one is careful."""
    generator = np.random.default_rng(1)
    total, wrong = 10_000, 0
    truth, allowed = np.zeros(total, np.int64), WORKLOAD.quality - WORKLOAD.target
    for _ in range(400):
        # Of all samples just as many as the target allows are lost.
        lost, won = round(total * (0.01 + allowed / 100)), round(total * 0.01)
        reference = (np.arange(total) < round(total * (1 - WORKLOAD.quality / 100))).astype(np.int64)
        variant = reference.copy()
        variant[:won], variant[total - lost :] = 0, 1
        order = generator.permutation(total)
        seen = (order[:size] for size in looks.SIZES)
        wrong += any(looks.certainly_below(reference[one], variant[one], truth[one], WORKLOAD) for one in seen)
    assert wrong <= 0.05 * 400
