"""The paired bootstrap of scores: what it says by itself, and how often its interval holds."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy_scripts.bootstrap import FEWEST, Difference, certify, of_means, of_scores
from accuracy_scripts.paired import CERTIFIED, REGRESSION, UNKNOWN

pytestmark = pytest.mark.side_by_side


def test_of_many_samples_it_is_the_interval_of_a_paired_mean() -> None:
    draw = np.random.default_rng(1)
    reference = draw.uniform(0.2, 0.8, 4000)
    variant = reference + draw.normal(-0.01, 0.05, 4000)
    found, apart = of_means(reference, variant), variant - reference
    reach = 1.96 * apart.std() / np.sqrt(4000)
    assert found.value == pytest.approx(apart.mean()) and found.samples == found.differing == 4000
    assert (found.low, found.high) == pytest.approx((apart.mean() - reach, apart.mean() + reach), abs=0.1 * reach)
    # What is hard for both cancels out, and the same samples give the same interval.
    assert found.high - found.low < 0.3 * 2 * 1.96 * reference.std() * np.sqrt(2 / 4000)
    assert of_means(reference, variant) == found


def test_a_score_that_is_no_mean_is_drawn_alike() -> None:
    apart = np.random.default_rng(2).normal(0.0, 0.1, 500)
    found = of_scores(lambda counts: 0.0 * counts[:, 0], lambda counts: counts @ apart / 500, 500, 500)
    reach = 1.96 * apart.std() / np.sqrt(500)
    assert found.value == pytest.approx(apart.mean())
    assert found.high - found.low == pytest.approx(2 * reach, rel=0.1)


def test_where_no_sample_differs_it_still_has_a_width() -> None:
    same = np.linspace(0, 1, 1000)
    found = of_means(same, same)
    assert found.differing == 0 and -0.005 < found.low < 0 < found.high < 0.005


@pytest.mark.parametrize("apart", [1e-4, 1e-17])
def test_where_hardly_any_differs_it_is_as_wide_as_where_none_does(apart: float) -> None:
    same, other = np.linspace(0, 0.9, 1000), np.linspace(0, 0.9, 1000)
    other[7] += apart
    found, of_none = of_means(same, other), of_means(same, same)
    assert found.high - found.low == pytest.approx(of_none.high - of_none.low, rel=0.1)


def test_a_margin_has_three_outcomes() -> None:
    def of(low: float, high: float, differing: int = 500) -> Difference:
        return Difference(0.8, 0.8 + (low + high) / 2, low, high, 1000, differing)

    assert certify(of(-0.005, 0.001), 0.008).outcome == CERTIFIED
    assert certify(of(-0.03, -0.01), 0.008).outcome == REGRESSION
    unsure = certify(of(-0.009, 0.001), 0.008)
    assert unsure.outcome == UNKNOWN and unsure.more_samples == pytest.approx(1000 * ((0.005 / 0.004) ** 2 - 1), abs=1)
    assert certify(of(0.0, 0.0), 0.008).outcome == UNKNOWN
    few = Difference(0.8, 0.8, -0.001, 0.001, FEWEST - 1, FEWEST - 1)
    assert certify(few, 0.008).outcome == UNKNOWN


def few_lost(draw: np.random.Generator) -> NDArray[np.float64]:
    return -(draw.random(1000) < 0.003).astype(np.float64)


def some_changed(draw: np.random.Generator) -> NDArray[np.float64]:
    return np.where(draw.random(1000) < 0.05, draw.uniform(-1, 0.6, 1000), 0.0)


def all_changed(draw: np.random.Generator) -> NDArray[np.float64]:
    return draw.exponential(0.02, 300) - 0.025


@pytest.mark.parametrize(
    ("draw_one", "truth"),
    [(few_lost, -0.003), (some_changed, -0.01), (all_changed, -0.005)],
    ids=["few lost", "some changed", "all changed"],
)
def test_the_interval_covers_the_difference(
    draw_one: Callable[[np.random.Generator], NDArray[np.float64]], truth: float
) -> None:
    """Of 1,000 evaluation sets at least 930: three samples lost on average, a twentieth changed, all changed."""
    draw, inside = np.random.default_rng(5), 0
    for _ in range(1000):
        apart = draw_one(draw)
        found = of_means(np.full(len(apart), 0.5), 0.5 + apart, draws=400)
        inside += found.low <= truth <= found.high
    assert inside >= 930, inside
