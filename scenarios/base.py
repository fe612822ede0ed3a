"""The contracts of a backend and of its sessions, as the scenarios use them."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reference_models.base import Model, Workload


class Session(Protocol):
    """A loaded model. One thread uses it at a time; two sessions may run side by side."""

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the raw outputs, shape (n, *output_shape), of samples of shape (n, *input_shape)."""
        ...

    def close(self) -> None:
        """Frees what the session holds."""
        ...


class Backend(Protocol):
    """A module that runs models on a device.

    `FORMATS` are the model formats that it loads, the preferred one first. `ELIGIBLE` is False for a backend whose
    numbers can never count (null, simulated). `OPTIONS` names its runtime options and their allowed values, the
    default first.
    """

    FORMATS: tuple[str, ...]
    ELIGIBLE: bool
    OPTIONS: Mapping[str, tuple[str, ...]]

    def version(self) -> str:
        """Returns the runtime's version; raises UsageError with the install command where it is missing."""
        ...

    def devices(self) -> tuple[str, ...]:
        """Returns the devices that can really be used here, the default first; raises UsageError as `version`."""
        ...

    def load(
        self, model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
    ) -> Session:
        """Returns a session with `threads` CPU threads; raises UsageError for a model that it cannot load."""
        ...
