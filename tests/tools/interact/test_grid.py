"""The cells of a map: what flags name, and what the cores allow."""

from itertools import groupby, pairwise

import pytest

from common.errors import UsageError
from tools.interact.grid import REFERENCE, Axes, Cell, axes, beyond

pytestmark = pytest.mark.side_by_side


def test_by_default_all_powers_of_two_and_the_cores_themselves() -> None:
    found = axes(6, [], [], [], [])
    assert found.batches == tuple(2**power for power in range(11))
    assert found.sessions == found.threads == (1, 2, 4, 6)
    assert len(found.cells) == 11 * 4 * 4 * 2 and found.cells[0] == REFERENCE
    assert axes(1, [], [], [], ["0"]) == Axes(found.batches, (1,), (1,), (0,))


def test_what_flags_name_holds_the_reference() -> None:
    assert axes(2, ["64", " 8"], ["2"], ["1"], ["2"]) == Axes((1, 8, 64), (1, 2), (1,), (0, 2))


@pytest.mark.parametrize(
    ("flag", "given"), [("--batches", "0"), ("--batches", "1025"), ("--sessions", "two"), ("--threads", "1" * 5000)]
)
def test_what_is_no_number_of_an_axis_is_refused(flag: str, given: str) -> None:
    words = {name: [given] if name == flag else [] for name in ("--batches", "--sessions", "--threads")}
    with pytest.raises(UsageError, match=f"{flag} holds '{given}'; it takes whole numbers from 1 to 1024"):
        axes(2, *words.values(), [])


def test_a_cell_that_wants_more_cores_says_how_many() -> None:
    assert beyond(Cell(2, 1, 8, 0), 2) is None
    assert beyond(Cell(2, 2, 8, 0), 2) == "4 cores wanted, 2 can be used"


def test_cells_that_share_sessions_are_together_and_batches_grow() -> None:
    cells = axes(2, [], [], [], [], []).cells
    assert len(list(groupby(cells, key=lambda cell: cell.layout))) == len({cell.layout for cell in cells}) == 6
    assert all(one.batch <= other.batch for one, other in pairwise(cells) if one.layout == other.layout)


def test_stages_share_a_sessions_threads() -> None:
    found = axes(4, ["8"], ["1"], [], ["0"], ["4"])
    assert found.stages == (1, 4) and found.kinds == [(1, 1), (2, 1), (4, 1), (4, 4)]
    with pytest.raises(UsageError, match="--stages holds '3', and each stage wants a thread: give --threads 3"):
        axes(4, [], [], [], [], ["3"])
    assert axes(4, ["8"], ["1"], [], ["0"], []).kinds == [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2)]
    cell = Cell(2, 4, 8, 0, 4)
    assert cell.title == "batches of 8, 2 sessions of 4 threads in 4 stages" and cell.cores == 8
    assert (cell.options, REFERENCE.options) == ({"pipeline": "4"}, {})
