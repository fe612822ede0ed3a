"""Trains a reference model: `python -m tools.train fashion-resnet`.

The training images are split once, by the seed, into a part to learn from and a part held out, on which the epoch
is chosen. The test images are read once, after that choice. Writes weights.safetensors, training.log,
reference.json and CARD.md into the workload's folder (or --out).
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch
from absl import flags
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from common.errors import UsageError
from common.files import sha256_file, write_atomically, write_json
from common.flags import new_flags, run
from common.names import normal, unknown
from common.statistics import wilson_interval
from reference_models.datasets import fashion_mnist
from suite import plugins
from suite.places import cache_dir, data_dir

FLAGS = new_flags()
DATA = flags.DEFINE_string(
    "data_dir", "", "folder of Fashion-MNIST's files (default: $TANDEM_DATA, else the cache)", flag_values=FLAGS
)
OUT = flags.DEFINE_string("out", "", "folder to write (default: the workload's own)", flag_values=FLAGS)

TRAINING_IMAGES = 60_000
ROOM = Path(__file__).parents[1] / "reference_models"


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


def batches(images: Images, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields one epoch of shuffled, augmented batches."""
    order = torch.randperm(len(images.labels))
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        rows = order[start : start + recipe.batch_size]
        yield augmented(images.inputs[rows], recipe), images.labels[rows]


@torch.no_grad()
def correct(network: nn.Module, images: Images) -> int:
    """Returns how many images the network labels rightly, in float32."""
    network.eval()
    return sum(
        int((network(x).argmax(1) == y).sum())
        for x, y in zip(images.inputs.split(500), images.labels.split(500), strict=True)
    )


class Trainer:
    """SGD with Nesterov momentum, one cycle of the learning rate, and a moving average of the weights."""

    def __init__(self, network: nn.Module, recipe: Recipe, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True
        )
        # Biases and normalisation are not decayed.
        decayed = [p for p in network.parameters() if p.ndim > 1]
        free = [p for p in network.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}],
            lr=recipe.peak_learning_rate,
            momentum=0.9,
            nesterov=True,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer,
            max_lr=recipe.peak_learning_rate,
            total_steps=recipe.epochs * steps_per_epoch,
            pct_start=0.2,
            cycle_momentum=False,
        )

    def epoch(self, images: Images) -> float:
        """Trains for one epoch and returns the mean loss."""
        self.network.train()
        losses = []
        for inputs, labels in batches(images, self.recipe):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.autocast_bfloat16):
                logits = self.network(inputs.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
            losses.append(loss.item())
        return sum(losses) / len(losses)

    def weights(self) -> dict[str, Tensor]:
        """Returns a copy of the averaged weights under the network's own names."""
        return {name: value.clone().contiguous() for name, value in self.average.module.state_dict().items()}


def train(name: str, recipe: Recipe, learn: Images, held_out: Images, log: TextIO) -> dict[str, Tensor]:
    """Returns the averaged weights of the epoch that did best on the held-out images."""
    torch.manual_seed(recipe.seed)
    trainer = Trainer(build(name), recipe, len(learn.labels) // recipe.batch_size)
    best, chosen, weights = -1, 0, trainer.weights()
    for epoch in range(1, recipe.epochs + 1):
        started = time.monotonic()
        loss = trainer.epoch(learn)
        right = correct(trainer.average.module, held_out)
        if right > best:
            best, chosen, weights = right, epoch, trainer.weights()
        say(
            log,
            f"epoch {epoch} loss {loss:.4f} held-out {right}/{len(held_out.labels)} {time.monotonic() - started:.0f} s",
        )
    say(log, f"chosen on the held-out images: epoch {chosen}, {best}/{len(held_out.labels)}")
    return weights


def build(name: str) -> nn.Module:
    """Returns the untrained network of a workload."""
    return plugins.workload(name).build().train()


def flops(network: nn.Module) -> int:
    """Returns the floating-point operations of one image, a multiply-add counted as two."""
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *fashion_mnist.SHAPE))
    return int(counter.get_total_flops())


def say(log: TextIO, line: str) -> None:
    """Writes a line to the log and to the terminal."""
    print(line, file=log, flush=True)
    print(line, flush=True)


