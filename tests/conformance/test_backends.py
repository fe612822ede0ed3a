"""Every backend of the folder against its contract."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Workload
from scenarios.base import Session
from scenarios.harness.stages import SESSION, predict_marked
from suite import artifacts, plugins, recipes
from suite.export import load_network
from tests.conformance.loading import INSTALLED, REAL, WORKLOADS, images, model, session

pytestmark = pytest.mark.side_by_side

BUSY_S = 0.8


@pytest.fixture(params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> Workload:
    return plugins.workload(request.param)


def reference_outputs(workload: Workload, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    import torch

    with torch.inference_mode():
        outputs: NDArray[np.float32] = load_network(workload, workload.weights)(torch.from_numpy(samples)).numpy()
    return outputs


@pytest.mark.parametrize("name", plugins.names("suite.backends"))
def test_says_what_it_is(name: str) -> None:
    backend = plugins.backend(name)
    assert set(backend.FORMATS) & set(artifacts.FORMATS)
    assert isinstance(backend.ELIGIBLE, bool)


@pytest.mark.parametrize("name", INSTALLED)
def test_its_description_survives_its_record_and_its_defaults_are_allowed(name: str) -> None:
    described = plugins.describe(name)
    assert plugins.BackendDescription.from_record(json.loads(json.dumps(described.record()))) == described
    defaults = recipes.runtime_options(described, {})
    assert recipes.runtime_options(described, defaults) == defaults


@pytest.mark.parametrize("name", INSTALLED)
def test_has_a_version_and_a_device(name: str) -> None:
    assert plugins.backend(name).version()
    assert "cpu" in plugins.backend(name).devices()


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("count", [1, 3, 64])
def test_one_row_of_output_a_sample(name: str, count: int, workload: Workload) -> None:
    with session(name, workload) as opened:
        outputs = opened.predict(images(workload.name, 64)[:count])
    assert outputs.shape == (count, *workload.output_shape)
    assert np.isfinite(outputs).all()


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.filterwarnings("error")
def test_one_sample_is_answered_where_it_lies(name: str, workload: Workload) -> None:
    """LoadGen's library itself, at an address that no allocator chose, and not to be written to."""
    samples = images(workload.name, 64)[:8].copy()
    samples.flags.writeable = False
    with session(name, workload) as opened:
        found = np.concatenate([opened.predict(samples[row : row + 1]).copy() for row in range(len(samples))])
        assert np.allclose(found, opened.predict(samples.copy()), atol=1e-4)


@pytest.mark.parametrize("name", INSTALLED)
def test_what_is_followed_stage_by_stage_is_answered_alike(name: str, workload: Workload) -> None:
    samples = images(workload.name, 8)
    for device in plugins.backend(name).devices():
        told: list[str] = []
        with session(name, workload, device=device) as opened:
            expected = opened.predict(samples)
            found = predict_marked(opened, samples, told.append)
        assert np.array_equal(found, expected)
        assert "execute" in told and set(told) <= set(SESSION)


@pytest.mark.parametrize("name", INSTALLED)
def test_outputs_stay_what_they_were(name: str, workload: Workload) -> None:
    """A batch's outputs are still being completed when the session is asked for the next."""
    for device in plugins.backend(name).devices():
        with session(name, workload, device=device) as opened:
            first = opened.predict(images(workload.name, 64)[:8])
            kept = first.copy()
            opened.predict(images(workload.name, 64)[8:16])
        assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", INSTALLED)
def test_two_sessions_side_by_side_answer_as_one(name: str, workload: Workload) -> None:
    samples = images(workload.name, 512)
    answers: dict[int, list[NDArray[Any]]] = {}

    def answer(number: int, opened: Session) -> None:
        answers[number] = [workload.encode(opened.predict(batch)) for batch in np.split(samples, 8)]

    for device in plugins.backend(name).devices():
        with session(name, workload, device=device) as first, session(name, workload, device=device) as second:
            expected = [workload.encode(first.predict(batch)) for batch in np.split(samples, 8)]
            threads = [threading.Thread(target=answer, args=pair) for pair in enumerate((first, second))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert np.array_equal(answers.pop(0), expected)
        assert np.array_equal(answers.pop(1), expected)


@pytest.mark.parametrize("name", REAL)
def test_agrees_with_the_reference_in_every_batch(name: str, workload: Workload) -> None:
    samples = images(workload.name, 300)
    expected = reference_outputs(workload, samples)
    for device in plugins.backend(name).devices():
        with session(name, workload, device=device) as opened:
            for size in (1, 7, 64, 300):
                starts = range(0, len(samples), size)
                found = np.concatenate([opened.predict(samples[start : start + size]) for start in starts])
                assert np.abs(found - expected).max() < 1e-3
                assert workload.judge.agree(workload.encode(found), workload.encode(expected)).all()


def cpu_ns_by_thread() -> dict[str, int]:
    """Returns the time that each thread of this process has computed so far."""
    times = {}
    for task in Path("/proc/self/task").iterdir():
        times[task.name] = int((task / "schedstat").read_text().split()[0])
    return times


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not say what a thread computes")
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("threads", [1, 2])
def test_no_more_threads_compute_than_were_asked_for(name: str, threads: int) -> None:
    """The session is made in one thread and used in another, as in a run."""
    workload = plugins.workload(WORKLOADS[0])
    samples = images(workload.name, 64)
    spent: list[dict[str, int]] = []

    def work() -> None:
        opened.predict(samples)
        before, end = cpu_ns_by_thread(), time.monotonic() + BUSY_S
        while time.monotonic() < end:
            opened.predict(samples)
        spent.append({name: after - before.get(name, 0) for name, after in cpu_ns_by_thread().items()})

    with session(name, workload, threads=threads) as opened:
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    most = max(spent[0].values())
    assert sum(time_ns > 0.1 * most for time_ns in spent[0].values()) == threads


@pytest.mark.parametrize("name", REAL)
def test_refuses_a_device_that_is_not_there(name: str) -> None:
    workload, backend = plugins.workload(WORKLOADS[0]), plugins.backend(name)
    with pytest.raises(UsageError, match=r"no device 'abacus' here\. Available: .*cpu"):
        backend.load(
            model(workload, backend),
            workload,
            device="abacus",
            threads=1,
            options=recipes.runtime_options(plugins.describe(name), {}),
        )


@pytest.mark.parametrize("name", REAL)
def test_a_closed_session_gives_no_answers(name: str) -> None:
    workload = plugins.workload(WORKLOADS[0])
    with session(name, workload) as opened:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        opened.predict(images(workload.name, 64)[:1])


@pytest.mark.parametrize("name", INSTALLED)
def test_says_nothing_on_the_terminal(name: str) -> None:
    """stdout carries the result and stderr our own progress: a runtime writes to neither."""
    script = (
        "import sys\n"
        "from suite import plugins\n"
        "from tests.conformance.loading import session, images\n"
        f"workload = plugins.workload({WORKLOADS[0]!r})\n"
        f"with session({name!r}, workload) as opened:\n"
        "    opened.predict(images(workload.name, 64))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_naming_them_all_loads_no_runtime() -> None:
    script = (
        "import sys\n"
        "from suite import plugins\n"
        "for name in plugins.names('suite.backends'): plugins.backend(name)\n"
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
