"""What the optimizations that prune have in common: training what is left by the answers of the model before it.

A model that was pruned in one go is trained to give, to training samples, the answers of the model that it was made of:
distillation, which needs no labels (Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015). So
outputs have to be logits of classes, as a detector's are not. Weights that are zero stay zero.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from suite.optimizations._network import Network
from suite.parameters import KEEP
from suite.resources import usable_cores

if TYPE_CHECKING:
    from torch import Tensor

# How often each sample is seen, and of how many; the first value of each is what is taken where none is given.
PARAMETERS = {"tune": ("0", "1", "2", "3", "5", "10", "20"), "samples": ("10000", "50000")}
PACKAGES = ("onnx", "numpy", "torch")

SEED = 20150309
BATCH = 32
# Adam's highest learning rate (Kingma and Ba, "Adam", ICLR 2015). It rises to that in the first fifth of the steps, as
# what was pruned is not where it was trained to be, and falls to nothing in the others (Smith and Topin,
# "Super-Convergence", 2018).
LEARNING_RATE, RISING = 3e-3, 0.2
# Of the classes' probabilities that are compared (Hinton et al., section 2), so that the lesser ones count too.
TEMPERATURE = 2.0
# Without gradients more samples fit at a time.
ANSWERED_BATCH = 500


def check(name: str, parameters: Mapping[str, str]) -> None:
    """Raises UsageError where samples are given and nothing is trained on them, or what is kept would be trained."""
    if "samples" in parameters and not _epochs(parameters):
        raise UsageError(f"samples of {name} says nothing without tune. Leave it out, or give tune=1.")
    if KEEP in parameters and _epochs(parameters):
        raise UsageError(f"keep of {name} leaves layers as they were, and tune trains them all. Leave out one of both.")


def samples_wanted(parameters: Mapping[str, str]) -> int:
    """Returns how many training samples are looked at: none without tune, as weights are judged by themselves."""
    return int(parameters.get("samples", PARAMETERS["samples"][0])) if _epochs(parameters) else 0


def to_train(parameters: Mapping[str, str]) -> int:
    """Returns how many samples training goes through, 0 where none was asked for."""
    return _epochs(parameters) * samples_wanted(parameters)


def open_because(parameters: Mapping[str, str]) -> list[str]:
    """Returns what of it MLPerf's closed division forbids.

    Source: MLPerf Inference Rules, "Model": no retraining, no discarding of weights that are not zero, "including
    pruning".
    """
    return ["it is pruned", *(["it is trained again"] if _epochs(parameters) else [])]


def train(
    source: Path,
    target: Path,
    parameters: Mapping[str, str],
    samples: NDArray[np.float32],
    beat: Callable[[int], None],
) -> dict[str, Any]:
    """Trains the model at `target` by the outputs of that at `source`, and returns how, and how near its answers came.

    `samples` are (n, *input_shape); `beat` is told of so many more that training went through. Where answers come
    no nearer, the model stays as it was. Raises UsageError where it cannot be trained here.
    """
    import onnx
    import torch
    from onnx import numpy_helper

    torch.set_num_threads(usable_cores())
    model, inputs = onnx.load(target), torch.from_numpy(samples)
    pupil = Network(model)
    wanted = _answers(Network(onnx.load(source)), inputs)
    before = _divergence(_answers(pupil, inputs), wanted).item()
    weights = pupil.trained()
    _fit(pupil, list(weights.values()), inputs, wanted, _epochs(parameters), beat)
    after = _divergence(_answers(pupil, inputs), wanted).item()
    nearer = isfinite(after) and after < before
    for tensor in model.graph.initializer:
        if nearer and tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name].detach().numpy(), tensor.name))
    onnx.save(model, target)
    found: dict[str, Any] = {
        "epochs": _epochs(parameters),
        "batch": BATCH,
        "learning_rate": LEARNING_RATE,
        "seed": SEED,
    }
    found |= {"divergence_before": before, "divergence_after": after if isfinite(after) else None}
    return {"retrained": nearer, "training": found}


def _fit(
    pupil: Network,
    weights: "list[Tensor]",
    inputs: "Tensor",
    wanted: "Tensor",
    epochs: int,
    beat: Callable[[int], None],
) -> None:
    """Changes a network's weights so that it gives the answers that are wanted."""
    import torch

    chance = torch.Generator().manual_seed(SEED)
    masks = [weight != 0 if weight.ndim > 1 else torch.ones_like(weight) for weight in weights]
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    batches = -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, epochs * batches, pct_start=RISING, cycle_momentum=False
    )
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(inputs), generator=chance), BATCH):
            loss = _divergence(pupil(inputs[rows]), wanted[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for weight, mask in zip(weights, masks, strict=True):
                    weight.mul_(mask)
            beat(len(rows))


def _answers(network: Network, inputs: "Tensor") -> "Tensor":
    import torch

    with torch.no_grad():
        return torch.cat([network(batch) for batch in torch.split(inputs, ANSWERED_BATCH)])


def _divergence(outputs: "Tensor", wanted: "Tensor") -> "Tensor":
    """Returns how far answers are from those wanted, in nats a sample: by Kullback and Leibler, at the temperature.

    Times the temperature's square, so that gradients do not depend on it (Hinton et al., section 2).
    """
    from torch.nn import functional

    found, sought = (functional.log_softmax(logits / TEMPERATURE, dim=1) for logits in (outputs, wanted))
    return functional.kl_div(found, sought, reduction="batchmean", log_target=True) * TEMPERATURE**2


def _epochs(parameters: Mapping[str, str]) -> int:
    return int(parameters.get("tune", PARAMETERS["tune"][0]))
