"""From candidate boxes to detections: a threshold, suppression of overlaps, the surest few."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BY_CLASS, ALL_CLASSES, FAST, NONE = "by-class", "all-classes", "fast", "none"
KINDS = (BY_CLASS, ALL_CLASSES, FAST, NONE)


@dataclass(frozen=True)
class Steps:
    """How candidates become detections.

    Those of a score above `score` remain, of these the `top` surest; of two that overlap by more than `iou` the less
    sure goes, `nms` says among which; the `keep` surest of an image are its detections. `nms`: by-class, greedily in
    each category; all-classes, greedily in all at once; fast, in each category, where what was suppressed suppresses
    too (fast NMS of Bolya et al., YOLACT, ICCV 2019); none.

    The defaults of score, iou and keep are those of torchvision's FasterRCNN (box_score_thresh, box_nms_thresh and
    box_detections_per_img); top is of a whole image, where RetinaNet's topk_candidates is of each level of its pyramid.
    A workload has its own.
    """

    score: float = 0.05
    iou: float = 0.5
    top: int = 1000
    keep: int = 100
    nms: str = BY_CLASS


def kept(corners: NDArray[Any], categories: NDArray[Any], passed: NDArray[np.bool_], steps: Steps) -> NDArray[np.bool_]:
    """Tells which candidates are not suppressed, shape (n, k), the surest of each image first.

    `corners` are (n, k, 4) as left, top, right, bottom; `passed` are those that remain of each image.
    """
    if steps.nms == NONE or corners.shape[1] < 2:
        return passed
    over = _overlapping(corners, steps.iou)
    if steps.nms != ALL_CLASSES:
        over &= categories[:, :, None] == categories[:, None, :]
    # The surer of two is the earlier.
    over &= np.triu(np.ones(over.shape[1:], bool), 1)
    if steps.nms == FAST:
        return np.asarray(passed & ~(over & passed[:, :, None]).any(axis=1))
    alive = passed.copy()
    for number in np.flatnonzero(over.any(axis=(0, 2))).tolist():
        alive[:, number + 1 :] &= ~(over[:, number, number + 1 :] & alive[:, number, None])
    return alive


def _overlapping(corners: NDArray[Any], iou: float) -> NDArray[np.bool_]:
    """Tells which boxes (n, k, 4) of an image overlap by more than `iou`, shape (n, k, k).

    What two share is more than `iou` of their union where it is more than iou / (1 + iou) of both areas together, which
    takes no division.
    """
    left, top, right, bottom = (np.ascontiguousarray(corners[..., side]) for side in range(4))
    shared, high = (np.minimum(far[:, :, None], far[:, None, :]) for far in (right, bottom))
    shared -= np.maximum(left[:, :, None], left[:, None, :])
    high -= np.maximum(top[:, :, None], top[:, None, :])
    np.maximum(shared, 0, out=shared)
    np.maximum(high, 0, out=high)
    shared *= high
    areas = (right - left) * (bottom - top) * corners.dtype.type(iou / (1 + iou))
    return np.asarray(shared > areas[:, :, None] + areas[:, None, :])
