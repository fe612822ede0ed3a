"""What a parameter of an optimization may be: one of a few words, a whole number, or several, too many to list."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Those layers that a step leaves as they are, by their numbers in the order of the graph.
KEEP = "keep"

# None of a recipe's own signs, and nothing to a shell.
SEPARATOR = "/"
NUMBERS = re.compile(r"\d{1,6}(/\d{1,6})*", re.ASCII)


@dataclass(frozen=True)
class Numbers:
    """Whole numbers from 0 up, in any order; `what` they number, for people."""

    what: str


Values = tuple[str, ...] | range | Numbers


def numbers(text: str) -> tuple[int, ...]:
    """Returns the numbers of a text, rising, each once; none where the text is of anything else."""
    return tuple(sorted({int(word) for word in text.split(SEPARATOR)})) if NUMBERS.fullmatch(text) else ()


def joined(found: Iterable[int]) -> str:
    """Returns the one text of numbers."""
    return SEPARATOR.join(map(str, sorted(set(found))))


def shown(values: Values) -> str:
    """Returns what a parameter may be, for people."""
    if isinstance(values, Numbers):
        return f"NUMBER{SEPARATOR}NUMBER"
    return f"{values[0]}..{values[-1]}" if isinstance(values, range) else "|".join(values)
