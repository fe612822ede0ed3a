"""Fuses operations: onnxruntime's graph level (`fuse:level=extended`), torch's compiler (`fuse:compile`).

And batch normalization into torch's convolutions (`fuse:batchnorm=folded`), where an export to ONNX has it anyway.
"""

from collections.abc import Mapping
from dataclasses import replace

from common.errors import UsageError
from suite.plugins import BackendDescription
from suite.variant import Variant

MAIN = "mode"
PARAMETERS = {
    "mode": ("eager", "compile"),
    "level": ("off", "basic", "extended", "all"),
    "batchnorm": ("kept", "folded"),
}

# What each parameter sets: the backend's runtime option, and its value there.
SETS = {
    "mode": ("compile", {"eager": "no", "compile": "yes"}),
    "level": ("graph_level", {level: level for level in PARAMETERS["level"]}),
    "batchnorm": ("fold", {"kept": "no", "folded": "yes"}),
}


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where nothing is asked for, or the backend has no such option."""
    if not parameters:
        raise UsageError(
            "fuse needs a parameter: fuse:level=off|basic|extended|all, fuse:eager|compile or fuse:batchnorm=folded."
        )
    for parameter, value in parameters.items():
        option, _ = SETS[parameter]
        if option not in backend.options:
            raise UsageError(
                f"fuse:{parameter}={value} does not apply to the backend {backend.name}, "
                f"which has no option {option}. {_remedy(backend)}"
            )


def apply(variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
    """Returns the variant with these fusions among its runtime options."""
    chosen = {SETS[parameter][0]: SETS[parameter][1][value] for parameter, value in parameters.items()}
    return replace(variant, options={**variant.options, **chosen})


def _remedy(backend: BackendDescription) -> str:
    usable = [name for name, (option, _) in SETS.items() if option in backend.options]
    return f"Use fuse:{usable[0]}={'|'.join(PARAMETERS[usable[0]])}." if usable else "Leave fuse out."
