"""What the detector is told to learn is what its answers are judged by."""

import numpy as np
import pytest
import torch

from accuracy_scripts import objects
from accuracy_scripts.objects import ABSENT
from reference_models.datasets import fashion_mnist, fashion_scenes
from reference_models.fashion_fcos.detections import STRIDE, detections
from tests.conformance.loading import CACHE
from tools.train import detector

pytestmark = pytest.mark.side_by_side


def told(scenes: np.ndarray) -> torch.Tensor:
    """Returns outputs that say at each location just what they should."""
    wanted = detector.targets(torch.from_numpy(scenes))
    outputs = torch.full((len(scenes), 256, 14), -8.0)
    there = wanted.category >= 0
    outputs[..., :10][there] = -8 + 16 * torch.nn.functional.one_hot(wanted.category[there], 10).float()
    centres = detector._centres()
    inwards = torch.cat([centres - wanted.corners[..., :2], wanted.corners[..., 2:] - centres], dim=-1)
    outputs[..., 10:] = (inwards / STRIDE).clamp(min=1e-3).log()
    return outputs.transpose(1, 2).reshape(len(scenes), 14, 16, 16)


def test_who_tells_what_it_should_finds_nearly_all() -> None:
    scenes = fashion_scenes.scenes(CACHE / "data" / fashion_mnist.FOLDER, "test", 300).objects
    found = objects.score(detections(told(scenes).numpy()), scenes)
    # Where two lie on one location, the smaller is told.
    assert found["mAP"] > 97
    category = detector.targets(torch.from_numpy(scenes)).category
    assert set(category.unique().tolist()) == {-1, *range(10)}
    assert (detector.targets(torch.full((1, 6, 5), ABSENT)).category == -1).all()


def test_the_loss_is_least_for_who_tells_what_it_should() -> None:
    scenes = torch.from_numpy(fashion_scenes.scenes(CACHE / "data" / fashion_mnist.FOLDER, "test", 50).objects)
    task = object.__new__(detector.Task)
    task.recipe = detector.Recipe(False, 50, 2.0, 0.9, 1, 0.1, 1000, 1, 1, 1, 1000, 0.0)
    wanted, outputs = detector.targets(scenes), told(scenes.numpy())
    best = task.loss(outputs, wanted).item()
    assert 0 <= best < 0.3
    generator = torch.Generator().manual_seed(1)
    for part in (slice(0, 10), slice(10, 14)):
        worse = outputs.clone()
        worse[:, part] += 0.5 * torch.randn(worse[:, part].shape, generator=generator)
        assert task.loss(worse, wanted).item() > best


def test_boxes_that_are_the_same_overlap_whole() -> None:
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 10.0]])
    others = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [20.0, 0.0, 30.0, 10.0]])
    iou, apart = detector.giou(boxes, others)
    assert iou.tolist() == pytest.approx([1, 1 / 3, 0])
    # Of those that do not touch, a third of the hull is between them.
    assert apart.tolist() == pytest.approx([1, 1 / 3, -1 / 3])
