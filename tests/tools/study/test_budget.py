"""A study's budget of time: what it begins, what it leaves out, and that a larger one goes on."""

from pathlib import Path

import pytest

from tests.tools.study.made import RESNET, Made, data_dir, of, two_blocks
from tools.study import conduct, contests, narrow, shelf
from tools.study.contests import Places
from tools.study.plan import Cell, Study

pytestmark = pytest.mark.side_by_side

CELL_S, RUN_S, PEAK_S, MORE_S = 10.0, 20.0, 90.0, 30.0
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
        monkeypatch.setattr(conduct, "_measure", self._measure)
        monkeypatch.setattr(conduct, "judge", self._judge)
        monkeypatch.setattr(narrow, "_more", self._more)

    def _measure(self, study: Study, cell: Cell, places: Places) -> None:
        self.add(cell, 1.0, 650)
        self.steps.append(("cell", cell))
        self.now += CELL_S

    def _judge(self, cell: Cell, places: Places) -> None:
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

    def go_on(self, budget_s: float) -> float:
        """Starts the study again; returns how many seconds all of it took so far."""
        return sum(conduct.carry_out(STUDY, Places(self.folder, self.folder, data_dir), budget_s).values())


def test_a_budget_is_kept_and_a_larger_one_goes_on_with_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Studied(tmp_path, monkeypatch)
    # Cells leave 30 of the 100 s for full runs; these are thought to take 40, so the cells may have that too.
    assert study.go_on(100) == 90
    assert study.steps == [("cell", cell) for cell in STUDY.cells]
    # Full runs of the reference and two take as long as seen, and there is time for another one that may count; no
    # search for a peak is begun that would not end.
    assert study.go_on(170) == 170
    assert [cell.scenario for kind, cell in study.steps if kind == "runs"] == ["offline"] * 4
    # What a peak leaves is no time for three more processes of what may count; more full runs fit.
    assert study.go_on(330) == 320
    assert [kind for kind, _ in study.steps[13:]] == ["runs"] * 4 and study.steps[13][1] == SERVER
    # Here there is time for three, of the fastest.
    assert study.go_on(420) == 410
    assert study.steps[17:] == [("more", study.steps[17][1])] * 3
    assert len(study.steps[:17]) == len(set(study.steps[:17]))
    assert study.go_on(float("inf")) == 410


def test_of_a_larger_budget_cells_get_what_the_full_runs_before_do_not_need_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Studied(tmp_path, monkeypatch)
    for cell in OFFLINE_CELLS[:4]:
        study._measure(STUDY, cell, None)  # type: ignore[arg-type]
    took = {f"cells/onnxruntime/offline/{cell.id}": CELL_S for cell in OFFLINE_CELLS[:4]} | {
        "verdicts/onnxruntime/offline/x": 60.0
    }
    shelf.keep(tmp_path, shelf.CLOCKS, "study", {"took_s": took})
    study.go_on(125)
    assert [cell for kind, cell in study.steps[4:] if kind == "cell"] == list(OFFLINE_CELLS[4:6])
