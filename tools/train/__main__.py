"""Trains a reference model: `python -m tools.train fashion-resnet`.

The training images are split once, by the seed, into a part to learn from and a part held out, on which the epoch
is chosen. The test images are read once, after that choice. Writes weights.safetensors, training.log,
reference.json and CARD.md into the workload's folder (or --out).
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import torch
from absl import flags
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from common.errors import UsageError
from common.files import sha256_file, write_atomically, write_json
from common.flags import new_flags, run
from common.names import normal, unknown
from suite import plugins
from suite.places import cache_dir, data_dir
from tools.train import classifier, detector, trainer

FLAGS = new_flags()
DATA = flags.DEFINE_string(
    "data_dir", "", "folder of the dataset's files (default: $TANDEM_DATA, else the cache)", flag_values=FLAGS
)
OUT = flags.DEFINE_string("out", "", "folder to write (default: the workload's own)", flag_values=FLAGS)

ROOM = Path(__file__).parents[2] / "reference_models"

CARD = """# {name}

{doc}

| | |
|---|---|
{rows}

To make it again: `python -m tools.fetch_data {dataset} --split all`, then `python -m tools.train {name} --out DIR`.
The seed fixes split, order and augmentation; another processor or torch version rounds differently, so expect the
{metric} within a few tenths of a percent and not the same bytes.
"""


def card(name: str, kind: Any, recipe: Any, own: list[tuple[str, str]], sha256: str) -> str:
    """Returns the model card of a reference; `own` are the rows that its kind has."""
    network = plugins.workload(name).build()
    rows = [
        *own[:2],
        ("parameters", f"{sum(p.numel() for p in network.parameters()):,}"),
        (
            "FLOPs of one image",
            f"{flops(network, plugins.workload(name).input_shape):,} (a multiply-add counts as two)",
        ),
        ("data", f"{kind.DATASET.NAME} ({kind.DATASET.LICENCE})"),
        ("recipe", "`recipe.json` beside this file; SGD with Nesterov momentum 0.9, one-cycle learning rate"),
        ("seed", str(recipe.seed)),
        *own[2:],
        ("weights", f"`weights.safetensors`, SHA-256 `{sha256}`"),
        ("trained with", f"torch {torch.__version__}, {recipe.threads} CPU threads; log in `training.log`"),
        ("licence", "Apache-2.0"),
    ]
    return CARD.format(
        name=name,
        doc=(sys.modules[type(network).__module__].__doc__ or "").strip(),
        rows="\n".join(f"| {what} | {said} |" for what, said in rows),
        dataset=kind.DATASET.NAME,
        metric=kind.METRIC,
    )


def flops(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Returns the floating-point operations of one image, a multiply-add counted as two."""
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape))
    return int(counter.get_total_flops())


def write_results(name: str, kind: Any, recipe: Any, data: Path, out: Path, weights: dict[str, Tensor]) -> str:
    """Writes weights, reference.json and CARD.md, and returns the line for the log."""
    network = plugins.workload(name).build()
    network.load_state_dict(weights)
    quality, rows = kind.quality(network, data, recipe)
    save_file(weights, out / "weights.safetensors")
    sha256 = sha256_file(out / "weights.safetensors")
    write_json(
        out / "reference.json",
        {"metric": kind.METRIC, "quality_percent": quality, "schema": 1, "weights_sha256": sha256},
    )
    write_atomically(out / "CARD.md", card(name, kind, recipe, rows, sha256).encode())
    return f"test images, read once: {kind.METRIC} {quality:.2f} %; weights {sha256}"


def train_workload(name: str, data: Path, out: Path) -> None:
    """Trains one reference model and writes everything that belongs to it."""
    workload = plugins.workload(name)
    kinds: dict[str, Any] = {one.DATASET.NAME: one for one in (classifier, detector)}
    if workload.dataset_name not in kinds:
        raise UsageError(f"Nothing here trains for {workload.dataset_name}, only for {' and '.join(kinds)}.")
    kind = kinds[workload.dataset_name]
    path = ROOM / name.replace("-", "_") / "recipe.json"
    recipe = kind.Recipe(**json.loads(path.read_text(encoding="utf-8")))
    torch.set_num_threads(recipe.threads)
    task = kind.Task(data, recipe)
    out.mkdir(parents=True, exist_ok=True)
    with (out / "training.log").open("w") as log:
        say = partial(tell, log)
        say(f"{name} torch {torch.__version__} {recipe}")
        say(task.said)
        torch.manual_seed(recipe.seed)
        weights = trainer.train(workload.build().train(), recipe, task, say)
        say(write_results(name, kind, recipe, data, out, weights))


def tell(log: TextIO, line: str) -> None:
    """Writes a line to the log and to the terminal."""
    print(line, file=log, flush=True)
    print(line, flush=True)


def main(arguments: list[str]) -> int:
    """Trains the reference model that is named."""
    known = plugins.names("reference_models")
    if len(arguments) != 1:
        raise UsageError(f"Name one workload: python -m tools.train {'|'.join(known)}")
    name = normal(arguments[0])
    if name not in known:
        raise unknown("workload", arguments[0], known)
    dataset = plugins.workload(name).dataset_name
    data = data_dir(DATA.value, os.environ, cache_dir("", os.environ), dataset)
    train_workload(name, data, Path(OUT.value or ROOM / name.replace("-", "_")))
    return 0


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="WORKLOAD"))
