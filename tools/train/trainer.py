"""What training has in common: SGD, one cycle of the learning rate, the epoch that does best on what is held out."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Recipe(Protocol):
    """How any model is trained; tasks have recipes with more."""

    autocast_bfloat16: bool
    ema_decay: float
    epochs: int
    peak_learning_rate: float
    seed: int
    threads: int
    weight_decay: float


class Task(Protocol):
    """What is learnt: `steps_per_epoch` batches of inputs and targets, a loss, and how well it is done."""

    steps_per_epoch: int

    def batches(self, epoch: int) -> Iterator[tuple[Tensor, Any]]:
        """Yields the batches of an epoch, which are numbered from 1."""
        ...

    def loss(self, outputs: Tensor, targets: Any) -> Tensor:
        """Returns the loss of a batch's outputs, in float32."""
        ...

    def held_out(self, network: nn.Module) -> tuple[float, str]:
        """Returns how well a network does on what is held out, the more the better, and the same in words."""
        ...


class Trainer:
    """SGD with Nesterov momentum, one cycle of the learning rate, and a moving average of the weights."""

    def __init__(self, network: nn.Module, recipe: Recipe, steps_per_epoch: int) -> None:
        self.recipe = recipe
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        average = torch.optim.swa_utils.get_ema_multi_avg_fn(recipe.ema_decay)
        self.average = torch.optim.swa_utils.AveragedModel(self.network, multi_avg_fn=average, use_buffers=True)
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

    def epoch(self, task: Task, number: int) -> float:
        """Trains for one epoch and returns the mean loss."""
        self.network.train()
        losses = []
        for inputs, targets in task.batches(number):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.autocast_bfloat16):
                outputs = self.network(inputs.contiguous(memory_format=torch.channels_last))
            loss = task.loss(outputs.float(), targets)
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


def train(network: nn.Module, recipe: Recipe, task: Task, say: Callable[[str], None]) -> dict[str, Tensor]:
    """Returns the averaged weights of the epoch that did best on what is held out.

    The seed was set by the caller; `say` is told of each epoch.
    """
    trainer = Trainer(network, recipe, task.steps_per_epoch)
    best, chosen, weights = float("-inf"), "", trainer.weights()
    for epoch in range(1, recipe.epochs + 1):
        started = time.monotonic()
        loss = trainer.epoch(task, epoch)
        quality, said = task.held_out(trainer.average.module)
        if quality > best:
            best, chosen, weights = quality, f"epoch {epoch}, {said}", trainer.weights()
        say(f"epoch {epoch} loss {loss:.4f} held-out {said} {time.monotonic() - started:.0f} s")
    say(f"chosen on the held-out images: {chosen}")
    return weights
