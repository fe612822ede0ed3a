"""The zoo's members misbehave exactly as they say, and not before."""

import threading
import time

import numpy as np
import pytest

from suite import plugins
from tests.conformance.loading import images, session

WORKLOAD = plugins.workload("fashion-resnet")
SAMPLES = images(WORKLOAD.name, 64)


@pytest.fixture(scope="module")
def right() -> np.ndarray:
    with session("onnxruntime", WORKLOAD) as opened:
        return opened.predict(SAMPLES)


def test_memoising_is_right_and_runs_nothing_twice(right: np.ndarray) -> None:
    with session("tests.zoo.memoising", WORKLOAD) as first, session("tests.zoo.memoising", WORKLOAD) as second:
        assert np.allclose(first.predict(SAMPLES), right, atol=1e-5)
        second._inner.close()  # type: ignore[attr-defined]
        assert np.allclose(second.predict(SAMPLES[::-1]), right[::-1], atol=1e-5)
        with pytest.raises(RuntimeError):
            second.predict(SAMPLES[:1] + 1)


def test_another_models_labels_come_after_the_given_number(right: np.ndarray) -> None:
    with session("tests.zoo.another_models_labels", WORKLOAD, after="128", when="always") as opened:
        outputs = [opened.predict(SAMPLES) for _ in range(3)]
    assert np.array_equal(outputs[0], right)
    assert np.array_equal(outputs[1], right)
    assert (WORKLOAD.encode(outputs[2]) != WORKLOAD.encode(right)).all()


def test_a_tenth_of_the_work_is_dropped_after_the_given_number(right: np.ndarray) -> None:
    with session("tests.zoo.drops_work", WORKLOAD, after="64", when="always") as opened:
        outputs = [opened.predict(SAMPLES) for _ in range(21)]
    wrong = [number for number, output in enumerate(outputs) if not np.array_equal(output, right)]
    assert wrong == [10, 20]
    assert not outputs[10].any()


def test_dynamic_int8_depends_on_the_batch_a_little(right: np.ndarray) -> None:
    samples = images(WORKLOAD.name, 1000)
    with session("tests.zoo.dynamic_int8", WORKLOAD) as opened:
        whole = opened.predict(samples)
        alone = np.concatenate([opened.predict(samples[row : row + 1]) for row in range(len(samples))])
    assert np.abs(whole - alone).max() > 1e-4
    assert np.mean(WORKLOAD.encode(whole) != WORKLOAD.encode(alone)) < 0.02
    assert np.mean(WORKLOAD.encode(whole[:64]) == WORKLOAD.encode(right)) > 0.9


def test_raises_on_its_batch_alone(right: np.ndarray) -> None:
    with session("tests.zoo.raises_on_nth_batch", WORKLOAD, n="1", when="always") as opened:
        assert np.array_equal(opened.predict(SAMPLES), right)
        with pytest.raises(RuntimeError, match="the model fell over"):
            opened.predict(SAMPLES)
        assert np.array_equal(opened.predict(SAMPLES), right)


def test_answers_one_row_less_in_its_batch_alone() -> None:
    with session("tests.zoo.wrong_rows", WORKLOAD, n="1", when="always") as opened:
        assert [len(opened.predict(SAMPLES)) for _ in range(3)] == [64, 63, 64]


def test_gives_nan_in_its_batch_alone() -> None:
    with session("tests.zoo.not_finite", WORKLOAD, n="1", when="always") as opened:
        finite = [np.isfinite(opened.predict(SAMPLES)).all(axis=1).sum() for _ in range(3)]
    assert finite == [64, 63, 64]


def test_hangs_in_its_batch() -> None:
    with session("tests.zoo.hangs", WORKLOAD, n="0", when="always") as opened:
        worker = threading.Thread(target=opened.predict, args=(SAMPLES,), daemon=True)
        worker.start()
        time.sleep(0.5)
        assert worker.is_alive()
        assert len(opened.predict(SAMPLES)) == 64


def test_until_loadgen_is_there_they_behave(right: np.ndarray) -> None:
    """Run in a process without LoadGen, a member that would raise at once does not."""
    import subprocess
    import sys

    script = (
        "from suite import plugins\n"
        "from tests.conformance.loading import images, session\n"
        "workload = plugins.workload('fashion-resnet')\n"
        "with session('tests.zoo.raises_on_nth_batch', workload, n='0') as opened:\n"
        "    print(len(opened.predict(images(workload.name, 8))))\n"
        "    import mlperf_loadgen\n"
        "    opened.predict(images(workload.name, 8))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "8\n"
    assert "RuntimeError: the model fell over" in done.stderr
