"""How the classifiers of Fashion-MNIST are trained, and what their cards say."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.statistics import wilson_interval
from reference_models.datasets import fashion_mnist

DATASET = fashion_mnist
METRIC = "top1"


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: recipe.json in its folder."""

    autocast_bfloat16: bool
    batch_size: int
    ema_decay: float
    epochs: int
    label_smoothing: float
    peak_learning_rate: float
    random_erase_pixels: int
    random_shift_pixels: int
    seed: int
    threads: int
    validation_images: int
    weight_decay: float


@dataclass(frozen=True)
class Images:
    """Preprocessed images (n, 1, 28, 28) and their labels (n,)."""

    inputs: Tensor
    labels: Tensor

    def part(self, rows: Tensor) -> "Images":
        """Returns the images at `rows`."""
        return Images(self.inputs[rows], self.labels[rows])


def read_images(folder: Path, split: str) -> Images:
    """Returns a split of Fashion-MNIST, preprocessed as the suite does."""
    return Images(
        torch.from_numpy(fashion_mnist.preprocess(fashion_mnist.images(folder, split))),
        torch.from_numpy(fashion_mnist.labels(folder, split)),
    )


def augmented(inputs: Tensor, recipe: Recipe) -> Tensor:
    """Returns a batch flipped, shifted and partly erased at random, each image on its own."""
    count, _, height, width = inputs.shape
    shift, erase = recipe.random_shift_pixels, recipe.random_erase_pixels
    padded = nn.functional.pad(inputs, (shift,) * 4, value=float(inputs.min()))
    rows = torch.arange(height) + torch.randint(0, 2 * shift + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(0, 2 * shift + 1, (count, 1))
    flip = torch.rand(count, 1) < 0.5
    columns = torch.where(flip, columns.flip(1), columns)
    moved = padded[torch.arange(count)[:, None, None], 0, rows[:, :, None], columns[:, None, :]]
    top, left = torch.randint(-erase // 2, height, (2, count, 1))
    inside_rows = (torch.arange(height) >= top) & (torch.arange(height) < top + erase)
    inside_columns = (torch.arange(width) >= left) & (torch.arange(width) < left + erase)
    erased = moved.masked_fill(inside_rows[:, :, None] & inside_columns[:, None, :], 0.0)
    return erased[:, None]


class Task:
    """Learning to label images: those to learn from, and those that are held out."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.recipe = recipe
        training = read_images(folder, "train")
        order = torch.randperm(len(training.labels), generator=torch.Generator().manual_seed(recipe.seed))
        self._held_out = training.part(order[: recipe.validation_images])
        self._learn = training.part(order[recipe.validation_images :])
        self.steps_per_epoch = len(self._learn.labels) // recipe.batch_size
        self.said = f"learning from {len(self._learn.labels)} training images, {recipe.validation_images} held out"

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields one epoch of shuffled, augmented batches."""
        order = torch.randperm(len(self._learn.labels))
        for start in range(0, len(order) - self.recipe.batch_size + 1, self.recipe.batch_size):
            rows = order[start : start + self.recipe.batch_size]
            yield augmented(self._learn.inputs[rows], self.recipe), self._learn.labels[rows]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross entropy of logits with smoothed labels."""
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=self.recipe.label_smoothing)

    def held_out(self, network: nn.Module) -> tuple[float, str]:
        """Returns how many of the held-out images are labelled rightly."""
        right = correct(network, self._held_out)
        return right, f"{right}/{len(self._held_out.labels)}"


@torch.no_grad()
def correct(network: nn.Module, images: Images) -> int:
    """Returns how many images the network labels rightly, in float32."""
    network.eval()
    parts = zip(torch.split(images.inputs, 500), torch.split(images.labels, 500), strict=True)
    return sum(int((network(x).argmax(1) == y).sum()) for x, y in parts)


def quality(network: nn.Module, folder: Path, recipe: Recipe) -> tuple[float, list[tuple[str, str]]]:
    """Returns the top-1 of the test images, in percent, and the rows of a card that are a classifier's alone."""
    test = read_images(folder, "test")
    right, total = correct(network, test), len(test.labels)
    low, high = wilson_interval(right, total)
    learned = len(fashion_mnist.labels(folder, "train")) - recipe.validation_images
    return 100 * right / total, [
        ("input", f"1x28x28 grey image, {fashion_mnist.PREPROCESSING}"),
        ("output", "10 logits; the answer is the greatest"),
        (
            "split",
            f"{learned:,} training images to learn from, {recipe.validation_images:,} held out, on which the epoch was "
            "chosen",
        ),
        ("augmentation", "random flip, shift and erasing; label smoothing; moving average of the weights"),
        (
            "top-1 on the test images, read once, after the choice",
            f"**{100 * right / total:.2f} %**, {right}/{total}; 95 % interval (Wilson) {100 * low:.2f} to "
            f"{100 * high:.2f} %",
        ),
    ]
