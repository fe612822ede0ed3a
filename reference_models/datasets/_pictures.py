"""Grey images that are all in memory, as a sample library: what the datasets of Fashion-MNIST have in common."""

import copy
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Indices, Mark, unmarked
from reference_models.forms import RAW, REFERENCE, Form, Normalization


def compress(pixels: NDArray[np.uint8]) -> list[bytes]:
    """Returns each image of (n, height, width) as a zlib stream of its own: the files hold all in one, none alone."""
    return [zlib.compress(image.tobytes()) for image in pixels]


class Pictures:
    """Images (n, height, width) and what is expected of each, shape (n, ...).

    A sample is stored as a zlib stream, or as pixels where a form says so.
    """

    def __init__(
        self, pixels: NDArray[np.uint8], truth: NDArray[np.int64], normalization: Normalization, digest: str
    ) -> None:
        self._pixels, self._truth, self._normalization = pixels, truth, normalization
        self._shape = (1, *pixels.shape[1:])
        self.total = len(pixels)
        self.digest = digest
        self.preprocessing = REFERENCE.said(normalization)
        self._resident: NDArray[Any]
        self._streams: list[bytes] = []
        self._rows: NDArray[np.int64] | None = None
        self._form = REFERENCE
        self.unload()

    def taken(self, form: Form) -> "Pictures":
        """Returns the same samples, none of them resident, in another form."""
        other = copy.copy(self)
        other._form, other.preprocessing = form, form.said(self._normalization)
        other.unload()
        return other

    def load(self, indices: Indices, decoded: bool = True) -> None:
        """Makes these samples resident, preprocessed or in their stored form."""
        # LoadGen names some samples twice, for MultiStream.
        wanted = np.unique(np.asarray(indices, np.int64))
        self.unload()
        if decoded:
            self._resident = self._formed(self._pixels[wanted])
            # Nobody who is given a sample where it lies may change it.
            self._resident.flags.writeable = False
        else:
            pixels = self._pixels[wanted]
            self._streams = [one.tobytes() for one in pixels] if self._form.stored == RAW else compress(pixels)
        # Where all are decoded, a sample's row is its index; one that is not resident has a row that is refused.
        if len(wanted) < self.total or not decoded:
            self._rows = np.full(self.total, self.total, np.int64)
            self._rows[wanted] = np.arange(len(wanted))

    def unload(self) -> None:
        """Drops what is resident."""
        self._resident = np.empty((0, *self._form.shape(self._shape)), self._form.dtype)
        self._streams = []
        self._rows = None

    def batch(self, indices: Indices) -> NDArray[Any]:
        """Returns the samples as one array, of shape (n, 1, height, width) as the reference takes them.

        One that is resident is given where it lies: a copy of it takes a query of one sample several microseconds.
        """
        if self._rows is not None and self._streams:
            return self._prepared(self._rows.take(indices), unmarked)
        rows: Indices = indices if self._rows is None else self._rows.take(indices)
        if len(rows) != 1:
            return self._resident.take(rows, axis=0)
        # A slice, since its strides are those of a batch: what torch compiles depends on them.
        found = self._resident[rows[0] : rows[0] + 1]
        if not len(found):
            raise IndexError(f"sample {indices[0]} is not resident")
        return found

    def batch_marked(self, indices: Indices, mark: Mark) -> NDArray[Any]:
        """Returns the same, and marks what is done for it."""
        if self._rows is not None and self._streams:
            return self._prepared(self._rows.take(indices), mark)
        samples = self.batch(indices)
        mark("gather")
        return samples

    def truth(self) -> NDArray[np.int64]:
        """Returns what is expected of each sample, in index order."""
        return self._truth

    def _prepared(self, rows: NDArray[np.int64], mark: Mark) -> NDArray[Any]:
        streams = [self._streams[row] for row in rows.tolist()]
        mark("gather")
        pixels = self._images(streams if self._form.stored == RAW else self._decompressed(streams))
        mark("decode")
        samples = self._formed(pixels)
        mark("preprocess")
        return samples

    def _decompressed(self, streams: Sequence[bytes]) -> list[bytes]:
        _, height, width = self._shape
        return [zlib.decompress(stream, bufsize=height * width) for stream in streams]

    def _images(self, contents: Sequence[bytes]) -> NDArray[np.uint8]:
        """Returns images (n, height, width) of the bytes of each."""
        return np.frombuffer(b"".join(contents), np.uint8).reshape(-1, *self._shape[1:])

    def _formed(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """Returns images (n, height, width) in the form in which a model takes them."""
        return self._form.of_pixels(pixels[:, None], self._normalization)
