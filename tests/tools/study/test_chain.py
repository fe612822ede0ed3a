"""The waterfall of a chain: the interval of what a step added holds as often as it says."""

from math import exp

import numpy as np
import pytest

from accuracy_scripts.paired import Outcomes
from suite.probes.contest import Block, blocks, interval, ratio
from tools.study.chain import chains, waterfall
from tools.study.findings import UNJUDGED, Row
from tools.study.plan import Cell

pytestmark = pytest.mark.side_by_side

SAME = Outcomes(9300, 0, 0, 700, 0)


@pytest.mark.parametrize("spreads", [(0.02, 0.02), (0.05, 0.01), (0.05, 0.05)])
def test_what_a_step_added_lies_within_its_interval(spreads: tuple[float, float]) -> None:
    """Of 1,000 chains at least 930, at the study's own settings: two contests, each with a spread of its own."""
    draw = np.random.default_rng(17)

    def row(recipe: str, truth: float, spread: float) -> Row:
        found = blocks(lambda: _block(exp(draw.normal(np.log(truth), spread))), 5, 8, 0.03)
        cell = Cell("fashion-resnet", "onnxruntime", "offline", recipe)
        return Row(cell, UNJUDGED, ratio=ratio(found), ends=interval(found, 5), before=SAME)

    def covered() -> bool:
        _, added = waterfall([row("prune:0.1", 1.1, spreads[0]), row("prune:0.1+cluster:8", 1.65, spreads[1])])
        assert added.ends
        return added.ends[0] <= 1.5 <= added.ends[1]

    assert sum(covered() for _ in range(1000)) >= 930


def test_a_chain_whose_beginning_answered_nothing_has_no_waterfall() -> None:
    """Of two repetitions the one that answered has turns, and the step before it failed in the first."""

    def row(recipe: str, before: Outcomes | None) -> Row:
        cell = Cell("fashion-resnet", "onnxruntime", "offline", recipe)
        return Row(cell, UNJUDGED, ratio=1.2, ends=(1.1, 1.3), before=before)

    reference, first = row("", None), row("prune:0.1", SAME)
    assert len(chains([reference, first, row("prune:0.1+cluster:8", SAME)])) == 1
    assert not chains([reference, first, row("prune:0.1+cluster:8", None)])


def _block(found: float) -> Block:
    return Block((1000.0, 1000.0), (1000.0 * found, 1000.0 * found), True)
