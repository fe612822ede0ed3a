"""A workload's samples as upstream's harness reads them: val_map.txt, and one .npy file a sample.

Upstream takes a preprocessed dataset from a folder in which each line of val_map.txt is a name and a label, and
NAME.npy is that sample, float32. Its sample numbers are those of the lines.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from common.files import digest_of
from reference_models.base import Dataset, Workload

LIST = "val_map.txt"
# Of what is written, not of the samples: a new layout is another folder.
LAYOUT = 1


@dataclass(frozen=True, eq=False)
class Prepared:
    """What upstream's harness is given: the model, the folder of its samples, and their labels, shape (n,)."""

    workload: str
    model: Path
    samples: Path
    labels: NDArray[np.int64]


def prepare(workload: Workload, model: Path, data: Path, folder: Path, count: int = 0) -> Prepared:
    """Returns the first `count` samples (0: all) beside a model, written below `folder` where they are not there yet.

    `data` is the folder of the workload's dataset. Raises UsageError where that is missing.
    """
    dataset = workload.open_dataset(data)
    count = min(count or dataset.total, dataset.total)
    key = digest_of({"layout": LAYOUT, "data": dataset.digest, "how": dataset.preprocessing, "count": count})
    samples = folder / key[:16]
    labels = dataset.truth()[:count]
    if labels.ndim != 1:
        raise UsageError(f"{workload.name} has no label a sample, as upstream's harness takes them. Name a classifier.")
    if not _whole(samples, count):
        _write(dataset, labels, samples)
    return Prepared(workload.name, model, samples, labels)


def _whole(folder: Path, count: int) -> bool:
    return (folder / LIST).is_file() and sum(1 for _ in folder.glob("*.npy")) == count


def _write(dataset: Dataset, labels: NDArray[np.int64], folder: Path) -> None:
    """Writes the samples beside `folder` and puts them there at once; two processes may do so at the same time."""
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    draft.mkdir(parents=True)
    try:
        names = [f"{index:06}" for index in range(len(labels))]
        dataset.load(range(len(labels)))
        for index, name in enumerate(names):
            np.save(draft / f"{name}.npy", dataset.batch([index])[0])
        dataset.unload()
        (draft / LIST).write_text("".join(f"{name} {label}\n" for name, label in zip(names, labels, strict=True)))
        if not _whole(folder, len(labels)):
            # Else another process came first. What is there and is not whole has lost files.
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
