"""Makes detections of a detector's candidates by cheaper steps (`postprocess:nms=fast,score=0.3`).

A higher `score` leaves fewer candidates, `top` the surest of each image, and `keep` the surest detections; `nms` other
than by-class suppresses less exactly, or not at all. The model stays as it is: what costs accuracy here is no
arithmetic, and shows in no layer.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from common.errors import UsageError
from reference_models.base import Workload
from reference_models.suppression import KINDS, Steps
from suite import plugins, recipes
from suite.parameters import Values
from suite.plugins import BackendDescription
from suite.variant import Variant

MAIN = "nms"
# The shares that may be asked for; as texts, so that a recipe has one name.
SHARES = ("0.01", "0.02", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9")
PARAMETERS: Mapping[str, Values] = {
    "nms": KINDS,
    "score": SHARES,
    "iou": SHARES,
    "top": range(1, 100_001),
    "keep": range(1, 1001),
}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where nothing is given; it is done outside of any backend."""
    if not parameters:
        raise UsageError("postprocess needs what is to be cheaper, as in postprocess:fast or postprocess:score=0.3.")


def steps(workload: Workload, parameters: Mapping[str, str]) -> Steps:
    """Returns the workload's steps with what is asked for; raises UsageError where it has none, or these are its own.

    No more detections can be kept than its payload holds.
    """
    if workload.steps is None:
        raise UsageError(
            f"{workload.name} detects nothing that postprocess could make cheaper: its answers are what its outputs "
            "say. Leave the step out, or take a workload that detects, such as fashion-fcos."
        )
    changes: dict[str, Any] = {
        name: value if name == "nms" else float(value) if name in ("score", "iou") else int(value)
        for name, value in parameters.items()
    }
    found = replace(workload.steps, **changes)
    if found.keep > workload.steps.keep:
        raise UsageError(f"{workload.name} keeps {workload.steps.keep} detections of an image; keep cannot be more.")
    if found == workload.steps:
        raise UsageError(f"postprocess asks for what {workload.name} does anyway: {workload.steps}.")
    return found


def open_because(parameters: Mapping[str, str]) -> list[str]:
    """Returns what of it MLPerf's closed division forbids.

    Source: MLPerf Inference Rules, "Closed Division": post-processing is equivalent to the reference's.
    """
    return ["its post-processing is another than the reference's"]


def apply(variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
    """Returns the variant whose answers are made so; raises UsageError as `steps` does."""
    steps(plugins.workload(variant.workload), parameters)
    said = recipes.canonical([recipes.Step(recipes.POSTPROCESSING, parameters)])
    return replace(variant, model=replace(variant.model, chain=(*variant.model.chain, said)))
