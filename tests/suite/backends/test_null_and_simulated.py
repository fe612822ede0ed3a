"""The two backends without a model do what tests and overhead measurements rely on."""

import time
from pathlib import Path

import numpy as np
import pytest

from reference_models.base import Model
from suite import plugins
from suite.backends import null, simulated

WORKLOAD = plugins.workload("fashion-resnet")
NOWHERE = Model("onnx", Path("there is no such file"), "", ())


def simulated_session(per_batch_us: int, per_sample_us: int) -> simulated.SimulatedSession:
    options = {"per_batch_us": str(per_batch_us), "per_sample_us": str(per_sample_us)}
    return simulated.load(NOWHERE, WORKLOAD, device="cpu", threads=1, options=options)


def samples(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *WORKLOAD.input_shape)).astype(np.float32)


def test_null_answers_zeros() -> None:
    session = null.load(NOWHERE, WORKLOAD, device="cpu", threads=1, options={})
    assert not session.predict(samples(5)).any()
    assert session.predict(samples(5)).shape == (5, *WORKLOAD.output_shape)


@pytest.mark.parametrize(("per_batch_us", "per_sample_us"), [(20_000, 0), (0, 2_000), (5_000, 500)])
def test_a_simulated_batch_never_takes_less_than_its_time(per_batch_us: int, per_sample_us: int) -> None:
    session = simulated_session(per_batch_us, per_sample_us)
    for count in (1, 10):
        started = time.perf_counter()
        session.predict(samples(count))
        assert time.perf_counter() - started >= (per_batch_us + count * per_sample_us) / 1e6


def test_simulated_answers_are_the_samples_own() -> None:
    session = simulated_session(0, 0)
    batch = samples(64)
    answers = session.predict(batch)
    assert np.array_equal(answers[10:20], session.predict(batch[10:20]))
    assert len(np.unique(WORKLOAD.encode(answers))) > 5


def test_simulated_answers_do_not_change_with_their_samples() -> None:
    session = simulated_session(0, 0)
    batch = samples(4)
    answers = session.predict(batch)
    kept = answers.copy()
    batch[:] = 0
    assert np.array_equal(answers, kept)
