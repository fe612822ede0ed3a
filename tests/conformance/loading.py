"""Models and sessions for tests, as a run gets them; artifacts are kept in the user's cache."""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Model, Workload
from scenarios.base import Backend, Session
from suite import artifacts, derived, plugins, recipes
from suite.places import cache_dir, data_dir
from suite.recipes import Step
from suite.variant import Requested, Variant

WORKLOADS = plugins.names("reference_models")
CACHE = cache_dir("", os.environ)


def data_folder(workload: Workload) -> Path:
    """Returns the folder of a workload's dataset."""
    return data_dir("", {}, CACHE, workload.dataset_name)


def installed(name: str) -> bool:
    """Returns whether a backend can be used here."""
    try:
        return bool(plugins.backend(name).version())
    except UsageError:
        return False


INSTALLED = tuple(name for name in plugins.names("suite.backends") if installed(name))
REAL = tuple(name for name in INSTALLED if plugins.backend(name).ELIGIBLE)


def model(workload: Workload, backend: Backend) -> Model:
    """Returns the reference in a backend's format."""
    return artifacts.prepare(workload, backend.FORMATS, data_folder(workload), CACHE)


def made(step: Step, source: Model, workload: Workload) -> Model:
    """Returns what a recipe's step makes of a model, made here where it is not in the cache."""
    found = derived.cached(step, source, workload, CACHE)
    if found is None:
        derived.make(step, source, workload, data_folder(workload), CACHE)
        found = derived.cached(step, source, workload, CACHE)
    assert found
    return found


def variant(backend: str, workload: Workload, recipe: str = "", **options: str) -> Variant:
    """Returns a variant of the reference on a backend."""
    return recipes.fold(
        recipe,
        workload=workload.name,
        backend=plugins.describe(backend),
        model=model(workload, plugins.backend(backend)),
        requested=Requested(),
        made=lambda step, source: made(step, source, workload),
        options=options,
    )


@contextlib.contextmanager
def session(
    backend: str, workload: Workload, recipe: str = "", *, device: str = "cpu", threads: int = 1, **options: str
) -> Iterator[Session]:
    """Yields a session and closes it."""
    chosen = variant(backend, workload, recipe, **options)
    opened = plugins.backend(backend).load(
        chosen.model, workload, device=device, threads=threads, options=chosen.options
    )
    try:
        yield opened
    finally:
        opened.close()


@functools.cache
def images(workload_name: str, count: int) -> NDArray[np.float32]:
    """Returns the first samples of a workload's dataset."""
    workload = plugins.workload(workload_name)
    dataset = workload.open_dataset(data_folder(workload))
    dataset.load(range(count))
    return dataset.batch(range(count))
