"""What is said of a map follows from its figures: seen, not seen, or nobody can tell."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from tests.tools.interact.made_up import chart
from tools.interact.conduct import ROUNDS, Chart, Measured
from tools.interact.grid import Axes, Cell
from tools.interact.shapes import NOT_SEEN, SEEN, UNKNOWN, UNMEASURED, Ratio, Shape, ratio_of, shapes

pytestmark = pytest.mark.side_by_side

AXES = Axes((1, 16, 1024), (1, 2), (1, 2), (0, 1))

INTERIOR = "The best batch is neither the smallest nor the largest"
TOO_LARGE = "The largest batch is slower than the smallest"
DATA = "Sessions side by side gain more than threads of one session"
STAGES = "Sessions side by side gain more than stages of one session"
INTERACTION = "What sessions gain depends on the batch"
AHEAD = "To gather batches ahead of inference pays"
CORNER = "Some cells that the cores allow fail"
ANSWERS = "Batch and parallelism leave the answers alone"


def found(made: Chart) -> dict[str, Shape]:
    return {one.claim: one for one in shapes(made)}


def accelerator(cell: Cell) -> float:
    """Like the figure: batches of 16 are best, and the largest are worse than one sample; sessions beat threads."""
    batch = {1: 100.0, 16: 400.0, 1024: 50.0}[cell.batch]
    sessions = {1: 1.5, 16: 1.9, 1024: 1.2}[cell.batch] if cell.sessions == 2 else 1.0
    return batch * sessions * (1.1 if cell.threads == 2 else 1.0) * (1.2 if cell.prefetch else 1.0)


def opposite(cell: Cell) -> float:
    """The larger the batch the better; threads beat sessions, which gain as much everywhere; ahead costs."""
    sessions, threads = (1.5 if cell.sessions == 2 else 1.0), (1.8 if cell.threads == 2 else 1.0)
    return (100.0 + cell.batch) * sessions * threads * (0.8 if cell.prefetch else 1.0)


def flat(cell: Cell) -> float:
    """Nothing matters."""
    return 100.0


def test_a_map_like_the_figure_has_its_shapes() -> None:
    failed = {Cell(2, 1, 1024, 1): "no room"}
    outcomes = {claim: one.outcome for claim, one in found(chart(AXES, accelerator, failed)).items()}
    # Of the best cell's batches the largest failed, so that the smallest and 16 are left, and 16 is an end.
    assert outcomes.pop(INTERIOR) == UNMEASURED
    assert outcomes.pop(TOO_LARGE) == NOT_SEEN
    assert outcomes.pop(STAGES) == UNMEASURED
    assert outcomes == {DATA: SEEN, INTERACTION: SEEN, AHEAD: SEEN, CORNER: SEEN, ANSWERS: SEEN}
    whole = found(chart(AXES, accelerator))
    assert (whole[INTERIOR].outcome, whole[TOO_LARGE].outcome) == (SEEN, SEEN)
    assert whole[CORNER].outcome == NOT_SEEN


def test_a_map_of_another_shape_has_none_of_them() -> None:
    outcomes = {claim: one.outcome for claim, one in found(chart(AXES, opposite)).items()}
    assert outcomes == {
        INTERIOR: NOT_SEEN,
        TOO_LARGE: NOT_SEEN,
        DATA: NOT_SEEN,
        STAGES: UNMEASURED,
        # 1.5 times everywhere: an interval that holds 1 proves no equality.
        INTERACTION: UNKNOWN,
        AHEAD: NOT_SEEN,
        CORNER: NOT_SEEN,
        ANSWERS: SEEN,
    }


def test_where_all_is_noise_nobody_can_tell() -> None:
    outcomes = {claim: one.outcome for claim, one in found(chart(AXES, flat)).items()}
    assert {outcomes[claim] for claim in (TOO_LARGE, DATA, INTERACTION, AHEAD)} == {UNKNOWN}
    assert outcomes[INTERIOR] in (UNKNOWN, NOT_SEEN)


def test_the_figures_are_those_of_the_cells() -> None:
    told = {claim: one.figures for claim, one in found(chart(AXES, accelerator)).items()}
    assert "batches of 16 make 5.07 times" in told[INTERIOR] and "what batches of 1 make" in told[INTERIOR]
    assert "batches of 1 make 2.50 times" in told[TOO_LARGE]
    # The geometric mean of 1.5, 1.9 and 1.2, over 1.1.
    assert "2 sessions of 1 thread make 1.37 times" in told[DATA] and "1.51 times" in told[DATA]
    assert "make 1.50 times" in told[INTERACTION] and "1.20 times" in told[INTERACTION]
    assert "it makes 1.20 times" in told[AHEAD] and "over 9 cells" in told[AHEAD]
    assert "where a core is left for it" in told[AHEAD] and "where sessions take all" in told[AHEAD]
    assert told[CORNER] == "0 of 18 did"
    assert told[ANSWERS] == "no answer of 1,024 or more differs in any of 18 cells"


def test_what_was_not_measured_is_said_so() -> None:
    outcomes = {claim: one.outcome for claim, one in found(chart(Axes((1,), (1,), (1,), (False,)), flat)).items()}
    assert {outcomes[claim] for claim in (INTERIOR, TOO_LARGE, DATA, INTERACTION, AHEAD)} == {UNMEASURED}


def test_an_untried_cell_did_not_fail_and_changed_answers_are_named() -> None:
    made = chart(AXES, flat, {Cell(1, 1, 1024, 0): "not tried: a batch of 16 takes 2.0 s already"})
    assert found(made)[CORNER].sentence == f"{CORNER}: {NOT_SEEN}; 0 of 18 did, and 1 were not tried"
    cell = Cell(2, 1, 16, 0)
    changed = replace(made, cells={**made.cells, cell: replace(made.cells[cell], changed=9)})
    assert found(changed)[ANSWERS].outcome == NOT_SEEN
    assert "batches of 16, 2 sessions of 1 thread: 9 of 1,024" in found(changed)[ANSWERS].figures


def test_a_ratio_that_was_chosen_from_many_is_less_sure() -> None:
    made = chart(AXES, accelerator)
    pair = (made.cells[Cell(1, 1, 16, 0)], made.cells[Cell(1, 1, 1, 0)])
    one, chosen = ratio_of([pair]), ratio_of([pair], comparisons=10)
    assert one.value == chosen.value == pytest.approx(4.0, rel=1e-3)
    assert chosen.low < one.low < one.value < one.high < chosen.high
    assert [Ratio(1.0, low, high).outcome for low, high in ((1.01, 2), (0.5, 0.9), (0.9, 1.1))] == [
        SEEN,
        NOT_SEEN,
        UNKNOWN,
    ]


@pytest.mark.parametrize(
    ("pairs", "comparisons", "least", "most"), [(1, 1, 930, 970), (3, 1, 930, 970), (1, 4, 980, 995)]
)
def test_a_ratio_lies_within_its_interval(pairs: int, comparisons: int, least: int, most: int) -> None:
    """Of 1,000 maps, in whose rounds the machine as a whole is quicker or slower: one claim of 95 %, or of four."""
    draw = np.random.default_rng(19)

    def measured(level: float, of_rounds: np.ndarray) -> Measured:
        return Measured(Cell(1, 1, 1, 0), tuple(np.exp(draw.normal(level, 0.03, ROUNDS) + of_rounds).tolist()))

    def covered() -> bool:
        of_rounds = draw.normal(0.0, 0.2, ROUNDS)
        found = ratio_of([(measured(log(1.3), of_rounds), measured(0.0, of_rounds)) for _ in range(pairs)], comparisons)
        return found.low <= 1.3 <= found.high

    assert least <= sum(covered() for _ in range(1000)) <= most
