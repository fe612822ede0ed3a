"""How a detector of pieces of clothing in scenes is trained.

Every epoch has scenes of its own, composed of the training images to learn from; held out are scenes composed of those
held out. The loss is that of FCOS (focal loss, Lin et al., ICCV 2017; GIoU, Rezatofighi et al., CVPR 2019), with the
IoU of the box as the target of its class (Li et al., "Generalized Focal Loss", NeurIPS 2020) instead of a centre-ness.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from accuracy_scripts import objects
from reference_models.datasets import fashion_mnist, fashion_scenes
from reference_models.datasets.fashion_scenes import BLOCK, Pieces, Scenes, composed, preprocess
from reference_models.fashion_fcos.detections import CELLS, REFERENCE, STRIDE, detections
from reference_models.fashion_fcos.network import CLASSES

DATASET = fashion_scenes
METRIC = "mAP"

# Within so many strides of an object's centre a location is its.
RADIUS = 1.5
# How far a location may lie outside of a box that is thinner than a stride.
LEAST_HALF = STRIDE / 2
FAR = 1e9


@dataclass(frozen=True)
class Recipe:
    """How the detector is trained: recipe.json in its folder."""

    autocast_bfloat16: bool
    batch_size: int
    box_loss: float
    ema_decay: float
    epochs: int
    peak_learning_rate: float
    scenes_per_epoch: int
    seed: int
    threads: int
    validation_images: int
    validation_scenes: int
    weight_decay: float


@dataclass(frozen=True)
class Targets:
    """What locations should tell: `category` (n, 256), -1 where there is no object, and its `corners` (n, 256, 4)."""

    category: Tensor
    corners: Tensor


class Task:
    """Learning to detect: scenes to learn from, and scenes that are held out."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.recipe = recipe
        images, labels = fashion_mnist.images(folder, "train"), fashion_mnist.labels(folder, "train")
        order = np.random.default_rng(recipe.seed).permutation(len(labels))
        held_out, learn = order[: recipe.validation_images], order[recipe.validation_images :]
        self._learn = Pieces(images[learn], labels[learn])
        blocks = recipe.validation_scenes // BLOCK
        self._held_out = together(
            [composed(Pieces(images[held_out], labels[held_out]), recipe.seed, n) for n in range(blocks)]
        )
        self.steps_per_epoch = recipe.scenes_per_epoch // recipe.batch_size
        self.said = f"learning from scenes of {len(learn)} training images, {len(held_out)} held out"

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Targets]]:
        """Yields an epoch of scenes that no other epoch has."""
        blocks = self.recipe.scenes_per_epoch // BLOCK
        own = together([composed(self._learn, self.recipe.seed + epoch, number) for number in range(blocks)])
        size = self.recipe.batch_size
        for start in range(0, self.steps_per_epoch * size, size):
            chosen = slice(start, start + size)
            yield torch.from_numpy(preprocess(own.pixels[chosen])), targets(torch.from_numpy(own.objects[chosen]))

    def loss(self, outputs: Tensor, wanted: Targets) -> Tensor:
        """Returns the loss of the classes and of the boxes, for each location that has an object."""
        raw = outputs.flatten(2).transpose(1, 2)
        there = wanted.category >= 0
        count = there.sum().clamp(min=1)
        overlap, apart = giou(corners(raw[..., CLASSES:])[there], wanted.corners[there])
        goal = torch.zeros_like(raw[..., :CLASSES])
        goal[there, wanted.category[there]] = overlap.detach().clamp(0, 1)
        logits = raw[..., :CLASSES]
        surprise = nn.functional.binary_cross_entropy_with_logits(logits, goal, reduction="none")
        focal = (surprise * (logits.sigmoid() - goal).abs().square()).sum()
        return (focal + self.recipe.box_loss * (1 - apart).sum()) / count

    def held_out(self, network: nn.Module) -> tuple[float, str]:
        """Returns mAP on the scenes that are held out."""
        found = mean_average_precision(network, self._held_out)
        return found, f"mAP {found:.2f}"


def together(blocks: list[Scenes]) -> Scenes:
    """Returns blocks of scenes as one."""
    return Scenes(np.concatenate([one.pixels for one in blocks]), np.concatenate([one.objects for one in blocks]))


