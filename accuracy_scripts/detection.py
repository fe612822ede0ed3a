"""COCO's mean average precision of boxes, by how often each image is there.

pycocotools matches detections with objects, once; what is left, ranking and averaging, is done here for many draws of
images at a time, and equals pycocotools' own where each image is there once.
"""

import contextlib
import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts import bootstrap
from accuracy_scripts.bootstrap import Difference
from common.errors import UsageError

# COCO's: detections that count in an image, and recalls at which precision is read.
MOST_DETECTIONS = 100
RECALLS = np.linspace(0.0, 1.0, 101)
ANY_AREA = [0.0, 1e10]
# What COCO's files have of each thing.
IMAGE, CATEGORY = ("id",), ("id",)
OBJECT = ("id", "image_id", "category_id", "area", "iscrowd", "bbox")
DETECTION = ("image_id", "category_id", "bbox", "score")
WHOLE = ("id", "image_id", "category_id", "iscrowd")


@dataclass(frozen=True, eq=False)
class Category:
    """The detections of one category, the surest first: the image of each, and what it is at each IoU threshold.

    `image` has shape (n,), `right` and `ignored` (thresholds, n); `objects` are those to be found in each image, shape
    (images,).
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    ignored: NDArray[np.bool_]
    objects: NDArray[np.int64]


def mean_average_precision(categories: Sequence[Category], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns COCO's mAP (IoU 0.50 to 0.95) for each row of counts, shape (draws, images).

    A category of which a draw has no object is left out of that draw's mean, as COCO does; nan where all are.
    """
    return mean_over_categories(np.array([average_precision(one, counts) for one in categories]))


