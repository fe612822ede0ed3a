"""The contracts of a workload, of its dataset and of its model."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.judge import Judge
from common.errors import UsageError
from reference_models.forms import Form, Normalization
from reference_models.suppression import Steps

if TYPE_CHECKING:
    import torch

Indices = NDArray[np.int64] | Sequence[int]

# From a batch of raw outputs to payloads, one row a sample.
Encode = Callable[[NDArray[Any]], NDArray[Any]]

# Is told the name of a stage as soon as that has ended; what passed since the last time it was told is the stage's.
Mark = Callable[[str], None]


def differs(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Tells of which samples two sides' payloads are not the same, shape (n,), of one value or more each."""
    return np.asarray((one != other).reshape(len(one), -1).any(axis=1))


def unmarked(stage: str) -> None:
    """Does nothing: the mark of whoever times no stage."""


class Dataset(Protocol):
    """LoadGen's sample library without LoadGen: samples are named by their index, 0 to total - 1.

    `digest` is that of the files that it reads; `preprocessing` says in words what is done to a sample.
    """

    total: int
    digest: str
    preprocessing: str

    def load(self, indices: Indices, decoded: bool = True) -> None:
        """Makes these samples resident: preprocessed, in one contiguous array, or else each in its stored form."""
        ...

    def unload(self) -> None:
        """Drops what is resident."""
        ...

    def taken(self, form: Form) -> "Dataset":
        """Returns a dataset of the same samples, none of them resident, whose batches are in another form."""
        ...

    def batch(self, indices: Indices) -> NDArray[Any]:
        """Returns samples, preprocessed; raises IndexError for one not resident.

        As the reference takes them they are float32, shape (n, *input_shape). They are the same bits however they were
        loaded. Nobody may write to them: they can be the resident ones.
        """
        ...

    def batch_marked(self, indices: Indices, mark: Mark) -> NDArray[Any]:
        """Returns the same bits, and tells `mark` "gather", and "decode" and "preprocess" where they happen here."""
        ...

    def truth(self) -> NDArray[np.int64]:
        """Returns what is expected of every sample, as the workload's judge takes it, in index order.

        Its first axis is of length `total`: a class each, shape (total,), say.
        """
        ...


@dataclass(frozen=True)
class Model:
    """Files that a backend can load: their format, the SHA-256 of their content, and what was done to make them.

    What is done to their outputs in another way than the reference does it is the last of that.
    """

    format: str
    path: Path
    sha256: str
    chain: tuple[str, ...]


@dataclass(frozen=True)
class Calibration:
    """Training samples to set ranges by: preprocessed, shape (n, *input_shape), and their indices in the split."""

    samples: NDArray[np.float32]
    indices: tuple[int, ...]


@dataclass(frozen=True)
class Workload:
    """A task that can be judged.

    `input_shape` and `output_shape` are those of one sample, without the batch dimension, as the reference takes it and
    answers it; `normalization` is what was done to its pixels first. `encode` turns a batch of raw outputs
    (batch, *output_shape) into the payload that LoadGen logs, one row a sample: the task's final answer, as MLPerf's
    reference implementations log it; it is also given outputs that are no numbers, which fail the run whatever it
    makes of them. `confidence` tells of raw outputs how sure each answer is, shape (batch,), from 0 to 1. `judge` is
    the accuracy script, whose chief metric is `metric`. `target_factor` is the share of the reference's quality that
    counts. `calibrate` draws so many training samples from the dataset's folder, none of which is in the evaluation
    set, the same each time; `training_sha256` is the digest of what it draws from. What the reference's training wrote
    lies beside its weights, in reference.json.

    Where answers take a detector's post-processing, `steps` are the reference's, and `encode_by` returns what encodes
    by others; else both are None.
    """

    name: str
    dataset_name: str
    open_dataset: Callable[[Path], Dataset]
    calibrate: Callable[[Path, int], Calibration]
    training_sha256: str
    build: Callable[[], "torch.nn.Module"]
    weights: Path
    input_shape: tuple[int, ...]
    normalization: Normalization
    output_shape: tuple[int, ...]
    payload_dtype: str
    encode: Encode
    confidence: Callable[[NDArray[Any]], NDArray[Any]]
    metric: str
    judge: Judge
    target_factor: float
    steps: Steps | None = None
    encode_by: Callable[[Steps], Encode] | None = None

    @property
    def quality(self) -> float:
        """The fp32 reference's value of `metric`, in percent; raises UsageError where its card is damaged."""
        return float(self._card("quality_percent", float))

    @property
    def weights_sha256(self) -> str:
        """The SHA-256 that the weights must have; raises UsageError where the reference's card is damaged."""
        return str(self._card("weights_sha256", str))

    @property
    def target(self) -> float:
        """The least value of `metric`, in percent, with which a throughput counts."""
        return self.quality * self.target_factor

    def _card(self, key: str, kind: type) -> Any:
        path = self.weights.with_name("reference.json")
        try:
            value = json.loads(path.read_text(encoding="utf-8"))[key]
            if not isinstance(value, kind):
                raise TypeError(f"{key} is {value!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self.name}: {path} does not say the reference's {key} ({error!r}). Restore it from the repository."
            ) from error
        return value
