"""`pipeline` asks for stages and a thread for each, and a run is served so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UsageError
from suite import search
from suite.placement import usable
from suite.probes.contest import Side, answers
from suite.variant import Requested, Serving
from tests.suite.commands import start
from tests.suite.subjects import subject
from tests.suite.test_plan import plan, refusal
from tests.suite.test_recipes import fold

pytestmark = pytest.mark.side_by_side

# Full batches, however many workers share them.
BATCH, COUNT = 64, 960


def test_a_recipe_asks_for_stages_and_a_thread_for_each_beside_other_servings() -> None:
    found = fold("quantize:int8+pipeline:2+parallel:3,pin=all+batch:16+fuse:level=basic", "onnxruntime")
    assert (found.options["pipeline"], found.options["graph_level"]) == ("2", "basic")
    assert found.requested == Requested(batch=16, sessions=3, threads=2, pin="all")
    assert found.eligible
    assert fold("", "onnxruntime").options["pipeline"] == "1"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"optimize": "pipeline:2", "threads": 1},
            "pipeline asks for threads 2, and --threads, or a step before it, for 1",
        ),
        ({"optimize": "parallel:threads=4+pipeline:2"}, "pipeline asks for threads 2, and --threads, or a step before"),
        (
            {"optimize": "pipeline:2+pipeline:3"},
            "pipeline asks for threads 3, and --threads, or a step before it, for 2",
        ),
        ({"optimize": "pipeline:1"}, "The stages of pipeline is a whole number from 2 to 16, not '1'."),
        ({"optimize": "pipeline:17"}, "The stages of pipeline is a whole number from 2 to 16, not '17'."),
    ],
)
def test_what_contradicts_or_cannot_be_is_refused(asked: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(**asked)


def test_as_many_threads_as_stages_may_be_said_again() -> None:
    assert plan(optimize="parallel:threads=2+pipeline:2", threads=2).recipe == "parallel:threads=2+pipeline:2"


@pytest.mark.parametrize("backend", ["torch", "null"])
def test_a_backend_that_cuts_no_graph_is_refused(backend: str) -> None:
    with pytest.raises(UsageError, match=f"the backend {backend} cuts none. Use --backend onnxruntime"):
        fold("pipeline:2", backend)


def test_no_stages_asked_is_refused() -> None:
    with pytest.raises(UsageError, match="pipeline needs the number of stages, as in pipeline:2"):
        fold("pipeline", "onnxruntime")


@pytest.mark.parametrize("cores", [2, 4, 7])
def test_sessions_times_stages_fit_the_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "usable_cores", lambda: cores)
    assert search._layouts(fold("pipeline:2", "onnxruntime").requested, inline=False) == [(cores // 2, 2)]


def test_it_is_served_with_every_answer_of_the_whole(data_root: Path) -> None:
    """Batches pass one behind the other, from as many workers as the session has callers, on the session's cores."""
    opened = {stages: subject("onnxruntime", data_root, pipeline=stages) for stages in ("1", "2")}
    serving = {"1": Serving(BATCH, 0, 1, 1, "cpu"), "2": Serving(BATCH, 0, 1, 2, "cpu", pin=usable())}
    found = {}
    for stages, one in opened.items():
        with search.loaded(one, serving[stages]) as sessions:
            outputs = np.empty((COUNT, *one.workload.output_shape), np.float32)
            answers(Side(one, sessions, serving[stages]), outputs, count=COUNT)
            found[stages] = outputs
    assert np.array_equal(found["1"], found["2"])


def test_more_stages_than_the_graph_has_end_the_command_in_a_sentence(tmp_path: Path) -> None:
    ended = start("--optimize=pipeline:16", "--backend=onnxruntime", f"--results-dir={tmp_path}").end(120)
    assert ended.code == 2 and ended.left_behind == []
    assert "cannot be cut into 16 stages" in ended.stderr and "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
