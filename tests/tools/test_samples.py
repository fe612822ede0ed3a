"""`tools.samples`: the number that it names is enough, and no larger than it must be."""

import numpy as np
import pytest

from accuracy_scripts.paired import CERTIFIED, Outcomes, certify, samples_needed
from common.statistics import unpaired_samples
from tests.suite.commands import Command

pytestmark = pytest.mark.side_by_side


@pytest.mark.parametrize(("margin", "changed"), [(0.01, 0.02), (0.005, 0.05)])
def test_equals_are_certified_as_often_as_it_says(margin: float, changed: float) -> None:
    """Nine tenths were asked for, up to what 1,000 trials can tell; a fifth fewer samples are too few."""
    needed = samples_needed(0.93, changed, margin, 0.9)

    def certified(count: int) -> float:
        drawn = np.random.default_rng(5).multinomial(
            count, [0.93 - changed / 2, changed / 2, changed / 2, 0.07 - changed / 2], 1000
        )
        outcomes = (Outcomes(*(int(one) for one in counts), changed=0) for counts in drawn)
        return float(np.mean([certify(one, margin).outcome == CERTIFIED for one in outcomes]))

    assert 0.87 <= certified(needed) <= 0.93
    assert certified(round(0.8 * needed)) < 0.87


def test_other_samples_need_more() -> None:
    assert unpaired_samples(0.01, 0.93, 0.9) > 5 * samples_needed(0.93, 0.02, 0.01, 0.9)


def test_it_tells_both_and_what_those_at_hand_can_show() -> None:
    ended = Command("tools.samples", "--target", "0.99", "--margin", "0.005").end()
    assert ended.code == 0, ended.stderr
    assert f"{samples_needed(0.99, 0.02, 0.005, 0.9):,}" in ended.stdout
    assert f"{unpaired_samples(0.005, 0.99, 0.9):,}" in ended.stdout
    assert "least margin" in ended.stdout


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("--margin=0", "--margin is 0; it is a share between 0 and 1"),
        ("--target=99", "--target is 99; it is a share between 0 and 1"),
        ("--changed=0.5", "it is from 0 to 0.14"),
        ("--have=0", "--have must be"),
    ],
)
def test_what_is_no_share_is_refused(word: str, sentence: str) -> None:
    ended = Command("tools.samples", word).end()
    assert ended.code == 2 and sentence in ended.sentence
