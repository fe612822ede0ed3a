"""Detections of many images at once are those that each image's own loop gives."""

from dataclasses import replace

import numpy as np
import pytest

from accuracy_scripts.objects import ABSENT, DETECTION, overlaps
from reference_models.fashion_fcos.detections import REFERENCE, confidence, detections, with_steps
from reference_models.suppression import ALL_CLASSES, FAST, KINDS, NONE, Steps

pytestmark = pytest.mark.side_by_side


def outputs(count: int, seed: int = 0) -> np.ndarray:
    """Returns raw outputs in which neighbours say alike, as a trained network's do."""
    draw = np.random.default_rng(seed)
    raw = draw.normal(-6, 1, (count, 14, 16, 16)).astype(np.float32)
    raw[:, 10:] = draw.normal(1.2, 0.15, (count, 4, 16, 16))
    for image in range(count):
        for _ in range(int(draw.integers(0, 7))):
            row, column, category = *draw.integers(0, 14, 2), int(draw.integers(0, 10))
            raw[image, category, row : row + 3, column : column + 3] = draw.normal(0.5, 2, (3, 3))
    return raw


def one_by_one(raw: np.ndarray, steps: Steps) -> list[list[int]]:
    """Returns an image's detections, each candidate after the other."""
    found = []
    for row in range(16):
        for column in range(16):
            category, logit = int(raw[:10, row, column].argmax()), float(raw[:10, row, column].max())
            x, y = 4 * column + 2, 4 * row + 2
            left, top, right, bottom = 4 * np.exp(raw[10:, row, column])
            box = np.clip([x - left, y - top, x + right, y + bottom], 0, 64).astype(np.float32)
            found.append((logit, category, box))
    found = [one for one in found if 1 / (1 + np.exp(-one[0])) > steps.score]
    found = sorted(found, key=lambda one: -one[0])[: steps.top]
    kept: list[tuple[float, int, np.ndarray]] = []
    for place, one in enumerate(found):
        among = found[:place] if steps.nms == FAST else kept
        near = [
            overlaps(other[2][None], one[2][None])[0, 0] > steps.iou
            for other in among
            if steps.nms == ALL_CLASSES or other[1] == one[1]
        ]
        if steps.nms == NONE or not any(near):
            kept.append(one)
    return [
        [category, round(1000 / (1 + np.exp(-logit))), *np.rint(4 * box).astype(int).tolist()]
        for logit, category, box in kept[: steps.keep]
    ]


@pytest.mark.parametrize("nms", KINDS)
@pytest.mark.parametrize("changed", [{}, {"score": 0.4}, {"iou": 0.2}, {"top": 5}, {"keep": 3}], ids=str)
def test_they_are_those_of_a_loop_over_candidates(nms: str, changed: dict[str, float]) -> None:
    raw, steps = outputs(40), replace(REFERENCE, nms=nms, **changed)
    rows = with_steps(steps)(raw).reshape(40, -1, DETECTION)
    for image in range(40):
        expected = one_by_one(raw[image], steps)
        found = rows[image][rows[image, :, 0] != ABSENT].tolist()
        assert found == expected
        assert (rows[image, len(found) :] == ABSENT).all()


def test_they_do_not_depend_on_the_batch() -> None:
    raw = outputs(64, seed=3)
    together = detections(raw)
    assert together.shape == (64, REFERENCE.keep * DETECTION) and together.dtype == np.int32
    for size in (1, 7, 32):
        parts = [detections(raw[start : start + size]) for start in range(0, 64, size)]
        assert np.array_equal(np.concatenate(parts), together)


def test_what_is_no_number_is_encoded_all_the_same() -> None:
    raw = outputs(3)
    raw[0], raw[1] = np.nan, np.inf
    raw[2, 10:, 3:9, 3:9] = np.nan
    assert detections(raw).shape == detections(outputs(3)).shape
    raw[2] = outputs(3)[2]
    assert np.array_equal(detections(raw[2:]), detections(outputs(3)[2:]))
    assert (detections(np.full((2, 14, 16, 16), -50, np.float32)) == ABSENT).all()


def test_an_image_is_as_sure_as_its_least_sure_location() -> None:
    raw = np.full((2, 14, 16, 16), -20, np.float32)
    raw[1, 3, 4, 5] = 0.1
    sure = confidence(raw)
    assert sure[0] == pytest.approx(1) and sure[1] == pytest.approx(2 / (1 + np.exp(-0.1)) - 1, abs=1e-6)
