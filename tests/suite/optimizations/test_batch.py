"""`batch` asks for the largest batch as --max-batch does, and says the same of it."""

from typing import Any

import pytest

from common.errors import UsageError
from suite.plan import Plan
from suite.variant import Requested
from tests.suite.test_plan import plan, refusal
from tests.suite.test_recipes import fold

pytestmark = pytest.mark.side_by_side


def test_a_recipe_asks_as_the_flag_does() -> None:
    assert fold("batch:16", "onnxruntime").requested == Requested(batch=16)
    assert fold("fuse:level=off+batch:size=1024", "onnxruntime").requested == Requested(batch=1024)
    assert fold("batch:1024", "torch").id != fold("batch:1", "torch").id != fold("", "torch").id


def test_the_flags_stay_the_flags_and_the_recipe_one_text() -> None:
    made: Plan = plan(optimize="batch:size=16", sessions=2)
    assert made.recipe == "batch:16"
    assert made.requested == Requested(sessions=2)
    assert plan(optimize="batch:16", batch=16).requested == Requested(batch=16)


@pytest.mark.parametrize("given", ["0", "1025", "016", "1.5", "-1", "²", "all"])
def test_what_is_no_batch_is_refused(given: str) -> None:
    assert refusal(optimize=f"batch:{given}") == f"The size of batch is a whole number from 1 to 1024, not '{given}'."


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"optimize": "batch:16", "batch": 32},
            "The recipe's batch asks for batch 16, and --max-batch, or a step before it, for 32; leave out one of the "
            "two.",
        ),
        (
            {"optimize": "batch:16+batch:32"},
            "The recipe's batch asks for batch 32, and --max-batch, or a step before it, for 16; leave out one of the "
            "two.",
        ),
        (
            {"optimize": "batch:2", "scenario": "single-stream"},
            "The recipe's batch has no effect here (single-stream, submission): queries are of one sample.",
        ),
    ],
)
def test_what_contradicts_or_says_nothing_is_refused(asked: dict[str, Any], sentence: str) -> None:
    assert refusal(**asked) == sentence


def test_a_batch_of_no_size_is_refused() -> None:
    with pytest.raises(UsageError, match="batch needs a size, as in batch:16"):
        fold("batch", "onnxruntime")
