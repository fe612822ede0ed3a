"""Forms of images: bytes and what the reference takes are the same images, and smaller ones are what they should be."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reference_models.forms import AREA, BILINEAR, NEAREST, REFERENCE, Form, Normalization, resized

pytestmark = pytest.mark.side_by_side

NORMALIZATION = Normalization(0.286, 0.353)
SIZE = 28
IMAGES = np.random.default_rng(1).integers(0, 256, (5, 3, SIZE, SIZE), np.uint8)
# 28 / 23 is rounded there, so that a centre on the edge of two pixels falls into the first one.
ROUNDED = 23
# What torch calls the same; its area is another where the size is no multiple of the side.
TORCH: dict[str, dict[str, Any]] = {
    AREA: {"mode": "area"},
    NEAREST: {"mode": "nearest-exact"},
    BILINEAR: {"mode": "bilinear", "align_corners": False},
}


def row(*pixels: int) -> NDArray[np.uint8]:
    """Returns an image in which each row is this one."""
    return np.tile(np.array(pixels, np.uint8), (1, 1, len(pixels), 1))


@pytest.mark.parametrize(
    ("way", "expected"),
    # Of a new pixel that covers one old and a half; whose centre is at 0.75 and 2.25; that is a quarter of the way to
    # the next.
    [(AREA, [27, 53]), (NEAREST, [0, 40]), (BILINEAR, [20, 50])],
)
def test_three_pixels_become_two(way: str, expected: list[int]) -> None:
    image = row(0, 80, 40)
    assert resized(image, 2, way)[0, 0].tolist() == [expected, expected]
    assert resized(image.swapaxes(2, 3), 2, way)[0, 0].T.tolist() == [expected, expected]


@pytest.mark.parametrize("way", TORCH)
def test_images_become_as_small_as_torch_makes_them(way: str) -> None:
    import torch
    from torch.nn import functional

    for side in range(1, SIZE):
        if (way == AREA and SIZE % side) or (way == NEAREST and side == ROUNDED):
            continue
        found = resized(IMAGES, side, way)
        expected = functional.interpolate(torch.from_numpy(IMAGES).float(), side, **TORCH[way]).numpy()
        assert found.dtype == np.uint8 and found.shape == (5, 3, side, side)
        assert np.abs(found - expected).max() < 0.501, side


@pytest.mark.parametrize("way", TORCH)
@pytest.mark.parametrize("side", [1, 9, 20, 27])
def test_what_is_of_one_grey_stays_so(side: int, way: str) -> None:
    assert (resized(np.full((1, 1, SIZE, SIZE), 255, np.uint8), side, way) == 255).all()


def test_every_pixel_comes_back_from_its_normalization() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    normalised = NORMALIZATION.done(pixels)
    assert normalised.dtype == np.float32 and np.array_equal(NORMALIZATION.undone(normalised), pixels)
    assert np.array_equal(NORMALIZATION.undone(np.array([-9, 9], np.float32)), [0, 255])


@pytest.mark.parametrize(
    ("form", "shape", "kind"),
    [
        (REFERENCE, (3, 28, 28), np.float32),
        (Form(raw=True), (3, 28, 28), np.uint8),
        (Form(channels_last=True), (28, 28, 3), np.float32),
        (Form(raw=True, channels_last=True, side=9, resize=BILINEAR), (9, 9, 3), np.uint8),
    ],
)
def test_images_in_a_form_are_those_of_the_reference(form: Form, shape: tuple[int, ...], kind: type) -> None:
    found, taken = form.of_pixels(IMAGES, NORMALIZATION), NORMALIZATION.done(IMAGES)
    assert found.shape == (5, *shape) and form.shape((3, 28, 28)) == shape
    assert found.dtype == kind == form.dtype and found.flags.c_contiguous
    assert np.array_equal(form.of_samples(taken, NORMALIZATION), found)
    first = np.moveaxis(found, -1, 1) if form.channels_last else found
    smaller = resized(IMAGES, form.side, form.resize) if form.side else IMAGES
    assert np.array_equal(first, smaller if form.raw else NORMALIZATION.done(smaller))


def test_a_form_is_told_in_words() -> None:
    assert REFERENCE.said(NORMALIZATION) == "float32 NCHW, (pixel / 255 - 0.286) / 0.353"
    assert Form(raw=True, channels_last=True).said(NORMALIZATION) == "uint8 NHWC"
    assert Form(side=9).said(NORMALIZATION) == "float32 NCHW, 9 x 9 pixels (area), (pixel / 255 - 0.286) / 0.353"