def mean_over_categories(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the mean over categories, shape (draws,), of average precisions, shape (categories, draws), nan left out.

    It is nan where all are.
    """
    there = np.isfinite(found)
    total = np.where(there, found, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, there.sum(axis=0), out=np.full(len(total), np.nan), where=there.any(axis=0)))


def average_precision(category: Category, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the mean over thresholds of precision at RECALLS, shape (draws,); nan where there is no object."""
    objects = (counts @ category.objects).astype(np.float64)
    objects[objects == 0] = np.nan
    drawn = counts[:, category.image]
    ranked = np.cumsum(drawn, axis=1)
    per_threshold = []
    for right, ignored in zip(category.right, category.ignored, strict=True):
        # Precision and recall are read where something was found: in between the former only falls.
        places = np.flatnonzero(right & ~ignored)
        found = np.cumsum(drawn[:, places], axis=1)
        among = ranked[:, places]
        if ignored.any():
            among = among - np.cumsum(drawn * ignored, axis=1)[:, places]
        precision = np.divide(found, among, out=np.zeros(found.shape), where=among > 0)
        best_after = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        reached = np.searchsorted(RECALLS, found / objects[:, None], side="right")
        per_threshold.append((np.diff(reached, axis=1, prepend=0) * best_after).sum(axis=1) / len(RECALLS))
    return np.where(np.isnan(objects), np.nan, np.mean(per_threshold, axis=0))


def compare(annotations: Path, files: tuple[Path, Path], draws: int = bootstrap.DRAWS) -> Difference:
    """Returns the difference of the mAP of two files of results, the second minus the first.

    Raises UsageError where a file is none, or there are too few images with objects.
    """
    ours, theirs = matched(annotations, files)
    seen = np.sum([one.objects for one in ours], axis=0)
    if np.count_nonzero(seen) < bootstrap.FEWEST:
        raise UsageError(
            f"{annotations} has objects in {np.count_nonzero(seen)} images; by fewer than {bootstrap.FEWEST} nobody "
            "can tell."
        )
    scores = [partial(mean_average_precision, one) for one in (ours, theirs)]
    most = max(len(one.image) for one in (*ours, *theirs))
    return bootstrap.of_scores(scores[0], scores[1], len(seen), differing(ours, theirs), draws, values=most)


def differing(first: Sequence[Category], second: Sequence[Category]) -> int:
    """Returns in how many images two sides have other matches, in the order of their scores there."""
    changed: set[int] = set()
    for one, other in zip(first, second, strict=True):
        ours, theirs = _by_image(one), _by_image(other)
        changed |= {image for image in ours.keys() | theirs.keys() if ours.get(image) != theirs.get(image)}
    return len(changed)


def _by_image(category: Category) -> dict[int, bytes]:
    """Returns what became of the detections in each image that has some."""
    order = np.argsort(category.image, kind="stable")
    images, begins = np.unique(category.image[order], return_index=True)
    said = np.vstack([category.right, category.ignored])[:, order]
    parts = np.split(said, begins[1:], axis=1)
    return {image: part.tobytes() for image, part in zip(images.tolist(), parts, strict=False)}


def matched(annotations: Path, files: Sequence[Path]) -> list[list[Category]]:
    """Returns the categories of each file of results, the images in the order of their numbers.

    `annotations` is COCO's instances file; raises UsageError naming the file at fault.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError as error:
        raise UsageError("mAP needs pycocotools. Run: pip install pycocotools") from error
    content = instances(annotations)
    images = {one["id"] for one in content["images"]}
    truth = COCO()
    truth.dataset = {**content, "annotations": [one for one in content["annotations"] if one["image_id"] in images]}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return [_categories(truth, results(path, images)) for path in files]


def instances(path: Path) -> dict[str, Any]:
    """Returns what COCO's instances file holds; raises UsageError where it is none."""
    content = read_json(path)
    if fault := _fault_of_instances(content):
        raise UsageError(f"{path} is no instances file of COCO's: {fault}.")
    return dict(content)


def _fault_of_instances(content: Any) -> str | None:
    if not isinstance(content, dict):
        return "it is no object"
    for kind, keys in (("images", IMAGE), ("categories", CATEGORY), ("annotations", OBJECT)):
        entries = content.get(kind)
        if not isinstance(entries, list) or not entries:
            return f"it has no {kind}"
        fault = next((found for one in entries if (found := _fault(one, keys))), None)
        if fault:
            return f"one of its {kind} {fault}"
        if "id" in keys and len({one["id"] for one in entries}) < len(entries):
            return f"two of its {kind} have the same id"
    return None


def results(path: Path, images: set[int]) -> list[dict[str, Any]]:
    """Returns a file's detections, without what mAP of boxes does not need; raises UsageError where it is none."""
    content = read_json(path)
    what = f"{path} is no list of detections in COCO's format"
    if not isinstance(content, list) or not content:
        raise UsageError(f"{what}: it holds none.")
    for one in content:
        fault = _fault(one, DETECTION)
        if fault is None and one["image_id"] not in images:
            fault = f"is of image {one['image_id']}, which the instances file does not have"
        if fault:
            raise UsageError(f"{what}: one of them {fault}.")
    return [{key: one[key] for key in DETECTION} for one in content]


def _fault(entry: Any, keys: Sequence[str]) -> str | None:
    """Returns what is wrong with an entry of COCO's that is to have such keys, None where nothing is."""
    if not isinstance(entry, Mapping):
        return "is no object"
    for key in keys:
        value = entry.get(key)
        if key == "bbox":
            good = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
        else:
            good = _is_number(value) and (key not in WHOLE or isinstance(value, int))
        if not good:
            return f"has {value!r} as its {key}" if key in entry else f"has no {key}"
    return None


def _is_number(value: Any) -> bool:
    # An integer can be larger than any float, and what is no number is not less.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _categories(truth: Any, found: list[dict[str, Any]]) -> list[Category]:
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [ANY_AREA], ["all"]
        evaluation.params.maxDets = [MOST_DETECTIONS]
        evaluation.evaluate()
    images, categories = len(evaluation.params.imgIds), len(evaluation.params.catIds)
    return [
        _category(evaluation.evalImgs[number * images : (number + 1) * images], len(evaluation.params.iouThrs))
        for number in range(categories)
    ]


def _category(evaluated: Sequence[dict[str, Any] | None], thresholds: int) -> Category:
    """Returns what pycocotools found of a category in each image, None where there is neither object nor detection."""
    there = [(number, one) for number, one in enumerate(evaluated) if one is not None]
    objects = np.zeros(len(evaluated), np.int64)
    for number, one in there:
        objects[number] = np.count_nonzero(np.asarray(one["gtIgnore"]) == 0)
    scores = np.concatenate([np.zeros(0), *(one["dtScores"] for _, one in there)])
    image = np.concatenate([np.zeros(0, np.int64), *(np.full(len(one["dtScores"]), number) for number, one in there)])
    nothing = np.zeros((thresholds, 0), bool)
    right = np.concatenate([nothing, *(np.asarray(one["dtMatches"]) != 0 for _, one in there)], axis=1)
    ignored = np.concatenate([nothing, *(np.asarray(one["dtIgnore"]) != 0 for _, one in there)], axis=1)
    # Stable, as pycocotools has it.
    order = np.argsort(-scores, kind="mergesort")
    return Category(image[order], right[:, order], ignored[:, order], objects)


def read_json(path: Path) -> Any:
    """Returns what a file of JSON holds; raises UsageError where it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}.") from None
