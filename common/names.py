"""Names as people type them."""

import difflib
from collections.abc import Iterable

from common.errors import UsageError


def normal(name: str) -> str:
    """Returns a name with hyphens for underscores, in lower case: the form shown to people and kept in records."""
    return name.strip().lower().replace("_", "-")


def nearest(name: str, known: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Returns the known name most like `name`, or None when none is near; at a cutoff of 1 only itself is."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Returns the error for a name that is not known: what was given, the nearest, and all that are allowed."""
    allowed = sorted(known)
    near = nearest(name, allowed)
    hint = f" Did you mean '{near}'?" if near else ""
    return UsageError(f"Unknown {kind} '{name}'.{hint} Available: {', '.join(allowed) or 'none'}.")
