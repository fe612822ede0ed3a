"""Tasks about models: what a backend says of itself, artifacts, variants, and how near they are to the reference."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UsageError
from reference_models.base import Model
from suite import plugins
from suite.channel import Channel
from suite.probes import unseen
from suite.subject import Subject


def describe(job: dict[str, Any], channel: Channel) -> Any:
    """Returns what a backend says of itself."""
    return plugins.describe(job["backend"]).record()


def devices(job: dict[str, Any], channel: Channel) -> Any:
    """Returns a backend's version and the devices that can be used here."""
    backend = plugins.backend(job["backend"])
    return {"version": backend.version(), "devices": list(backend.devices())}


def export(job: dict[str, Any], channel: Channel) -> Any:
    """Makes a workload's artifact in one of the wanted formats, in the cache."""
    from suite import artifacts

    channel.phase("exporting the model", silent=True)
    workload = plugins.workload(job["workload"])
    with _kept_in(Path(job["cache_dir"])) as cache:
        artifacts.prepare(workload, tuple(job["formats"]), Path(job["data_dir"]), cache)
    return None


def make(job: dict[str, Any], channel: Channel) -> Any:
    """Makes the model of a recipe's step, in the cache."""
    from suite import derived, recipes

    step = recipes.Step(**job["step"])
    trainer = recipes.trainer(step)
    expected = trainer.to_train(step.parameters) if trainer else 0
    channel.phase(f"applying {step.name}{' and training' if trainer else ''}", expected, silent=True)
    given = job["model"]
    model = Model(given["format"], Path(given["path"]), given["sha256"], tuple(given["chain"]))
    with _kept_in(Path(job["cache_dir"])) as cache:
        derived.make(step, model, plugins.workload(job["workload"]), Path(job["data_dir"]), cache, channel.beat)
    return None


@contextlib.contextmanager
def _kept_in(cache: Path) -> Iterator[Path]:
    """Yields a cache to keep a model in; raises UsageError where it takes none."""
    try:
        yield cache
    except OSError as error:
        raise UsageError(
            f"The model cannot be kept in the cache {cache} ({error.strerror or error}). Give another with --cache-dir."
        ) from error


def compare(job: dict[str, Any], channel: Channel) -> Any:
    """Returns how far an ONNX artifact is from the reference in torch; raises TandemError where that is too far."""
    from suite import export

    channel.phase("comparing the artifact with the reference", silent=True)
    subject = Subject.open(job["subject"])
    network = export.load_network(subject.workload, subject.workload.weights)
    found = export.compare(network, subject.model.path, export.resident(subject.dataset), subject.workload)
    return {
        "samples": found["compared_samples"],
        "max_abs_difference": found["max_abs_difference"],
        "changed_answers": found["changed_answers"],
        "tolerance": export.TOLERANCE,
    }


def reference(job: dict[str, Any], channel: Channel) -> Any:
    """Returns the reference's answers to the unseen inputs of a seed, in a process in which no backend ever was."""
    from suite import export

    channel.phase("answering unseen inputs with the reference", silent=True)
    workload = plugins.workload(job["workload"])
    dataset = workload.open_dataset(Path(job["data_dir"]))
    dataset.load(np.arange(dataset.total))
    return {"seed": job["seed"], "answers": export.reference_answers(workload, unseen.drawn(dataset, job["seed"]))}