def targets(scenes: Tensor) -> Targets:
    """Returns what each location should tell of scenes (n, objects, OBJECT): of the smallest object that it is in.

    It is in one whose centre lies within RADIUS strides, and inside of its box.
    """
    centres = _centres()
    boxes = scenes[..., 1:].float()
    middle, half = (boxes[..., 2:] + boxes[..., :2]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2
    reach = half.clamp(min=LEAST_HALF, max=RADIUS * STRIDE)
    inside = ((centres[:, None] - middle[:, None]).abs() <= reach[:, None]).all(dim=-1)
    inside &= (scenes[..., 0] >= 0)[:, None]
    area = (4 * half.prod(dim=-1))[:, None].expand(inside.shape).masked_fill(~inside, FAR)
    least, chosen = area.min(dim=-1)
    category = scenes[..., 0].gather(1, chosen).masked_fill(least == FAR, -1)
    return Targets(category, boxes.gather(1, chosen[..., None].expand(-1, -1, 4)))


def _centres() -> Tensor:
    """Returns where locations lie, in pixels across and down, shape (256, 2)."""
    along = STRIDE * torch.arange(CELLS).float() + STRIDE / 2
    down, across = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([across.flatten(), down.flatten()], dim=1)


def corners(logarithms: Tensor) -> Tensor:
    """Returns the corners of boxes (n, 256, 4) that locations tell."""
    outwards = STRIDE * logarithms.clamp(max=4).exp()
    centres = _centres()
    return torch.cat([centres - outwards[..., :2], centres + outwards[..., 2:]], dim=-1)


def giou(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the IoU of boxes (n, 4), and their generalized IoU."""
    low, far = torch.maximum(one[:, :2], other[:, :2]), torch.minimum(one[:, 2:], other[:, 2:])
    shared = (far - low).clamp(min=0).prod(dim=1)
    union = (one[:, 2:] - one[:, :2]).prod(dim=1) + (other[:, 2:] - other[:, :2]).prod(dim=1) - shared
    around = torch.maximum(one[:, 2:], other[:, 2:]) - torch.minimum(one[:, :2], other[:, :2])
    hull = around.prod(dim=1)
    iou = shared / union
    return iou, iou - (hull - union) / hull


@torch.no_grad()
def answers(network: nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns what a network detects in scenes, in float32."""
    network.eval()
    inputs = torch.split(torch.from_numpy(preprocess(pixels)), 250)
    return np.concatenate([detections(network(batch).numpy()) for batch in inputs])


def mean_average_precision(network: nn.Module, scenes: Scenes) -> float:
    """Returns a network's mAP, in percent."""
    return 100 * objects.judged(answers(network, scenes.pixels), scenes.objects).mean


def quality(network: nn.Module, folder: Path, recipe: Recipe) -> tuple[float, list[tuple[str, str]]]:
    """Returns the mAP of the test scenes, in percent, and the rows of a card that are a detector's alone."""
    test = fashion_scenes.scenes(folder, "test", fashion_scenes.SCENES["test"])
    found = objects.score(answers(network, test.pixels), test.objects)
    learned = len(fashion_mnist.labels(folder, "train")) - recipe.validation_images
    return found["mAP"], [
        ("input", f"1x64x64 grey image of two to six pieces of clothing, {fashion_scenes.PREPROCESSING}"),
        (
            "output",
            "at each of 16x16 locations 10 logits and 4 logarithms of distances; the answer: of the locations with a "
            f"score above {REFERENCE.score:g} the {REFERENCE.top} surest; of two boxes of a category that overlap by "
            f"more than {REFERENCE.iou:g} (IoU) the less sure goes; the {REFERENCE.keep} surest are left",
        ),
        ("classes", ", ".join(f"{number} {name}" for number, name in enumerate(fashion_mnist.NAMES))),
        (
            "split",
            f"scenes of {learned:,} training images to learn from, {recipe.scenes_per_epoch:,} new ones an epoch; "
            f"{recipe.validation_scenes:,} scenes of {recipe.validation_images:,} images held out, on which the epoch "
            "was chosen",
        ),
        (
            f"mAP (IoU 0.50 to 0.95) of {len(test.pixels):,} test scenes, read once, after the choice",
            f"**{found['mAP']:.2f} %**; 95 % interval (bootstrap over images) {found['low_95']:.2f} to "
            f"{found['high_95']:.2f} %",
        ),
        ("test scenes of which all is found and nothing else", f"{found['right_images']:,}"),
    ]