CARD = """# {name}

{doc}

| | |
|---|---|
| input | 1x28x28 grey image, {preprocessing} |
| output | 10 logits; the answer is the greatest |
| parameters | {parameters:,} |
| FLOPs of one image | {flops:,} (a multiply-add counts as two) |
| data | Fashion-MNIST ({licence}) |
| split | {learned:,} training images to learn from, {validation_images:,} held out, on which the epoch was chosen |
| recipe | `recipe.json` beside this file; SGD with Nesterov momentum 0.9, one-cycle learning rate |
| augmentation | random flip, shift and erasing; label smoothing; moving average of the weights |
| seed | {seed} |
| top-1 on the test images, read once, after the choice | **{percent:.2f} %**, {right}/{total} |
| 95 % interval (Wilson) | {low:.2f} to {high:.2f} % |
| weights | `weights.safetensors`, SHA-256 `{sha256}` |
| trained with | torch {torch}, {threads} CPU threads; log in `training.log` |
| licence | Apache-2.0 |

To make it again: `python -m tools.fetch_data fashion-mnist --split all`, then `python -m tools.train {name} --out DIR`.
The seed fixes split, order and augmentation; another processor or torch version rounds differently, so expect the
top-1 within a few tenths of a percent and not the same bytes.
"""


def write_results(name: str, out: Path, recipe: Recipe, weights: dict[str, Tensor], test: Images) -> str:
    """Writes weights, reference.json and CARD.md, and returns the line for the log."""
    network = build(name)
    network.load_state_dict(weights)
    right, total = correct(network, test), len(test.labels)
    save_file(weights, out / "weights.safetensors")
    sha256 = sha256_file(out / "weights.safetensors")
    write_json(
        out / "reference.json",
        {"metric": "top1", "quality_percent": 100 * right / total, "schema": 1, "weights_sha256": sha256},
    )
    write_atomically(out / "CARD.md", card(name, recipe, right, total, sha256).encode())
    return f"test images, read once: {right}/{total} top-1 {100 * right / total:.2f} %; weights {sha256}"


def card(name: str, recipe: Recipe, right: int, total: int, sha256: str) -> str:
    """Returns the model card of a reference that labels `right` of `total` test images rightly."""
    network = build(name)
    low, high = wilson_interval(right, total)
    return CARD.format(
        name=name,
        doc=(sys.modules[type(network).__module__].__doc__ or "").strip(),
        preprocessing=fashion_mnist.PREPROCESSING,
        parameters=sum(p.numel() for p in network.parameters()),
        flops=flops(network.eval()),
        licence=fashion_mnist.LICENCE,
        learned=TRAINING_IMAGES - recipe.validation_images,
        right=right,
        total=total,
        percent=100 * right / total,
        low=100 * low,
        high=100 * high,
        sha256=sha256,
        torch=torch.__version__,
        **{key: getattr(recipe, key) for key in ("validation_images", "seed", "threads")},
    )


def train_workload(name: str, data: Path, out: Path) -> None:
    """Trains one reference model and writes everything that belongs to it."""
    recipe = Recipe(**json.loads((ROOM / name.replace("-", "_") / "recipe.json").read_text(encoding="utf-8")))
    torch.set_num_threads(recipe.threads)
    training = read_images(data, "train")
    order = torch.randperm(len(training.labels), generator=torch.Generator().manual_seed(recipe.seed))
    held_out, learn = training.part(order[: recipe.validation_images]), training.part(order[recipe.validation_images :])
    out.mkdir(parents=True, exist_ok=True)
    with (out / "training.log").open("w") as log:
        say(log, f"{name} torch {torch.__version__} {recipe}")
        say(log, f"learning from {len(learn.labels)} training images, {len(held_out.labels)} held out")
        weights = train(name, recipe, learn, held_out, log)
        say(log, write_results(name, out, recipe, weights, read_images(data, "test")))


def main(arguments: list[str]) -> int:
    """Trains the reference model that is named."""
    known = plugins.names("reference_models")
    if len(arguments) != 1:
        raise UsageError(f"Name one workload: python -m tools.train {'|'.join(known)}")
    name = normal(arguments[0])
    if name not in known:
        raise unknown("workload", arguments[0], known)
    data = data_dir(DATA.value, os.environ, cache_dir("", os.environ), fashion_mnist.NAME)
    train_workload(name, data, Path(OUT.value or ROOM / name.replace("-", "_")))
    return 0


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="WORKLOAD"))
