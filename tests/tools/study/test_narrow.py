"""More processes of what may count: as many as the first few tell, and with them an interval as narrow as was asked."""

from dataclasses import replace
from math import exp, log
from pathlib import Path

import numpy as np
import pytest

from common.statistics import two_stage_count
from suite.probes.contest import Block, ratio
from tests.tools.study.made import RESNET, Made, data_dir, of, two_blocks
from tools.study import contests, findings, narrow, shelf
from tools.study.clock import Clock
from tools.study.plan import Cell, Study, default

pytestmark = pytest.mark.side_by_side

INT8 = of(RESNET, "quantize:int8")


@pytest.fixture
def made(tmp_path: Path) -> Made:
    found = Made(tmp_path)
    found.add(RESNET, 1.0, 650)
    found.add(INT8, 2.0, 650)
    return found


def keep(made: Made, before: int, ratio: float) -> None:
    record = {"state": "measured", "reason": None, "blocks": two_blocks(ratio)}
    shelf.keep(made.folder, shelf.MORE, contests.more_name(INT8, before), record)


def test_the_first_processes_tell_how_many_it_takes(made: Made) -> None:
    study, ratios = Study(tuple(made.cells), width=0.01), [2.0, 2.02, 1.98, 2.0, 2.01, 1.99, 2.0, 2.01, 1.99, 2.0]
    assert narrow.missing(INT8, study, made.folder) == contests.FIRST_PROCESSES - 1
    for before in range(1, contests.FIRST_PROCESSES):
        keep(made, before, ratios[before])
    needed = two_stage_count(np.log(ratios[: contests.FIRST_PROCESSES]).tolist(), log(1.01))
    assert contests.FIRST_PROCESSES < needed < len(ratios)
    for before in range(contests.FIRST_PROCESSES, needed):
        assert narrow.missing(INT8, study, made.folder) == 1
        keep(made, before, ratios[before])
    assert narrow.missing(INT8, study, made.folder) == 0
    (row,) = (row for row in made.rows() if row.cell == INT8)
    assert (row.processes, row.blocks) == (needed, 2 * needed)
    assert row.ends and row.ends[1] / row.ends[0] <= 1.01**2 + 1e-9


@pytest.mark.parametrize(("of_processes", "of_blocks"), [(0.02, 0.03), (0.0, 0.05), (0.03, 0.01)])
def test_the_interval_covers_the_ratio_however_much_processes_differ(of_processes: float, of_blocks: float) -> None:
    """Of 1,000 studies with time enough at least 930 and at most 970, at the study's own settings."""
    draw, study = np.random.default_rng(5), default(["fashion-resnet"], quick=False)

    def process() -> list[Block]:
        middle = draw.normal(0.3, of_processes)
        found = np.exp(draw.normal(middle, of_blocks, study.least_blocks))
        return [Block((1000.0, 1000.0), (1000.0 * one, 1000.0 * one), True) for one in found.tolist()]

    def covered() -> bool:
        turns = [process()]
        while count := narrow.due([log(ratio(own)) for own in turns], study.width):
            turns += [process() for _ in range(count)]
        _, ends = findings.pace(turns, study.least_blocks, contests.FIRST_PROCESSES)
        assert ends and ends[1] / ends[0] <= (1 + study.width) ** 2 + 1e-9
        return ends[0] <= exp(0.3) <= ends[1]

    assert 930 <= sum(covered() for _ in range(1000)) <= 970


def test_too_few_processes_leave_what_one_says(made: Made) -> None:
    record = shelf.measured(made.folder, INT8)
    assert record
    # One more than the first ones, which told how many there are.
    shelf.keep(made.folder, shelf.CELLS, INT8.id, {**record, "blocks": [*record["blocks"], *two_blocks(2.2)[:1]]})
    (alone,) = (row for row in made.rows() if row.cell == INT8)
    for before in range(1, contests.FIRST_PROCESSES - 1):
        keep(made, before, 2.5)
        (row,) = (row for row in made.rows() if row.cell == INT8)
        assert (row.processes, row.blocks, row.ratio, row.ends) == (1, 3, alone.ratio, alone.ends)
    keep(made, contests.FIRST_PROCESSES - 1, 2.5)
    (row,) = (row for row in made.rows() if row.cell == INT8)
    assert row.processes == contests.FIRST_PROCESSES and row.blocks == 2 * row.processes and row.ratio > 2.3


def test_a_repetition_that_joins_later_does_not_decide_how_many_there_are(made: Made) -> None:
    for number, speed in enumerate((2.02, 1.98, 2.0, 2.5, 1.6), 1):
        keep(made, number, speed)
    (before,) = (row for row in made.rows() if row.cell == INT8)
    made.add(replace(RESNET, repetition=2), 1.0, 650)
    made.add(replace(INT8, repetition=2), 2.0, 650)
    (row,) = (row for row in made.rows() if row.cell == INT8)
    # The first four are alike: by their spread it is narrow, by that of all it would not be.
    assert row.processes == 7 and before.smallest_seen and row.smallest_seen
    assert row.smallest_seen < before.smallest_seen < 0.02


def test_a_failure_ends_a_cells_processes_and_not_the_others(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    other, begun = of(RESNET, "cluster:8"), []
    made.add(other, 1.1, 650)

    def fail(cell: Cell, places: contests.Places) -> str:
        begun.append(cell)
        shelf.keep(made.folder, shelf.MORE, contests.more_name(cell, 1), {"state": "failed", "reason": "it ended"})
        return cell.id

    monkeypatch.setattr(narrow, "_more", fail)
    places = contests.Places(made.folder, made.folder, data_dir)
    narrow.carry_out([INT8, other], Study(tuple(made.cells)), places, Clock(made.folder, "study", 3600))
    assert begun == [INT8, other]


def test_where_one_failed_none_are_taken_again(made: Made) -> None:
    study = Study(tuple(made.cells), width=0.001)
    name = contests.more_name(INT8, 1)
    shelf.keep(made.folder, shelf.MORE, name, {"state": "failed", "reason": "it ended"})
    assert narrow.missing(INT8, study, made.folder) == 0
    (row,) = (row for row in made.rows() if row.cell == INT8)
    assert "another process failed: it ended" in row.notes
    shelf.forget_failures(made.folder, tuple(made.cells))
    assert narrow.missing(INT8, study, made.folder) == contests.FIRST_PROCESSES - 1


def test_neither_the_reference_nor_repetitions_take_more(made: Made) -> None:
    again = Study((*made.cells, replace(INT8, repetition=2)), width=0.001)
    assert narrow.missing(INT8, again, made.folder) == 0
    assert narrow.missing(RESNET, Study(tuple(made.cells), width=0.001), made.folder) == 0
