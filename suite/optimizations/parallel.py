"""Sets sessions side by side, threads of each, and whether they keep to cores (`parallel:sessions=2,threads=1`).

Data parallel are several sessions, each with a whole model; model parallel is one whose operators share out their work
among threads. What is not given is searched.
"""

from collections.abc import Mapping
from dataclasses import replace

from common.errors import UsageError
from suite import placement
from suite.optimizations._serving import with_wanted
from suite.parameters import Values
from suite.plugins import BackendDescription
from suite.variant import Requested, Variant

MAIN = "sessions"
# As many as the flags take.
COUNTS = range(1, 1025)
PARAMETERS: Mapping[str, Values] = {
    "sessions": COUNTS,
    "threads": COUNTS,
    "pin": (placement.OFF, placement.ALL),
}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where nothing is asked for, or threads cannot be pinned here."""
    if not parameters:
        raise UsageError("parallel needs a parameter: parallel:sessions=2, parallel:threads=2, or parallel:pin=all.")
    placement.requested(parameters.get("pin", placement.OFF))


def requested(given: Requested, parameters: Mapping[str, str]) -> Requested:
    """Returns `given` with these sessions, threads and cores; raises UsageError where others were asked for."""
    wanted = {name: value if name == "pin" else int(value) for name, value in parameters.items()}
    return with_wanted(given, "parallel", wanted)


def apply(variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
    """Returns the variant, asking for these sessions, threads and cores."""
    return replace(variant, requested=requested(variant.requested, parameters))
