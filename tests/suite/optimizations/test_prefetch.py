"""`prefetch` asks for threads that gather ahead as --prefetch does, and a run has them and answers the same."""

from typing import Any

import numpy as np
import pytest

from common.errors import UsageError
from suite.plan import Plan
from suite.probes.contest import Side, answers
from suite.search import Terms, as_requested, resolve
from suite.variant import Requested, Serving, check_record
from tests.suite.subjects import subject
from tests.suite.test_plan import plan, refusal
from tests.suite.test_recipes import fold

pytestmark = pytest.mark.side_by_side

SERVING = Serving(64, 0, 1, 1, "cpu")


def test_a_recipe_asks_as_the_flag_does() -> None:
    assert fold("prefetch:2", "onnxruntime").requested == Requested(prefetch=2)
    assert fold("prefetch:workers=0", "torch").requested == Requested(prefetch=0)
    # Who asks for nothing is named as before there was anything to ask for.
    assert "prefetch" not in fold("", "onnxruntime").record()["requested"]
    assert fold("prefetch:2", "onnxruntime").record()["requested"]["prefetch"] == 2
    check_record(fold("", "onnxruntime").record())
    made: Plan = plan(optimize="prefetch:1", sessions=2)
    assert (made.recipe, made.requested) == ("prefetch:1", Requested(sessions=2))
    assert plan(optimize="prefetch:1", prefetch=1).requested == Requested(prefetch=1)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"optimize": "prefetch:17"}, "The workers of prefetch is a whole number from 0 to 16, not '17'."),
        ({"prefetch": 17}, "--prefetch is 17; it must be from 0 to 16."),
        (
            {"optimize": "prefetch:1", "prefetch": 2},
            "The recipe's prefetch asks for prefetch 1, and --prefetch, or a step before it, for 2; leave out one of "
            "the two.",
        ),
        (
            {"prefetch": 1, "scenario": "single-stream"},
            "--prefetch has no effect here (single-stream, submission): queries come one at a time, and none can be "
            "gathered ahead.",
        ),
    ],
)
def test_what_contradicts_or_says_nothing_is_refused(asked: dict[str, Any], sentence: str) -> None:
    assert refusal(**asked) == sentence


def test_none_is_a_number_and_no_number_is_not() -> None:
    assert plan(optimize="prefetch:0", scenario="single-stream").recipe == "prefetch:0"
    with pytest.raises(UsageError, match="prefetch needs a number of threads, as in prefetch:1"):
        fold("prefetch", "onnxruntime")


def test_what_was_asked_for_is_how_it_is_served(data_root: Any) -> None:
    terms = Terms("offline", 1, None, None, inline=False)
    found, _ = resolve(subject("null", data_root), Requested(prefetch=3, batch=4, sessions=1, threads=1), terms)
    assert found.prefetch == 3
    assert as_requested(SERVING, Requested(prefetch=2), inline=False).prefetch == 2
    assert as_requested(found, Requested(), inline=False).prefetch == 3


@pytest.mark.parametrize("end_to_end", [False, True])
def test_answers_are_the_same(end_to_end: bool, data_root: Any) -> None:
    ours = subject("onnxruntime", data_root)
    if end_to_end:
        ours.dataset.load(np.arange(ours.dataset.total), decoded=False)
    found = [answers(Side.loaded(ours, Serving(64, 0, 1, 1, "cpu", prefetch=count)), count=640) for count in (0, 2)]
    assert np.array_equal(*found)
