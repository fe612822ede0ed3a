"""What the Fashion-MNIST classifiers have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts import labels
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
        calibrate=fashion_mnist.calibrate,
        training_sha256=fashion_mnist.TRAINING_SHA256,
        build=build,
        weights=folder / "weights.safetensors",
        input_shape=fashion_mnist.SHAPE,
        normalization=fashion_mnist.NORMALIZATION,
        output_shape=(fashion_mnist.CLASSES,),
        payload_dtype="int64",
        encode=argmax_class,
        confidence=probability,
        metric="top1",
        judge=labels,
        target_factor=TARGET_FACTOR,
    )


def argmax_class(outputs: NDArray[Any]) -> NDArray[np.int64]:
    """Returns the class of the greatest logit, shape (n,), of logits (n, classes)."""
    # numpy's own type of an index is int64 wherever LoadGen runs; asking for it again would cost as much.
    classes: NDArray[np.int64] = outputs.argmax(axis=1)
    return classes


def probability(outputs: NDArray[Any]) -> NDArray[Any]:
    """Returns the probability of each answer, shape (n,), from logits (n, classes)."""
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return np.asarray(1 / np.exp(shifted).sum(axis=1))
