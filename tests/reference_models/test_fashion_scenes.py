"""Scenes are the same bytes each time, and their objects are where they are said to be."""

import json

import numpy as np
import pytest

from accuracy_scripts.objects import ABSENT
from common.errors import TandemError
from reference_models.datasets import fashion_mnist, fashion_scenes
from reference_models.datasets.fashion_scenes import EMPTY, FEWEST, MOST_COVERED, MOST_OBJECTS, SIDE, composed
from suite import plugins
from tests.conformance.loading import CACHE

pytestmark = pytest.mark.side_by_side
FCOS = plugins.workload("fashion-fcos")
FOLDER = CACHE / "data" / fashion_mnist.FOLDER


def test_objects_are_whole_and_hide_little_of_each_other() -> None:
    found = fashion_scenes.scenes(FOLDER, "test", 1000)
    assert found.pixels.shape == (1000, SIDE, SIDE)
    there = found.objects[..., 0] != ABSENT
    assert there.sum(axis=1).min() >= 1 and there.sum(axis=1).max() == MOST_OBJECTS
    assert (there.sum(axis=1) >= FEWEST).mean() > 0.99
    assert set(found.objects[there][:, 0]) == set(range(10))
    boxes = found.objects[..., 1:]
    assert boxes[there].min() >= 0 and boxes[there].max() <= SIDE
    assert (boxes[there][:, 2:] - boxes[there][:, :2]).min() > 1
    for image in range(1000):
        own = boxes[image][there[image]]
        for place, (left, top, right, bottom) in enumerate(own.tolist()):
            for other in own[:place].tolist():
                shared = max(0, min(right, other[2]) - max(left, other[0])) * max(
                    0, min(bottom, other[3]) - max(top, other[1])
                )
                smaller = min((right - left) * (bottom - top), (other[2] - other[0]) * (other[3] - other[1]))
                assert shared <= MOST_COVERED * smaller
            # The last of all is in front: every side of its box touches it.
        left, top, right, bottom = own[-1].tolist()
        piece = found.pixels[image, top:bottom, left:right] > EMPTY
        assert all(edge.any() for edge in (piece[0], piece[-1], piece[:, 0], piece[:, -1]))


def test_fewer_scenes_are_the_first_of_more_and_splits_have_nothing_in_common() -> None:
    many, few = fashion_scenes.scenes(FOLDER, "train", 1500), fashion_scenes.scenes(FOLDER, "train", 40)
    assert np.array_equal(many.pixels[:40], few.pixels) and np.array_equal(many.objects[:40], few.objects)
    judged = fashion_scenes.scenes(FOLDER, "test", 2000).pixels
    assert not {image.tobytes() for image in judged} & {image.tobytes() for image in many.pixels}
    assert len({image.tobytes() for image in judged}) == 2000


def test_nothing_is_drawn_by_the_seed_of_something_else() -> None:
    """Else scenes to learn from, or to choose by, would have the grounds and the places of those that judge."""
    recipe = json.loads((FCOS.weights.with_name("recipe.json")).read_text())
    training = range(recipe["seed"], recipe["seed"] + recipe["epochs"] + 1)
    assert len(set(fashion_scenes.SEEDS.values())) == 2
    assert not set(fashion_scenes.SEEDS.values()) & set(training)


def test_a_block_is_the_same_whichever_was_made_before() -> None:
    pieces = fashion_scenes.Pieces(fashion_mnist.images(FOLDER, "test"), fashion_mnist.labels(FOLDER, "test"))
    one, again, other = composed(pieces, 5, 1), composed(pieces, 5, 1), composed(pieces, 5, 2)
    assert np.array_equal(one.pixels, again.pixels) and not np.array_equal(one.pixels, other.pixels)


def test_other_scenes_than_the_references_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_scenes, "SHA256", "0" * 64)
    fashion_scenes._judged.cache_clear()
    with pytest.raises(TandemError, match="other scenes than those that the reference was judged on"):
        fashion_scenes.FashionScenes(FOLDER)
