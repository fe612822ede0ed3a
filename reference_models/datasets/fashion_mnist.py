"""Fashion-MNIST: 28x28 grey images of ten kinds of clothing, MIT licence, Zalando Research.

Source: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv 1708.07747. The digests are of the uncompressed IDX files, since distributions differ in gzip.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from common.files import digest_of, sha256_bytes
from reference_models.base import Calibration
from reference_models.datasets._pictures import Pictures
from reference_models.forms import REFERENCE, Normalization

NAME = "fashion-mnist"
# Of its folder in a cache.
FOLDER = NAME
LICENCE = "MIT, Copyright 2017 Zalando SE"
# A mirror only has to have FILE.gz under its address.
UPSTREAM = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion"
CLASSES = 10
NAMES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
SHAPE = (1, 28, 28)

# Mean and standard deviation of the 60,000 training images, of pixels scaled to 0..1.
MEAN, STD = 0.2860, 0.3530
NORMALIZATION = Normalization(MEAN, STD)
PREPROCESSING = REFERENCE.said(NORMALIZATION)


@dataclass(frozen=True)
class DataFile:
    """One of the dataset's files: its name without .gz, and the SHA-256 and size of its uncompressed content."""

    name: str
    sha256: str
    size_bytes: int


FILES = {
    "test": (
        DataFile(
            "t10k-images-idx3-ubyte", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b", 7_840_016
        ),
        DataFile("t10k-labels-idx1-ubyte", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34", 10_008),
    ),
    "train": (
        DataFile(
            "train-images-idx3-ubyte", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888", 47_040_016
        ),
        DataFile("train-labels-idx1-ubyte", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9", 60_008),
    ),
}


TRAINING_SHA256 = digest_of([file.sha256 for file in FILES["train"]])
CALIBRATION_SEED = 1708_07747


def read_file(folder: Path, file: DataFile) -> bytes:
    """Returns a file's uncompressed content from `NAME.gz` or `NAME`; raises UsageError if absent or altered."""
    path = next((p for p in (folder / f"{file.name}.gz", folder / file.name) if p.is_file()), None)
    if path is None:
        raise UsageError(f"Fashion-MNIST: {folder} holds no {file.name}[.gz]. {_way_out(folder, file)}")
    try:
        # One byte past the known size is enough to see that a file is too long, however far it would inflate.
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(file.size_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(
            f"Fashion-MNIST: {path} cannot be read ({error}). Delete it. {_way_out(folder, file)}"
        ) from error
    found = sha256_bytes(content)
    if found != file.sha256:
        raise UsageError(
            f"Fashion-MNIST: {path} is corrupt: expected SHA-256 {file.sha256}, found {found}. "
            f"Delete it. {_way_out(folder, file)}"
        )
    return content


def _way_out(folder: Path, file: DataFile) -> str:
    """Returns what to do for the files: the command that fetches them, and where to if it is a cache's folder."""
    command = f"python -m tools.fetch_data {NAME}{'' if file in FILES['test'] else ' --split train'}"
    if folder.parts[-2:] == ("data", NAME):
        return f"Run: {command} --cache-dir {folder.parents[1]}"
    return f"Run: {command}, and leave out --data-dir and TANDEM_DATA"


def images(folder: Path, split: str) -> NDArray[np.uint8]:
    """Returns a split's images, shape (n, 28, 28), 0 to 255."""
    content = read_file(folder, FILES[split][0])
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def labels(folder: Path, split: str) -> NDArray[np.int64]:
    """Returns a split's labels, shape (n,), 0 to 9."""
    return np.frombuffer(read_file(folder, FILES[split][1]), np.uint8, offset=8).astype(np.int64)


def preprocess(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns images as the networks want them: float32, shape (n, 1, 28, 28), normalised."""
    return np.asarray(REFERENCE.of_pixels(pixels[:, None], NORMALIZATION), np.float32)


def calibrate(folder: Path, count: int) -> Calibration:
    """Returns training images drawn at random, the same each time; none has the pixels of a test image.

    Raises UsageError where the training images are missing or altered.
    """
    pixels = images(folder, "train")
    judged = {image.tobytes() for image in images(folder, "test")}
    order = np.random.default_rng(CALIBRATION_SEED).permutation(len(pixels))
    indices = [int(index) for index in order if pixels[index].tobytes() not in judged][:count]
    return Calibration(preprocess(pixels[indices]), tuple(indices))


class FashionMnist(Pictures):
    """The test split as a sample library, with its labels."""

    def __init__(self, folder: Path) -> None:
        digest = digest_of([file.sha256 for file in FILES["test"]])
        super().__init__(images(folder, "test"), labels(folder, "test"), NORMALIZATION, digest)
