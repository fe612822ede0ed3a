"""In which form a model takes images: normalised or as bytes, channels first or last, as large as they are or smaller.

The reference takes them normalised, channels first, as large as they are.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The most that a pixel can be.
WHITE = 255

# How pixels become fewer: a new one is the mean of what it covers, the old one at its centre, or what lies there on the
# straight line between the two old ones next to it.
AREA, NEAREST, BILINEAR = "area", "nearest", "bilinear"

# How the samples lie where they are loaded from, end to end: as they came, or as pixels, with nothing to decode.
ENCODED, RAW = "encoded", "raw"


@dataclass(frozen=True)
class Normalization:
    """What is done to a pixel before the reference takes it: (pixel / 255 - mean) / std, in float32."""

    mean: float
    std: float

    def done(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Returns pixels, normalised."""
        scaled: NDArray[np.float32] = pixels.astype(np.float32) / np.float32(WHITE)
        return (scaled - np.float32(self.mean)) / np.float32(self.std)

    def undone(self, samples: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Returns the pixels that come nearest to normalised ones."""
        scaled = (samples * np.float32(self.std) + np.float32(self.mean)) * np.float32(WHITE)
        found: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, WHITE).astype(np.uint8)
        return found


@dataclass(frozen=True)
class Form:
    """A form of images; by default the reference's.

    `raw`: the pixels, and not normalised. `side`: made so many pixels high and wide, in one of the ways of `resize`.
    `stored`: what is decoded end to end, and no matter elsewhere.
    """

    raw: bool = False
    channels_last: bool = False
    side: int | None = None
    resize: str = AREA
    stored: str = ENCODED

    @property
    def dtype(self) -> type[np.generic]:
        """The type of a value."""
        return np.uint8 if self.raw else np.float32

    @property
    def plain(self) -> bool:
        """Whether images are as the reference takes them, however they are stored."""
        return replace(self, stored=ENCODED) == REFERENCE

    def shape(self, whole: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the shape of an image that the reference takes in the shape `whole`: channels, height, width."""
        if self.plain:
            return whole
        channels, *size = whole if self.side is None else (whole[0], self.side, self.side)
        return (*size, channels) if self.channels_last else (channels, *size)

    def of_pixels(self, pixels: NDArray[np.uint8], normalization: Normalization) -> NDArray[Any]:
        """Returns images (n, channels, height, width) in this form, in one contiguous array."""
        if self.side is not None:
            pixels = resized(pixels, self.side, self.resize)
        if self.channels_last:
            pixels = np.moveaxis(pixels, 1, -1)
        return np.ascontiguousarray(pixels if self.raw else normalization.done(pixels))

    def of_samples(self, samples: NDArray[np.float32], normalization: Normalization) -> NDArray[Any]:
        """Returns what the reference takes in this form; a value that is no pixel's becomes the nearest one's."""
        return samples if self.plain else self.of_pixels(normalization.undone(samples), normalization)

    def said(self, normalization: Normalization) -> str:
        """Returns in words what is done to an image."""
        smaller = [] if self.side is None else [f"{self.side} x {self.side} pixels ({self.resize})"]
        normalised = [] if self.raw else [f"(pixel / {WHITE} - {normalization.mean}) / {normalization.std}"]
        layout = "NHWC" if self.channels_last else "NCHW"
        stored = [] if self.stored == ENCODED else [f"stored {self.stored}"]
        return ", ".join([f"{np.dtype(self.dtype).name} {layout}", *smaller, *normalised, *stored])


REFERENCE = Form()

# For each of the new pixels along an axis, the place of an old one, and its share of the new one.
Part = tuple[NDArray[np.int64], NDArray[np.float32]]


def resized(pixels: NDArray[np.uint8], side: int, way: str) -> NDArray[np.uint8]:
    """Returns images (n, channels, height, width) with `side` pixels an axis, each rounded to a whole number."""
    found: NDArray[Any] = pixels
    for axis in (2, 3):
        found = _along(found, axis, _parts(pixels.shape[axis], side, way))
    return found if found.dtype == np.uint8 else np.rint(found).astype(np.uint8)


def _along(images: NDArray[Any], axis: int, parts: tuple[Part, ...]) -> NDArray[Any]:
    if len(parts) == 1:
        return images.take(parts[0][0], axis=axis)
    # Not by a matrix: numpy would multiply by it with threads of its own, beside those of the sessions.
    shape = [-1 if place == axis else 1 for place in range(images.ndim)]
    (places, share), *others = parts
    found: NDArray[Any] = images.take(places, axis=axis) * share.reshape(shape)
    for places, share in others:
        found += images.take(places, axis=axis) * share.reshape(shape)
    return found


@functools.cache
def _parts(size: int, side: int, way: str) -> tuple[Part, ...]:
    """Returns what the `side` new pixels along an axis are made of, where there were `size` old ones.

    Counted in parts of which an old pixel has `side` and a new one `size`, all is whole numbers. Both rows of pixels
    have the same ends, and a pixel is where its centre is.
    """
    starts = np.arange(side) * size
    if way == NEAREST:
        return (((2 * starts + size) // (2 * side), np.ones(side, np.float32)),)
    if way == BILINEAR:
        # Twice, so that centres are whole as well; what is beyond the first or the last centre is that pixel.
        left, past = np.divmod(2 * starts + size - side, 2 * side)
        shares = [(left, 1 - past / (2 * side)), (left + 1, past / (2 * side))]
    else:
        covering = [starts // side + number for number in range(-(-size // side) + 1)]
        common = [
            np.minimum((places + 1) * side, starts + size) - np.maximum(places * side, starts) for places in covering
        ]
        shares = [(places, np.maximum(one, 0) / size) for places, one in zip(covering, common, strict=True)]
    return tuple((np.clip(places, 0, size - 1), share.astype(np.float32)) for places, share in shares if share.any())
