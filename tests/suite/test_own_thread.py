import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.own_thread import on_own_thread
from suite.probes import speed
from suite.variant import Serving
from tests.suite.subjects import subject


class Noting:
    """A backend, and its session, that notes which threads come."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def load(self, *arguments: Any, **more: Any) -> "Noting":
        self.threads.append(threading.current_thread())
        return self

    def predict(self, samples: np.ndarray) -> np.ndarray:
        self.threads.append(threading.current_thread())
        return np.zeros((len(samples), 10), np.float32)


@pytest.mark.parametrize(
    "measure",
    [
        lambda subject, session: subject.load(Serving(4, 0, 2, 1, "cpu")),
        lambda subject, session: subject.warm_up([session], [1, 4]),
        lambda subject, session: speed.query_latency(subject, [session], 1, 1, 0.01),
    ],
    ids=["load", "warm-up", "latency of a query"],
)
def test_whoever_computes_before_a_measurement_is_gone_when_it_begins(
    measure: Callable[..., Any], data_root: Path
) -> None:
    session = Noting()
    measure(replace(subject("null", data_root), backend=session), session)  # type: ignore[arg-type]
    assert session.threads and not any(thread.is_alive() for thread in session.threads)


@pytest.mark.parametrize("raised", [RuntimeError("fell over"), SystemExit("no licence")])
def test_what_is_raised_comes_back(raised: BaseException) -> None:
    @on_own_thread
    def fall() -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        fall()
    assert caught.value is raised
