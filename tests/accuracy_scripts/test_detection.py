"""mAP of drawn images is pycocotools' own, and its paired interval holds as often as it says."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from accuracy_scripts.bootstrap import of_scores
from accuracy_scripts.detection import Category, differing, matched, mean_average_precision
from tests.accuracy_scripts.made_coco import Found, made

pytestmark = pytest.mark.side_by_side


def written(folder: Path, truth: dict[str, Any], *found: Found) -> tuple[Path, list[Path]]:
    annotations = folder / "instances.json"
    annotations.write_text(json.dumps(truth))
    paths = [folder / f"{number}.json" for number in range(len(found))]
    for path, one in zip(paths, found, strict=True):
        path.write_text(json.dumps(one))
    return annotations, paths


def official(truth: dict[str, Any], found: Found) -> float:
    """Returns what pycocotools says itself."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def repeated(truth: dict[str, Any], found: Found, counts: list[int]) -> tuple[dict[str, Any], Found]:
    """Returns a data set in which each image is there so often, as images of their own."""
    copies = [(image, number) for image, count in enumerate(counts, 1) for number in range(count)]
    new = {copy: place for place, copy in enumerate(copies, 1)}
    images = [{"id": place, "width": 640, "height": 480} for place in new.values()]
    objects = [
        {**one, "image_id": new[copy]} for copy in copies for one in truth["annotations"] if one["image_id"] == copy[0]
    ]
    annotations = [{**one, "id": number} for number, one in enumerate(objects, 1)]
    theirs = [{**one, "image_id": new[copy]} for copy in copies for one in found if one["image_id"] == copy[0]]
    return {**truth, "images": images, "annotations": annotations}, theirs


@pytest.mark.parametrize("crowds", [False, True])
def test_it_is_pycocotools_own_for_every_draw(tmp_path: Path, crowds: bool) -> None:
    truth, reference, variant = made(60, seed=1, crowds=crowds)
    ours, theirs = matched(*written(tmp_path, truth, reference, variant))
    assert 5 < differing(ours, theirs) < 60 and differing(ours, ours) == 0
    draws = np.random.default_rng(2).multinomial(60, [1 / 60] * 60, 5)
    counts = np.vstack([np.ones((1, 60), np.int64), draws])
    for categories, found in ((ours, reference), (theirs, variant)):
        values = mean_average_precision(categories, counts)
        assert values[0] == pytest.approx(official(truth, found), abs=1e-12) and 0.2 < values[0] < 0.9
        for value, row in zip(values[1:], draws, strict=True):
            assert value == pytest.approx(official(*repeated(truth, found, row.tolist())), abs=1e-12)


def test_ties_crowded_images_and_empty_ones_are_as_pycocotools_has_them(tmp_path: Path) -> None:
    truth, reference, _ = made(40, seed=5, crowds=True)
    rounded = [{**one, "score": round(one["score"], 1)} for one in reference]
    # More than count in an image, none in another, and a category without an object.
    box = {"bbox": [0.0, 0.0, 9.0, 9.0], "category_id": 1}
    many = [{**box, "image_id": 1, "score": 0.5 + number / 1000} for number in range(120)]
    found = [*(one for one in rounded if one["image_id"] != 2), *many, {**many[0], "category_id": 99}]
    truth["categories"].append({"id": 7, "name": "nowhere"})
    (side,) = matched(*written(tmp_path, truth, found))
    assert len(side) == 3 and not side[2].objects.any()
    assert mean_average_precision(side, np.ones((1, 40), np.int64))[0] == pytest.approx(
        official(truth, found), abs=1e-12
    )
    # A draw without any object has no precision.
    assert np.isnan(mean_average_precision(side, np.zeros((1, 40), np.int64))).all()


def test_other_scores_alone_are_no_other_matches(tmp_path: Path) -> None:
    truth, reference, _ = made(40, seed=5)
    nudged = [{**one, "score": one["score"] * 0.999} for one in reference]
    ours, theirs = matched(*written(tmp_path, truth, reference, nudged))
    assert differing(ours, theirs) == 0


def test_a_category_that_a_draw_lacks_is_left_out_of_its_mean() -> None:
    seen, unseen = (
        Category(np.array([0, 1]), np.ones((1, 2), bool), np.zeros((1, 2), bool), np.array([1, 1])),
        Category(np.array([1]), np.zeros((1, 1), bool), np.zeros((1, 1), bool), np.array([0, 1])),
    )
    found = mean_average_precision([seen, unseen], np.array([[1, 1], [2, 0]]))
    assert found.tolist() == pytest.approx([0.5, 1.0])


def test_the_interval_covers_the_difference(tmp_path: Path) -> None:
    """Of 1,000 evaluation sets of 150 images, drawn from 4,000 whose difference is known: at IoU 0.75."""
    truth, reference, variant = made(4_000, seed=3, lost=0.03)
    ours, theirs = ([_at(one, [5]) for one in side] for side in matched(*written(tmp_path, truth, reference, variant)))
    images = len(truth["images"])
    once = np.ones((1, images), np.int64)
    known = float((mean_average_precision(theirs, once) - mean_average_precision(ours, once))[0])
    draw = np.random.default_rng(4)

    def covered() -> bool:
        chosen = draw.choice(images, 150, replace=False)
        sides = [[_of(one, chosen, images) for one in side] for side in (ours, theirs)]
        found = of_scores(
            lambda counts: mean_average_precision(sides[0], counts),
            lambda counts: mean_average_precision(sides[1], counts),
            150,
            150,
            draws=400,
        )
        return found.low <= known <= found.high

    assert 930 <= sum(covered() for _ in range(1000)) <= 970


def _at(category: Category, thresholds: list[int]) -> Category:
    return Category(category.image, category.right[thresholds], category.ignored[thresholds], category.objects)


def _of(category: Category, chosen: np.ndarray, images: int) -> Category:
    """Returns what there is of a category in some images, which get the numbers of their places."""
    place = np.full(images, -1)
    place[chosen] = np.arange(len(chosen))
    kept = place[category.image] >= 0
    image = place[category.image[kept]]
    return Category(image, category.right[:, kept], category.ignored[:, kept], category.objects[chosen])
