"""The contracts of a workload, of its dataset and of its model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Indices = NDArray[np.int64] | Sequence[int]


class Dataset(Protocol):
    """LoadGen's sample library without LoadGen: samples are named by their index, 0 to total - 1."""

    total: int
    digest: str
    preprocessing: str

    def load(self, indices: Indices) -> None:
        """Makes these samples resident, preprocessed, in one contiguous array."""
        ...

    def unload(self) -> None:
        """Drops what is resident."""
        ...

    def batch(self, indices: Indices) -> NDArray[np.float32]:
        """Returns the samples as one array, gathered in one step; raises IndexError for one that is not resident."""
        ...

    def truth(self) -> NDArray[np.int64]:
        """Returns the expected answer of every sample, in index order."""
        ...


@dataclass(frozen=True)
class Model:
    """Files that a backend can load: their format, the SHA-256 of their content, and what was done to make them."""

    format: str
    path: Path
    sha256: str
    chain: tuple[str, ...]


@dataclass(frozen=True)
class Workload:
    """A task that can be judged.

    `input_shape` and `output_shape` are those of one sample, without the batch dimension. `encode` turns a batch
    of raw outputs (batch, *output_shape) into the payload that LoadGen logs, one row a sample: the task's final
    answer, as MLPerf's reference implementations log it. `score` is the accuracy script's function from
    (answers in index order, truth) to metrics; `quality` is the fp32 reference's value of `metric`, in percent.
    """

    name: str
    dataset_name: str
    open_dataset: Callable[[Path], Dataset]
    build: Callable[[], "torch.nn.Module"]
    weights: Path
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    payload_dtype: str
    encode: Callable[[NDArray[Any]], NDArray[Any]]
    metric: str
    score: Callable[[NDArray[Any], NDArray[Any]], Mapping[str, Any]]
    quality: float
    target_factor: float

    @property
    def target(self) -> float:
        """The least value of `metric` with which a throughput counts."""
        return self.quality * self.target_factor
