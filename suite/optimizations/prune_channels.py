"""Prunes channels: the weakest are taken out of every layer that has them, so that a smaller dense network is left."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from suite.optimizations import _tuning
from suite.optimizations._channels import Group, groups
from suite.optimizations._onnx import FORMATS as FORMATS
from suite.optimizations._onnx import check_backend, macs
from suite.optimizations._tuning import PACKAGES as PACKAGES
from suite.optimizations._tuning import open_because as open_because
from suite.optimizations._tuning import samples_wanted as samples_wanted
from suite.optimizations._tuning import to_train as to_train
from suite.optimizations._tuning import train as train
from suite.plugins import BackendDescription

NAME = "prune-channels"
MAIN = "share"
# The first value of each is what is taken where none is given; share has none. onnxruntime has its fastest convolutions
# on a CPU for multiples of 4 channels alone: with 30 % fewer channels, whatever number that gave, both networks ran
# slower than before, and with such multiples 1.3 and 1.5 times as fast (AVX2, onnxruntime 1.32.0).
PARAMETERS = {
    "share": tuple(f"0.{tenths}" for tenths in range(1, 10)),
    "multiple": ("4", "1", "8", "16"),
    **_tuning.PARAMETERS,
}
FINAL = False


def check(backend: BackendDescription, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where the backend loads no ONNX, or how much is to be pruned is not said."""
    check_backend(NAME, backend)
    if MAIN not in parameters:
        raise UsageError(f"{NAME} needs a share of the channels, as in {NAME}:0.3.")
    _tuning.check(NAME, parameters)


def make(
    source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
) -> dict[str, Any]:
    """Writes the model without the weakest channels, and returns what is left of each group and of the work.

    Raises UsageError where no channel can go.
    """
    import onnx

    model = onnx.load(source)
    # All are judged before any goes: what is taken out of one group takes weights from others.
    chosen = [(group, _kept(group, parameters)) for group in groups(model)]
    chosen = [(group, kept) for group, kept in chosen if len(kept) < group.size]
    if not chosen:
        raise UsageError(
            f"{NAME} finds no channels to take out of this model: they are too few for the share, in its outputs, or "
            "before an operator that it does not know. Leave it out, or give a larger share."
        )
    for group, kept in chosen:
        group.keep(kept)
    # They hold the shapes of before.
    del model.graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
    return {
        "channels": [{"layers": group.layers, "before": group.size, "after": len(kept)} for group, kept in chosen],
        "macs": {"before": macs(source), "after": macs(target)},
    }


def _kept(group: Group, parameters: Mapping[str, str]) -> NDArray[np.int64]:
    """Returns the places of the channels that stay, in order: at least one, and as many as a multiple asks for."""
    multiple = int(parameters.get("multiple", PARAMETERS["multiple"][0]))
    count = max(1, group.size - round(float(parameters[MAIN]) * group.size))
    count = min(group.size, -(-count // multiple) * multiple)
    order = np.argsort(group.magnitudes(), kind="stable")
    return np.sort(order[group.size - count :])
