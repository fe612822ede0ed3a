"""What the Fashion-MNIST classifiers have in common."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.top1 import score
from common.errors import UsageError
from reference_models.base import Workload
from reference_models.datasets import fashion_mnist

if TYPE_CHECKING:
    import torch

# MLPerf's closed division: 99 % of what the fp32 reference reaches.
TARGET_FACTOR = 0.99


def workload(name: str, folder: Path, build: Callable[[], "torch.nn.Module"]) -> Workload:
    """Returns the workload whose weights.safetensors and reference.json lie in `folder`."""
    return Workload(
        name=name,
        dataset_name=fashion_mnist.NAME,
        open_dataset=fashion_mnist.FashionMnist,
        build=build,
        weights=folder / "weights.safetensors",
        input_shape=fashion_mnist.SHAPE,
        output_shape=(fashion_mnist.CLASSES,),
        payload_dtype="int64",
        encode=greatest,
        metric="top1",
        score=score,
        quality=_quality(name, folder / "reference.json"),
        target_factor=TARGET_FACTOR,
    )


def greatest(outputs: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the class of the greatest logit, shape (n,), of logits (n, classes)."""
    return np.ascontiguousarray(outputs.argmax(axis=1), np.int64)


def _quality(name: str, path: Path) -> float:
    try:
        return float(json.loads(path.read_text())["quality_percent"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{name}: {path} does not say the reference's quality ({error!r}). Restore it from the repository."
        ) from error
