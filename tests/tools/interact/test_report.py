"""A map's text, table and record: every cell is there, with its figure or its reason."""

import csv
import io
import json

import pytest

from tests.tools.interact.made_up import chart
from tests.tools.interact.test_shapes import AXES, accelerator
from tools.interact import record, report
from tools.interact.grid import Axes, Cell

pytestmark = pytest.mark.side_by_side

FAILED = Cell(1, 2, 1024, 1)
MADE = chart(AXES, accelerator, {FAILED: "no room"})


def test_panels_stand_side_by_side_with_the_best_marked_and_dashes_where_nothing_is() -> None:
    lines = report.text(MADE, "a title").splitlines()
    assert lines[0] == "a title"
    titles = [f"1 thread a session, {how}" for how in ("each batch gathered in turn", "the next batch gathered ahead")]
    start = lines.index("      ".join(titles))
    assert [line.split() for line in lines[start + 1 : start + 5]] == [
        ["sessions", "1", "2", "sessions", "1", "2"],
        ["1", "1.00", "1.50", "1", "1.20", "1.80"],
        ["16", "4.00", "7.60", "16", "4.80", "9.12*"],
        ["1,024", "0.50", "0.60", "1,024", "0.60", "0.72"],
    ]
    assert lines[start + 10].split() == ["1,024", "0.55", "-", "1,024", "-", "-"]
    assert "best (*): batches of 16, 2 sessions of 1 thread, the next batch gathered ahead: 9.12 times" in "\n".join(
        lines
    )
    assert any(line.endswith("--optimize batch:16+parallel:2,threads=1+prefetch:1") for line in lines)


def test_each_reason_is_said_once_with_its_cells() -> None:
    assert list(report.reasons(MADE)) == [
        "1 session of 2 threads, batches of 1,024, the next batch gathered ahead: no room",
        "2 sessions of 2 threads: 4 cores wanted, 2 can be used",
    ]
    large = {Cell(2, 1, batch, ahead): "no room" for batch in (16, 1024) for ahead in (0, 1)}
    assert next(report.reasons(chart(AXES, accelerator, large))) == (
        "2 sessions of 1 thread, batches of 16, 1,024: no room"
    )


def test_what_is_in_stages_has_panels_and_a_recipe_of_its_own() -> None:
    best = Cell(1, 2, 16, 0, 2)
    made = chart(Axes((1, 16), (1, 2), (1, 2), (0,), (1, 2)), lambda cell: 900.0 if cell == best else 100.0)
    text = report.text(made, "a title")
    assert "2 threads a session in 2 stages, each batch gathered in turn" in text
    assert "best (*): batches of 16, 1 session of 2 threads in 2 stages: 9.00 times" in text
    assert "--optimize batch:16+parallel:1,threads=2 --backend-options pipeline=2" in text
    assert "- 2 sessions of 2 threads in 2 stages: 4 cores wanted, 2 can be used" in text
    assert "Sessions side by side gain more than stages of one session: not seen here; " in text
    assert "Sessions side by side gain more than threads of one session: cannot tell; " in text
    rows = list(csv.DictReader(io.StringIO(record.table(made))))
    assert len(rows) == 2 * 3 * 2 and sum(row["stages"] == "2" for row in rows) == 4


def test_table_and_record_hold_every_cell() -> None:
    rows = {
        (row["sessions"], row["threads"], row["batch"], row["prefetch"]): row
        for row in csv.DictReader(io.StringIO(record.table(MADE)))
    }
    assert len(rows) == len(AXES.cells)
    best = rows["2", "1", "16", "1"]
    assert float(best["relative"]) == pytest.approx(9.12, rel=1e-3)
    assert (best["state"], best["rounds"]) == ("measured", "4")
    assert (rows["1", "2", "1024", "1"]["reason"], rows["1", "2", "1024", "1"]["relative"]) == ("no room", "")
    kept = json.loads(json.dumps(record.record(MADE, {"device": "cpu"})))
    assert len(kept["cells"]) == len(rows) and kept["device"] == "cpu" and kept["best"]["batch"] == 16
    assert [len(one["rounds_samples_per_s"]) for one in kept["cells"][:2]] == [4, 4]
    assert {one["outcome"] for one in kept["shapes"]} <= {"seen here", "not seen here", "cannot tell", "not measured"}


def test_a_map_of_one_cell_is_one() -> None:
    text = report.text(chart(Axes((1,), (1,), (1,), (0,)), accelerator), "one")
    assert "1.00*" in text and "not measured" in text
