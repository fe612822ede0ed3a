"""What the optimizations that ask for a way of serving have in common."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from common.errors import UsageError
from suite.placement import AUTO
from suite.variant import Requested

# The flag that asks for the same as a step.
FLAGS = {
    "batch": "--max-batch",
    "sessions": "--sessions",
    "threads": "--threads",
    "pin": "--pin",
    "prefetch": "--prefetch",
}


def with_wanted(given: Requested, step: str, wanted: Mapping[str, Any]) -> Requested:
    """Returns `given` with what a step wants, by the field's name.

    Raises UsageError where something else was asked for before: a variant is served in one way.
    """
    for name, value in wanted.items():
        before = getattr(given, name)
        if before not in (None, AUTO, value):
            raise UsageError(
                f"The recipe's {step} asks for {name} {value}, and {FLAGS[name]}, or a step before it, for {before}; "
                "leave out one of the two."
            )
    return replace(given, **wanted)
