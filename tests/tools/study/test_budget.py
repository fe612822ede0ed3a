"""A study's budget of time: what it begins, what it leaves out, and that a larger one goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tools.study.made import RESNET, Made, data_dir, of, two_blocks
from tools.study import conduct, contests, narrow, shelf
from tools.study.clock import Clock
from tools.study.contests import Places
from tools.study.plan import Cell, Study

pytestmark = pytest.mark.side_by_side

ANSWER_S, TURNS_S, RUN_S, PEAK_S, MORE_S = 3.0, 7.0, 20.0, 90.0, 30.0
SERVER = Cell(RESNET.workload, "onnxruntime", "server", "")
OFFLINE_CELLS = (RESNET, *(of(RESNET, f"prune:0.{number}") for number in range(1, 8)))
STUDY = Study((*OFFLINE_CELLS, SERVER), verdicts=2)


class Studied(Made):
    """A study whose cells and full runs take the time of a clock that nothing else moves."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.now, self.steps = 0.0, list[tuple[str, Cell]]()
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        monkeypatch.setattr(shelf, "claim", lambda folder: {})
        monkeypatch.setattr(conduct, "_answer", self._answer)
        monkeypatch.setattr(conduct, "_time", self._time)
        monkeypatch.setattr(conduct, "judge", self._judge)
        monkeypatch.setattr(narrow, "_more", self._more)

    def _answer(self, cell: Cell, places: Places, clock: Clock) -> None:
        self.add(cell, 1.0, 650, timed=False)
        self.steps.append(("accuracy", cell))
        self.now += ANSWER_S

    def _time(self, study: Study, cell: Cell, answers: dict[str, Any], places: Places) -> None:
        self.time(cell, 1.0)
        self.steps.append(("turns", cell))
        self.now += TURNS_S

    def those(self, kind: str) -> list[Cell]:
        """Returns the cells of the steps of a kind, in order."""
        return [cell for one, cell in self.steps if one == kind]

    def _judge(self, cell: Cell, places: Places, variant_id: str) -> None:
        assert variant_id == cell.id
        super().judge(cell, True)
        self.steps.append(("runs", cell))
        self.now += PEAK_S if cell.scenario == "server" else RUN_S

    def _more(self, cell: Cell, places: Places) -> str:
        record = shelf.measured(self.folder, cell)
        assert record
        name = contests.more_name(cell, len(contests.processes(self.folder, cell, record)))
        shelf.keep(self.folder, shelf.MORE, name, {"state": "measured", "blocks": two_blocks(1.0)})
        self.steps.append(("more", cell))
        self.now += MORE_S
        return name

    def go_on(self, budget_s: float, study: Study = STUDY) -> float:
        """Starts the study again; returns how many seconds all of it took so far."""
        return sum(conduct.carry_out(study, Places(self.folder, self.folder, data_dir), budget_s).values())


def test_a_budget_is_kept_and_a_larger_one_goes_on_with_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Studied(tmp_path, monkeypatch)
    # Every accuracy comes first, and turns leave 30 of the 100 s for full runs; these are thought to take 40, so the
    # turns may have that too.
    assert study.go_on(100) == 90
    assert study.steps == [(kind, cell) for kind in ("accuracy", "turns") for cell in STUDY.cells]
    # Full runs of the reference and two take as long as seen, and there is time for another one that may count; no
    # search for a peak is begun that would not end.
    assert study.go_on(170) == 170
    assert [cell.scenario for cell in study.those("runs")] == ["offline"] * 4
    # What a peak leaves is no time for three more processes of what may count; more full runs fit.
    assert study.go_on(330) == 320
    assert [kind for kind, _ in study.steps[22:]] == ["runs"] * 4 and study.steps[22][1] == SERVER
    # Here there is time for three, of the fastest.
    assert study.go_on(420) == 410
    assert study.steps[26:] == [("more", study.steps[26][1])] * 3
    assert len(study.steps[:26]) == len(set(study.steps[:26]))
    assert study.go_on(float("inf")) == 410


def test_of_a_larger_budget_cells_get_what_the_full_runs_before_do_not_need_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Studied(tmp_path, monkeypatch)
    took = {"verdicts/onnxruntime/offline/x": 60.0}
    for cell in OFFLINE_CELLS[:4]:
        study.add(cell, 1.0, 650)
        took |= {f"answers/onnxruntime/offline/{cell.id}": ANSWER_S, f"cells/onnxruntime/offline/{cell.id}": TURNS_S}
    shelf.keep(tmp_path, shelf.CLOCKS, "study", {"took_s": took})
    study.go_on(125)
    # Accuracies leave turns what these lack of their share.
    assert study.those("accuracy") == list(OFFLINE_CELLS[4:7]) and study.those("turns") == list(OFFLINE_CELLS[4:6])


def test_accuracies_leave_time_for_turns_and_full_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Studied(tmp_path, monkeypatch)
    # The first turns are thought to take as long as they do.
    study.go_on(60, replace(STUDY, seconds=0.1))
    kinds = ["accuracy"] * 7 + ["turns"] * 3 + ["accuracy"] * 2 + ["turns"]
    assert [kind for kind, _ in study.steps] == kinds
    assert study.those("accuracy") == list(STUDY.cells) and study.those("turns") == list(STUDY.cells[:4])
