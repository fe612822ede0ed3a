"""The steps from candidates to detections: against a plain reading of each rule, box by box."""

import numpy as np
import pytest

from common.errors import UsageError
from reference_models.suppression import FAST, KINDS, Steps
from tools.postprocess import steps
from tools.postprocess.steps import Candidates

pytestmark = pytest.mark.side_by_side


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return float(shared / union) if union else 0.0


def plain(found: Candidates, rule: Steps) -> list[int]:
    """Returns what remains, by the rules as they are written: of each box, whether a surer one suppresses it."""
    order = sorted(range(len(found.scores)), key=lambda place: -found.scores[place])
    order = [place for place in order if found.scores[place] > rule.score][: rule.top]
    kept: list[int] = []
    for number, place in enumerate(order):
        among = order[:number] if rule.nms == FAST else kept
        rivals = [
            other
            for other in among
            if rule.nms == steps.ALL_CLASSES or found.categories[other] == found.categories[place]
        ]
        overlapped = any(overlap(found.corners[place], found.corners[other]) > rule.iou for other in rivals)
        if rule.nms == steps.NONE or not overlapped:
            kept.append(place)
    return kept[: rule.keep]


def drawn(seed: int, count: int = 60) -> Candidates:
    """Returns candidates that crowd around a few places, some of them with negative corners and no area."""
    draw = np.random.default_rng(seed)
    low = draw.choice([-20.0, 30.0, 90.0], (count, 2)) + draw.normal(0, 8, (count, 2))
    size = draw.uniform(0, 60, (count, 2)) * (draw.random((count, 1)) < 0.95)
    return Candidates(np.hstack([low, low + size]), draw.random(count).round(2), draw.integers(1, 4, count))


@pytest.mark.parametrize("nms", KINDS)
@pytest.mark.parametrize("rows", [512, 7])
@pytest.mark.parametrize("words", ["score=0.05", "score=0.4,iou=0.3", "top=20,keep=7", "iou=0,score=0", "iou=1"])
def test_what_remains_is_what_each_rule_says(nms: str, words: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "ROWS", rows)
    rule = steps.parse(f"{words},nms={nms}", Steps())
    for seed in range(20):
        found = drawn(seed)
        assert steps.chosen(found, rule).tolist() == plain(found, rule)


def test_boxes_that_overlap_by_half_are_one_thing() -> None:
    """A known answer: IoU of 0.6 in one category, 0.6 across two, and a box far away."""
    corners = np.array([[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 6, 10], [50, 50, 60, 60]], np.float64)
    found = Candidates(corners, np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 2, 1]))
    remaining = {nms: steps.chosen(found, Steps(nms=nms)).tolist() for nms in KINDS}
    assert remaining == {"by-class": [0, 2, 3], "all-classes": [0, 3], "fast": [0, 2, 3], "none": [0, 1, 2, 3]}
    assert steps.chosen(found, Steps(score=0.9)).tolist() == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nsm=none", "Did you mean 'nms'"),
        ("nms=soft", "nms 'soft'"),
        ("keep", "must give keep one value, as in keep=100"),
        ("keep=1,keep=2", "must give keep one value"),
        ("keep=0", "keep is '0'; it is a whole number from 1 to 1e+06"),
        ("keep=1.5", "keep is '1.5'"),
        ("iou=nan", "iou is 'nan'; it is a number from 0 to 1"),
        ("score=2", "score is '2'"),
    ],
)
def test_what_is_no_step_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        steps.parse(text, Steps())
    assert sentence in str(caught.value)


def test_a_variant_is_the_reference_but_for_what_it_says() -> None:
    base = steps.parse("score=0.001,keep=300", Steps())
    assert steps.parse("nms=none", base) == Steps(score=0.001, keep=300, nms="none")


def test_a_rate_is_of_whole_rounds_over_all_images() -> None:
    times = iter([0.0, 0.4, 0.8, 1.2, 1.2])
    timed = steps.rate([drawn(1), drawn(2)], 1.0, lambda: next(times))
    assert timed(Steps()) == pytest.approx(6 / 1.2)


def test_images_are_timed_that_the_reference_does_in_so_many_seconds() -> None:
    images = [drawn(seed) for seed in range(50)]
    times = iter(float(second) for second in range(100))
    timed = steps.timed_on(images, Steps(), 10.0, lambda: next(times))
    assert len(timed) == 10 and len({id(one) for one in timed}) == 10 and timed != images[:10]
    assert len(steps.timed_on(images, Steps(), 1e9, lambda: 0.0)) == 50
