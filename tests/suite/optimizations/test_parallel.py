"""`parallel` asks for sessions, threads and cores as the flags do, and a run is served as its recipe says."""

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UsageError
from suite.placement import usable
from suite.variant import Requested
from tests.suite.commands import only_record, start
from tests.suite.test_plan import plan, refusal
from tests.suite.test_recipes import fold

pytestmark = pytest.mark.side_by_side


def test_a_recipe_asks_as_the_flags_do() -> None:
    found = fold("parallel:sessions=2,threads=1,pin=all+batch:8", "onnxruntime")
    assert found.requested == Requested(batch=8, sessions=2, threads=1, pin="all")
    assert found.recipe == "parallel:2,pin=all,threads=1+batch:8"
    assert fold("parallel:threads=4", "torch").requested == Requested(threads=4)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"optimize": "parallel:2", "sessions": 1}, "asks for sessions 2, and --sessions, or a step before it, for 1;"),
        (
            {"optimize": "parallel:threads=2", "threads": 1},
            "asks for threads 2, and --threads, or a step before",
        ),
        ({"optimize": "parallel:pin=all", "pin": "off"}, "asks for pin all, and --pin, or a step before it, for off;"),
        ({"optimize": "parallel:2+parallel:3"}, "asks for sessions 3, and --sessions, or a step before it, for 2;"),
        (
            {"optimize": "parallel:2", "scenario": "multi-stream"},
            "The recipe's parallel:sessions has no effect here (multi-stream, submission): queries come one at a time",
        ),
        ({"optimize": "parallel:0"}, "The sessions of parallel is a whole number from 1 to 1024, not '0'."),
        ({"optimize": "parallel:pin=0-1"}, "The pin of parallel cannot be '0-1'. Allowed: off, all."),
    ],
)
def test_what_contradicts_or_cannot_be_is_refused(asked: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(**asked)


def test_what_a_recipe_leaves_open_a_flag_may_say() -> None:
    assert plan(optimize="parallel:2", threads=1, pin="0").requested == Requested(threads=1, pin="0")


def test_nothing_asked_is_refused() -> None:
    with pytest.raises(UsageError, match="parallel needs a parameter: parallel:sessions=2"):
        fold("parallel", "onnxruntime")


def test_a_run_is_served_as_its_recipe_says(tmp_path: Path) -> None:
    words = ("--backend=null", "--mode=accuracy", "--threads=1", "--search-again")
    ended = start("--optimize=batch:48+parallel:3,pin=all", *words, f"--results-dir={tmp_path}").end(120)
    assert ended.code in (0, 1) and ended.left_behind == [], ended.stderr
    assert "3 sessions of 1 thread, batches of up to 48" in ended.stdout
    folder, record = only_record(tmp_path)
    serving = {"batch": 48, "max_wait_us": 0, "sessions": 3, "threads": 1, "device": "cpu", "pin": list(usable())}
    assert {key: record["serving"][key] for key in serving} == serving
    assert json.loads((folder / "preparation.json").read_text())["serving"] == record["serving"]
    variant = {"batch": 48, "sessions": 3, "threads": 1, "pin": "all"}
    assert {key: record["variant"]["requested"][key] for key in variant} == variant
    # What the command said besides is told apart from what its recipe says.
    assert record["asked"]["requested"]["batch"] is None and record["asked"]["requested"]["threads"] == 1
    assert record["asked"]["recipe"] == "batch:48+parallel:3,pin=all"
