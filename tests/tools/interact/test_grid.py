"""The cells of a map: what flags name, and what the cores allow."""

from itertools import pairwise

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
    cells = axes(2, [], [], [], []).cells
    assert list(cells) == sorted(cells)
    for one, other in pairwise(cells):
        same = (one.sessions, one.threads) == (other.sessions, other.threads)
        assert not same or one.batch <= other.batch
