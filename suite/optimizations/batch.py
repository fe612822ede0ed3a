"""Sets the largest batch, from 1 to 1024 samples (`batch:16`)."""

from collections.abc import Mapping
from dataclasses import replace

from common.errors import UsageError
from scenarios.harness.sut import MAX_BATCH
from suite.optimizations._serving import with_wanted
from suite.parameters import Values
from suite.plugins import BackendDescription
from suite.variant import Requested, Variant

MAIN = "size"
PARAMETERS: Mapping[str, Values] = {"size": range(1, MAX_BATCH + 1)}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where no size is given; every backend takes batches."""
    if MAIN not in parameters:
        raise UsageError("batch needs a size, as in batch:16.")


def requested(given: Requested, parameters: Mapping[str, str]) -> Requested:
    """Returns `given` with this largest batch; raises UsageError where another one was asked for."""
    wanted = {"batch": int(parameters[MAIN])} if MAIN in parameters else {}
    return with_wanted(given, "batch", wanted)


def apply(variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
    """Returns the variant, asking for this largest batch."""
    return replace(variant, requested=requested(variant.requested, parameters))
