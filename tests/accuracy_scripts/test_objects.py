"""What is detected is judged as pycocotools judges it, and what differs between two sides is told as it is."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy_scripts import bootstrap, objects
from accuracy_scripts.objects import ABSENT, DETECTION, QUARTERS, SCORES
from accuracy_scripts.paired import CERTIFIED, REGRESSION, certify
from common.errors import UsageError
from tests.accuracy_scripts.made_objects import CATEGORIES, SIDE, detected, objects_of, payload_of
from tests.accuracy_scripts.test_detection import official, repeated

pytestmark = pytest.mark.side_by_side


def in_cocos_format(truth: NDArray[Any], answers: NDArray[Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the same as pycocotools takes it; images are numbered from 1."""

    def box(left: float, top: float, right: float, bottom: float) -> list[float]:
        return [left, top, right - left, bottom - top]

    there = [(image, one) for image, own in enumerate(truth.tolist(), 1) for one in own if one[0] != ABSENT]
    annotations = [
        {"id": number, "image_id": image, "category_id": one[0] + 1, "bbox": box(*one[1:]), "iscrowd": 0}
        for number, (image, one) in enumerate(there, 1)
    ]
    rows = answers.reshape(len(answers), -1, DETECTION).tolist()
    found = [
        {
            "image_id": image,
            "category_id": one[0] + 1,
            "score": one[1] / SCORES,
            "bbox": box(*(corner / QUARTERS for corner in one[2:])),
        }
        for image, own in enumerate(rows, 1)
        for one in own
        if one[0] != ABSENT
    ]
    content = {
        "images": [{"id": image + 1, "width": SIDE, "height": SIDE} for image in range(len(truth))],
        "categories": [{"id": number + 1, "name": str(number)} for number in range(CATEGORIES)],
        "annotations": [{**one, "area": one["bbox"][2] * one["bbox"][3]} for one in annotations],
    }
    return content, found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mean_average_precision_is_pycocotools_own(seed: int) -> None:
    truth = objects_of(80, seed)
    answers = detected(truth, seed)
    content, found = in_cocos_format(truth, answers)
    value = objects.judged(answers, truth).mean
    assert value == pytest.approx(official(content, found), abs=1e-12) and 0.1 < value < 0.9
    scored = objects.score(answers, truth)
    assert scored["mAP"] == 100 * value and scored["low_95"] < scored["mAP"] < scored["high_95"]


def test_it_is_pycocotools_own_for_drawn_images() -> None:
    truth = objects_of(40, 5)
    answers = detected(truth, 5)
    content, found = in_cocos_format(truth, answers)
    judged = objects.judged(answers, truth)
    counts = np.random.default_rng(6).multinomial(40, [1 / 40] * 40, 3)
    again = np.repeat(np.arange(40), counts[0])
    assert objects.judged(answers[again], truth[again]).mean == pytest.approx(
        official(*repeated(content, found, counts[0].tolist())), abs=1e-12
    )
    assert np.isfinite(judged.drawn).all()
    assert (objects.compare(answers, answers, truth).apart == 0).all()
    # Both sides of a comparison are drawn alike, however much each has found, and at a time.
    some, fewer = (np.concatenate(list(bootstrap.drawn(2000, 300, values))) for values in (2000, 30_001))
    assert np.array_equal(some, fewer)


def test_what_is_found_alone_and_surely_is_right() -> None:
    truth = objects_of(30, 7)
    perfect = payload_of(truth)
    assert objects.right(perfect, truth).all()
    assert objects.score(perfect, truth)["mAP"] == pytest.approx(100)
    unsure = payload_of(truth, score=499)
    some = (truth[..., 0] != ABSENT).any(axis=1)
    # An image without objects is right where nothing is shown.
    assert (objects.right(unsure, truth) == ~some).all()
    rows = perfect.copy().reshape(30, -1, DETECTION)
    rows[some, 0, 0] = (rows[some, 0, 0] + 1) % CATEGORIES
    assert not objects.right(rows.reshape(30, -1), truth)[some].any()
    assert objects.agree(perfect, perfect).all() and not objects.agree(rows.reshape(30, -1), perfect)[some].any()


