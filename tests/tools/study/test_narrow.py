"""More blocks of what may count: as many as the first ones tell, and with them an interval as narrow as was asked."""

from dataclasses import replace
from math import log
from pathlib import Path

import pytest

from common.statistics import two_stage_count
from tests.tools.study.made import RESNET, Made, of, two_blocks
from tools.study import contests, narrow, shelf
from tools.study.plan import Study

pytestmark = pytest.mark.side_by_side

INT8 = of(RESNET, "quantize:int8")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    found = Made(tmp_path)
    found.add(RESNET, 1.0, 650)
    found.add(INT8, 2.0, 650)
    return found


def keep(made: Made, before: int, count: int) -> None:
    blocks = [two_blocks(2.0)[number % 2] for number in range(count)]
    record = {"state": "measured", "reason": None, "blocks": blocks}
    shelf.keep(made.folder, shelf.MORE, contests.more_name(INT8, before), record)


def test_the_first_blocks_tell_how_many_it_takes(made: Made) -> None:
    study = Study(tuple(made.cells), width=0.05)
    (row,) = (row for row in made.rows() if row.cell == INT8)
    assert row.ends and row.ends[1] / row.ends[0] > 1.05**2
    record = shelf.measured(made.folder, INT8)
    assert record
    first = [one.log_ratio for one in contests.blocks(record)]
    needed = two_stage_count(first, log(1.05))
    assert 2 + narrow.AT_ONCE > needed > 2
    assert narrow.missing(INT8, study, made.folder) == needed - 2
    keep(made, 2, needed - 2)
    assert narrow.missing(INT8, study, made.folder) == 0
    (narrower,) = (row for row in made.rows() if row.cell == INT8)
    assert narrower.blocks == needed and narrower.ends and narrower.ends[1] / narrower.ends[0] <= 1.05**2 + 1e-9


def test_of_many_blocks_a_few_at_a_time(made: Made) -> None:
    assert narrow.missing(INT8, Study(tuple(made.cells), width=0.001), made.folder) == narrow.AT_ONCE


def test_where_they_failed_none_are_taken_again(made: Made) -> None:
    study = Study(tuple(made.cells), width=0.001)
    name = contests.more_name(INT8, 2)
    shelf.keep(made.folder, shelf.MORE, name, {"state": "failed", "reason": "it ended"})
    assert narrow.missing(INT8, study, made.folder) == 0
    shelf.forget_failures(made.folder, tuple(made.cells))
    assert narrow.missing(INT8, study, made.folder) == narrow.AT_ONCE


def test_neither_the_reference_nor_repetitions_take_more(made: Made) -> None:
    again = Study((*made.cells, replace(INT8, repetition=2)), width=0.001)
    assert narrow.missing(INT8, again, made.folder) == 0
    assert narrow.missing(RESNET, Study(tuple(made.cells), width=0.001), made.folder) == 0
