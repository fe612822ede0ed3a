"""Has threads of each session gather the batches behind the one that it answers (`prefetch:1`), 0 for none.

With `--end-to-end` they decode and preprocess, too. What pays depends on the cores that sessions leave to them.
"""

from collections.abc import Mapping
from dataclasses import replace

from common.errors import UsageError
from scenarios.harness.sut import MOST_PREFETCH
from suite.optimizations._serving import with_wanted
from suite.parameters import Values
from suite.plugins import BackendDescription
from suite.variant import Requested, Variant

MAIN = "workers"
PARAMETERS: Mapping[str, Values] = {"workers": range(MOST_PREFETCH + 1)}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where no number is given; every backend can be prefetched for."""
    if MAIN not in parameters:
        raise UsageError("prefetch needs a number of threads, as in prefetch:1.")


def requested(given: Requested, parameters: Mapping[str, str]) -> Requested:
    """Returns `given` with so many threads; raises UsageError where others were asked for."""
    wanted = {"prefetch": int(parameters[MAIN])} if MAIN in parameters else {}
    return with_wanted(given, "prefetch", wanted)


def apply(variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
    """Returns the variant, asking for so many threads."""
    return replace(variant, requested=requested(variant.requested, parameters))