def test_a_detection_beside_the_objects_makes_an_image_wrong() -> None:
    truth = objects_of(1, 8)
    truth[0] = ABSENT
    truth[0, 0] = (2, 10, 10, 20, 20)
    answer = np.full((1, 2, DETECTION), ABSENT, np.int32)
    answer[0, 0] = (2, 900, 40, 40, 80, 80)
    assert objects.right(answer.reshape(1, -1), truth).all()
    answer[0, 1] = (2, 800, 41, 41, 80, 80)
    assert not objects.right(answer.reshape(1, -1), truth).any()
    answer[0, 1, 1] = 300
    assert objects.right(answer.reshape(1, -1), truth).all()


def test_a_loss_is_certified_or_not_by_the_same_images() -> None:
    truth = objects_of(400, 9)
    reference = detected(truth, 9, lost=0.05, apart=0.7)
    same = objects.compare(reference, reference, truth)
    assert (same.difference, same.changed, same.p_value) == (0, 0, 1)
    low, high = same.interval()
    assert -0.02 < low < 0 < high < 0.02
    assert certify(same, 0.02).outcome == CERTIFIED
    rows = reference.reshape(400, -1, DETECTION).copy()
    rows[::3, :2] = ABSENT
    worse = objects.compare(reference, rows.reshape(400, -1), truth)
    assert worse.difference < -0.05 and worse.p_value < 1e-6
    assert worse.changed >= worse.only_reference + worse.only_variant > 20
    assert certify(worse, 0.01).outcome == REGRESSION
    assert worse.variant_share - worse.reference_share == pytest.approx(worse.difference)
    low, high = worse.interval()
    wider = worse.interval(0.99)
    assert wider[0] < low < worse.difference < high < wider[1]


def test_the_class_that_lost_most_comes_first() -> None:
    truth = objects_of(300, 10)
    reference = detected(truth, 10)
    rows = reference.reshape(300, -1, DETECTION).copy()
    rows[(rows[..., 0] == 2) & (np.arange(rows.shape[1]) % 2 == 0)] = ABSENT
    found = objects.by_class(reference, rows.reshape(300, -1), truth)
    assert found[0].label == 2 and len(found) == CATEGORIES
    assert found[0].outcomes.difference < -0.1 and found[0].high < 0
    assert found[0].outcomes.total == (truth[..., 0] == 2).sum()
    assert found[0].outcomes.only_reference > 10 and all(one.outcomes.changed == 0 for one in found[1:])
    slices = objects.by_slice(reference, rows.reshape(300, -1), truth, np.arange(300) % 3)
    assert [one.outcomes.total for one in slices] == [100, 100, 100]


def test_answers_that_are_no_detections_are_refused() -> None:
    truth = objects_of(10, 11)
    for answers in (np.zeros((10, 7), np.int32), np.zeros(10, np.int64), np.zeros((10, 6), np.float32)):
        with pytest.raises(UsageError, match="whole numbers for each detection"):
            objects.score(answers, truth)
    with pytest.raises(UsageError, match="9 answers to 10 samples"):
        objects.score(payload_of(truth)[:9], truth)
    with pytest.raises(UsageError, match="no image has an object"):
        objects.score(payload_of(truth), np.full_like(truth, ABSENT))
    with pytest.raises(ValueError, match="no pairs"):
        objects.compare(payload_of(truth), payload_of(truth)[:9], truth)


def test_its_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Of many data sets; the true difference is that of one that is much larger."""
    draw = np.random.default_rng(12)
    truth = objects_of(6000, 13)
    reference, variant = detected(truth, 14, lost=0.1), detected(truth, 14, lost=0.1)
    rows = variant.reshape(6000, -1, DETECTION).copy()
    hurt = draw.random(6000) < 0.1
    rows[hurt, 0, 1] = rows[hurt, 0, 1] // 3
    rows = rows.reshape(6000, -1)
    known = objects.compare(reference, rows, truth).difference
    covered = 0
    for _ in range(40):
        own = draw.permutation(6000)[:300]
        low, high = objects.compare(reference[own], rows[own], truth[own]).interval()
        covered += low <= known <= high
    # Fewer would come by chance in one case of a thousand; all is drawn by a seed.
    assert covered >= 33
