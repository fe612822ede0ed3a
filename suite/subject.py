"""What a child process measures: a workload's model on a backend, with its data, as the job describes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from common.files import sha256_file
from common.names import unknown
from reference_models.base import Dataset, Model, Workload
from reference_models.forms import REFERENCE, Form
from scenarios.base import Backend, Session
from suite import plugins, recipes
from suite.own_thread import on_own_thread
from suite.placement import pinned, shares
from suite.variant import Serving

Beat = Callable[[int], None]


@dataclass(frozen=True)
class Subject:
    """Everything that is needed to load sessions and to feed them: the samples are in the form that the model takes.

    The workload encodes as the variant does.

    `beat` is told how many samples were answered, whenever some were: a sign of life, for whoever waits.
    """

    workload: Workload
    dataset: Dataset
    backend: Backend
    model: Model
    options: dict[str, str]
    beat: Beat

    @staticmethod
    def open(description: dict[str, Any], beat: Beat = lambda samples: None) -> "Subject":
        """Returns the subject that `describe` wrote down; raises UsageError where data or backend are missing."""
        workload = plugins.workload(description["workload"])
        model = description["model"]
        if sha256_file(Path(model["path"])) != model["sha256"]:
            raise UsageError(f"The model {model['path']} was changed while it was being used; start again.")
        chain = tuple(model["chain"])
        return Subject(
            workload=replace(workload, encode=recipes.encode(workload, chain)),
            dataset=workload.open_dataset(Path(description["data_dir"])).taken(recipes.form(chain)),
            backend=plugins.backend(description["backend"]),
            model=Model(model["format"], Path(model["path"]), model["sha256"], chain),
            options=description["options"],
            beat=beat,
        )

    def device(self, requested: str) -> str:
        """Returns the device to use; raises UsageError where the one asked for cannot be used here."""
        usable = self.backend.devices()
        if requested == "auto":
            return usable[0]
        if requested not in usable:
            raise unknown("device here,", requested, usable)
        return requested

    def load(self, serving: Serving) -> list[Session]:
        """Returns the sessions that a serving names, each warmed up with every kind of batch it will see."""
        return [self._load(serving, cores) for cores in shares(serving.pin, serving.sessions)]

    @on_own_thread
    def _load(self, serving: Serving, cores: tuple[int, ...]) -> Session:
        with pinned(cores):
            session = self.backend.load(
                self.model, self.workload, device=serving.device, threads=serving.threads, options=self.options
            )
            self._answer_zeros(session, warm_up_sizes(serving.batch))
            return session

    def warm_up(self, sessions: list[Session], sizes: list[int], pin: Sequence[int] = ()) -> None:
        """Has every session answer a batch of each size: runtimes allocate, and some compile, by shape."""
        for session, cores in zip(sessions, shares(pin, len(sessions)), strict=True):
            self._warm_up(session, sizes, cores)

    @on_own_thread
    def _warm_up(self, session: Session, sizes: list[int], cores: tuple[int, ...]) -> None:
        with pinned(cores):
            self._answer_zeros(session, sizes)

    def _answer_zeros(self, session: Session, sizes: list[int]) -> None:
        for size in sizes:
            session.predict(self.zeros(size))
            self.beat(size)

    def zeros(self, count: int) -> NDArray[Any]:
        """Returns `count` samples of nothing but zeros."""
        return np.zeros((count, *self.form.shape(self.workload.input_shape)), self.form.dtype)

    @property
    def form(self) -> Form:
        """The form in which the model takes images."""
        return recipes.form(self.model.chain)

    def whole(self) -> Dataset:
        """Returns the samples as the reference takes them: those of this subject, or else others, all resident."""
        if self.form.plain:
            return self.dataset
        found = self.dataset.taken(REFERENCE)
        found.load(np.arange(found.total))
        return found

    def taken(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns samples as the reference takes them, shape (n, *input_shape), in the form that the model takes."""
        return self.form.of_samples(samples, self.workload.normalization)


def describe(workload: str, backend: str, model: Model, options: dict[str, str], data_dir: Path) -> dict[str, Any]:
    """Returns what `Subject.open` needs, as JSON."""
    return {
        "workload": workload,
        "backend": backend,
        "model": {
            "format": model.format,
            "path": str(model.path),
            "sha256": model.sha256,
            "chain": list(model.chain),
        },
        "options": options,
        "data_dir": str(data_dir),
    }


def warm_up_sizes(batch: int) -> list[int]:
    """Returns 1, 2, 4, ... and the maximum batch."""
    return [*(size for size in (2**power for power in range(11)) if size < batch), batch]
