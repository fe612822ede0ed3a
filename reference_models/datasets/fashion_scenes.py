"""Fashion scenes: 64x64 grey images of two to six pieces of clothing each, composed here of Fashion-MNIST's.

Scenes of the test split show test images alone, those of the training split training images alone. All is drawn by a
seed and computed in whole numbers. The digest of the test scenes is checked, as another numpy may draw otherwise.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.objects import ABSENT, OBJECT
from common.errors import TandemError
from common.files import digest_of, sha256_bytes
from reference_models.base import Calibration
from reference_models.datasets import fashion_mnist
from reference_models.datasets._pictures import Pictures
from reference_models.forms import REFERENCE, Normalization

NAME = "fashion-scenes"
# They are composed of files that lie there.
FOLDER = fashion_mnist.FOLDER
UPSTREAM, FILES, LICENCE = fashion_mnist.UPSTREAM, fashion_mnist.FILES, fashion_mnist.LICENCE
TRAINING_SHA256 = fashion_mnist.TRAINING_SHA256
CLASSES = fashion_mnist.CLASSES
SIDE = 64
SHAPE = (1, SIDE, SIDE)
read_file = fashion_mnist.read_file

# Mean and standard deviation of the training scenes, of pixels scaled to 0..1.
MEAN, STD = 0.2041, 0.1892
NORMALIZATION = Normalization(MEAN, STD)
PREPROCESSING = REFERENCE.said(NORMALIZATION)

# How many scenes each split has, and so many at a time have a seed.
SCENES = {"test": 2000, "train": 20_000}
BLOCK = 1000
# Far from those of training, which count up from its recipe's: with one of these the grounds would be the same.
SEEDS = {"test": 1911_02987_1, "train": 1911_02987_2}
# Of the test scenes' pixels and objects.
SHA256 = "40eea412b1b4ac89eacbf0e3514dcfbe69124f63a0777669708f7364eed06fad"

# A piece is so many pixels wide and high before what is empty around it is cut off; a test image has 28.
SIDES = (14, 28)
FEWEST, MOST_OBJECTS = 2, 6
# It is not placed where it would share more of its own box, or of another's, than this; so many places are tried.
MOST_COVERED, TRIES = 0.4, 12
# What of an image is the piece: brighter pixels.
EMPTY = 24
# Shares of 256 by which a piece is dimmed, the grey of a background, and how far its noise goes either way.
DIMMED, GREY, NOISE = (150, 257), (0, 64), 16
# Scraps lie in the background that are no piece: so many, of so many pixels.
SCRAPS, SCRAP = 6, (3, 9)


@dataclass(frozen=True)
class Scenes:
    """Images (n, 64, 64), and their objects (n, MOST_OBJECTS, OBJECT) as the accuracy script takes them."""

    pixels: NDArray[np.uint8]
    objects: NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Images of one piece each, (n, 28, 28), and their categories (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def scenes(folder: Path, split: str, count: int) -> Scenes:
    """Returns the first `count` scenes of a split; raises UsageError where Fashion-MNIST's files are not there."""
    pieces = Pieces(fashion_mnist.images(folder, split), fashion_mnist.labels(folder, split))
    blocks = [composed(pieces, SEEDS[split], block) for block in range(-(-count // BLOCK))]
    return Scenes(
        np.concatenate([one.pixels for one in blocks])[:count], np.concatenate([one.objects for one in blocks])[:count]
    )


def composed(pieces: Pieces, seed: int, block: int) -> Scenes:
    """Returns a block of scenes: grounds with scraps, and the pieces in front of them, each before the last."""
    generator = np.random.Generator(np.random.PCG64([seed, block]))
    pixels = _grounds(pieces, generator)
    objects = np.full((BLOCK, MOST_OBJECTS, OBJECT), ABSENT, np.int64)
    wanted = generator.integers(FEWEST, MOST_OBJECTS + 1, BLOCK)
    for number in range(MOST_OBJECTS):
        chosen = generator.integers(0, len(pieces.images), BLOCK)
        cuts = _cuts(pieces.images[chosen], generator)
        sizes = np.array([cut.shape for cut in cuts])
        boxes, free = _placed(sizes, objects[:, :, 1:], generator)
        shown = np.flatnonzero(free & (number < wanted))
        objects[shown, number] = np.column_stack([pieces.labels[chosen[shown]], boxes[shown]])
        for scene, (left, top, right, bottom) in zip(shown.tolist(), boxes[shown].tolist(), strict=True):
            cut, under = cuts[scene], pixels[scene, top:bottom, left:right]
            np.copyto(under, cut, where=cut > EMPTY)
    return Scenes(pixels, objects)


def _grounds(pieces: Pieces, generator: np.random.Generator) -> NDArray[np.uint8]:
    """Returns backgrounds: a grey that changes from corner to corner, noise, and scraps of clothing."""
    corners = generator.integers(*GREY, (BLOCK, 4, 1, 1), dtype=np.int32)
    down, across = np.arange(SIDE, dtype=np.int32)[:, None], np.arange(SIDE, dtype=np.int32)[None, :]
    shares = ((SIDE - down) * (SIDE - across), (SIDE - down) * across, down * (SIDE - across), down * across)
    grey = np.zeros((BLOCK, SIDE, SIDE), np.int32)
    for number, share in enumerate(shares):
        grey += corners[:, number] * share
    grey //= SIDE**2
    grey += generator.integers(-NOISE, NOISE + 1, grey.shape, dtype=np.int8)
    pixels: NDArray[np.uint8] = np.maximum(grey, 0).astype(np.uint8)
    sizes = generator.integers(*SCRAP, (BLOCK, SCRAPS, 2))
    sources = generator.integers(0, len(pieces.images), (BLOCK, SCRAPS))
    starts = generator.integers(0, 28 - SCRAP[1], (BLOCK, SCRAPS, 2))
    places = generator.integers(0, SIDE - SCRAP[1], (BLOCK, SCRAPS, 2))
    for scene in range(BLOCK):
        for (high, wide), source, (row, column), (top, left) in zip(
            sizes[scene].tolist(), sources[scene].tolist(), starts[scene].tolist(), places[scene].tolist(), strict=True
        ):
            scrap = pieces.images[source, row : row + high, column : column + wide]
            pixels[scene, top : top + high, left : left + wide] = np.maximum(
                scrap, pixels[scene, top : top + high, left : left + wide]
            )
    return pixels


def _cuts(images: NDArray[np.uint8], generator: np.random.Generator) -> list[NDArray[np.uint8]]:
    """Returns each image made smaller, flipped or not, dimmed, without what is empty around the piece."""
    sides = generator.integers(SIDES[0], SIDES[1] + 1, len(images))
    dimmed, flipped = generator.integers(*DIMMED, (len(images), 1, 1)), generator.integers(0, 2, len(images)) == 1
    turned = np.where(flipped[:, None, None], images[:, :, ::-1], images)
    found: dict[int, NDArray[np.uint8]] = {}
    for side in np.unique(sides).tolist():
        covers, own = _covers(side), np.flatnonzero(sides == side)
        # Whole numbers far below 2**53: float64 adds them exactly, in whatever order.
        means = (covers @ turned[own] @ covers.T).astype(np.int64) // 28**2
        small = (means * dimmed[own] // 256).astype(np.uint8)
        inside = small > EMPTY
        rows, columns = (_ends(np.asarray(inside.any(axis=axis))) for axis in (2, 1))
        for image, piece, (top, bottom), (left, right) in zip(own.tolist(), small, rows, columns, strict=True):
            found[image] = piece[top:bottom, left:right]
    return [found[number] for number in range(len(images))]


def _ends(inside: NDArray[np.bool_]) -> list[list[int]]:
    """Returns where each row begins to be inside, and where it has ended; all of one that never is."""
    first = inside.argmax(axis=1)
    last = inside.shape[1] - inside[:, ::-1].argmax(axis=1)
    return [[int(begin), int(end)] for begin, end in zip(first, last, strict=True)]


@lru_cache
def _covers(side: int) -> NDArray[np.float64]:
    """Returns how much each of `side` new pixels covers of each of 28 old ones; rows add up to 28.

    Counted in parts of which an old one has `side`.
    """
    new, old = 28 * np.arange(side)[:, None], side * np.arange(28)[None, :]
    return np.asarray(np.maximum(0, np.minimum(new + 28, old + side) - np.maximum(new, old)), np.float64)


def _placed(
    sizes: NDArray[np.int64], there: NDArray[np.int64], generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns a box for a piece of each scene, shape (n, 4), and whether it covers little of what is there."""
    high, wide = sizes[:, 0], sizes[:, 1]
    corners = generator.integers(0, 2**16, (TRIES, len(sizes), 2))
    left, top = (corners[..., axis] * (SIDE + 1 - own) >> 16 for axis, own in enumerate((wide, high)))
    tried = np.stack([left, top, left + wide, top + high], axis=-1)
    low, far = np.maximum(tried[:, :, None, :2], there[..., :2]), np.minimum(tried[:, :, None, 2:], there[..., 2:])
    shared = np.clip(far - low, 0, None).prod(axis=-1)
    smaller = np.minimum((high * wide)[:, None], (there[..., 2:] - there[..., :2]).prod(axis=-1))
    good = (shared <= MOST_COVERED * smaller).all(axis=2)
    first = good.argmax(axis=0)
    return tried[first, np.arange(len(sizes))], good.any(axis=0) & (sizes.min(axis=1) > 1)


@lru_cache(maxsize=1)
def _judged(folder: Path) -> tuple[Scenes, str]:
    """Returns the test scenes and their digest; raises TandemError where they are not those of the reference."""
    found = scenes(folder, "test", SCENES["test"])
    for array in (found.pixels, found.objects):
        array.flags.writeable = False
    sha256 = sha256_bytes(found.pixels.tobytes() + found.objects.astype("<i8").tobytes())
    if sha256 != SHA256:
        raise TandemError(
            f"{NAME}: numpy {np.__version__} draws other scenes than those that the reference was judged on (SHA-256 "
            f"{sha256}, not {SHA256}). Install the numpy that pyproject.toml pins: make setup"
        )
    return found, sha256


class FashionScenes(Pictures):
    """The test scenes as a sample library, with their objects."""

    def __init__(self, folder: Path) -> None:
        found, sha256 = _judged(folder)
        digest = digest_of([*(file.sha256 for file in FILES["test"]), sha256])
        super().__init__(found.pixels, found.objects, NORMALIZATION, digest)


def preprocess(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns scenes as the network wants them: float32, shape (n, 1, 64, 64), normalised."""
    return np.asarray(REFERENCE.of_pixels(pixels[:, None], NORMALIZATION), np.float32)


def calibrate(folder: Path, count: int) -> Calibration:
    """Returns the first training scenes; they were drawn at random, and show no image of the test split.

    Raises UsageError where the training images are missing or altered.
    """
    found = scenes(folder, "train", min(count, SCENES["train"]))
    return Calibration(preprocess(found.pixels), tuple(range(len(found.pixels))))
