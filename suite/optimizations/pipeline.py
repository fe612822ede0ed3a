"""Cuts the graph into stages by cost, in a pipeline with a thread for each (`pipeline:2`)."""

from collections.abc import Mapping
from dataclasses import replace

from common.errors import UsageError
from suite.backends._cut import MOST_STAGES, OPTION
from suite.optimizations._serving import with_wanted
from suite.parameters import Values
from suite.plugins import BackendDescription
from suite.variant import Requested, Variant

MAIN = "stages"
PARAMETERS: Mapping[str, Values] = {MAIN: range(2, MOST_STAGES + 1)}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the number of stages is not given, or the backend cuts no graph."""
    if MAIN not in parameters:
        raise UsageError("pipeline needs the number of stages, as in pipeline:2.")
    if OPTION not in backend.options:
        raise UsageError(
            f"pipeline cuts an ONNX graph, and the backend {backend.name} cuts none. Use --backend onnxruntime."
        )


def requested(given: Requested, parameters: Mapping[str, str]) -> Requested:
    """Returns `given` with a thread for each stage; raises UsageError where another number of threads was asked for."""
    wanted = {"threads": int(parameters[MAIN])} if MAIN in parameters else {}
    return with_wanted(given, "pipeline", wanted)


def apply(variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
    """Returns the variant in so many stages, asking for a thread for each."""
    options = {**variant.options, OPTION: parameters[MAIN]}
    return replace(variant, options=options, requested=requested(variant.requested, parameters))
