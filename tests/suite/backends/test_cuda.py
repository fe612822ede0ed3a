"""Graphs on CUDA: which size answers a batch, and that a session on them answers as one without."""

import contextlib
import subprocess
import sys
import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from reference_models.base import Workload
from scenarios.base import Session
from suite import plugins
from suite.backends import torch as backend
from suite.backends._cuda import fitting
from suite.subject import warm_up_sizes
from tests.conformance.loading import WORKLOADS, images, session

pytestmark = pytest.mark.side_by_side

# The last of float32's digits are free: another size of batch may be added up in another order.
TOLERANCE = 1e-4


@pytest.fixture
def cuda() -> None:
    if "cuda" not in backend.devices():
        pytest.skip("torch finds no GPU here")


@pytest.fixture(params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> Workload:
    return plugins.workload(request.param)


@pytest.mark.parametrize("maximum", [1, 2, 3, 64, 100, 129, 1000, 1024])
def test_after_the_warm_up_no_batch_needs_a_new_graph_and_less_than_half_of_one_is_padding(maximum: int) -> None:
    ready: list[int] = []
    for size in warm_up_sizes(maximum):
        ready.append(fitting(size, ready))
    assert ready == warm_up_sizes(maximum)
    for count in range(1, maximum + 1):
        size = fitting(count, ready)
        assert size in ready and count <= size < 2 * count
    assert fitting(maximum, ready) == maximum


def test_a_batch_that_no_graph_fits_gets_its_own() -> None:
    assert fitting(5, []) == 5
    assert fitting(5, [4, 10, 11]) == 5
    assert fitting(5, [11, 9, 8, 4]) == 8


@pytest.mark.usefixtures("cuda")
def test_graphs_answer_as_each_layer_by_itself_in_every_batch(workload: Workload) -> None:
    samples = images(workload.name, 300)
    with (
        session("torch", workload, device="cuda", graphs="no") as eager,
        session("torch", workload, device="cuda") as graphs,
    ):
        # Downwards from a batch that is padded, so that what an earlier one left is beside the samples.
        for size in (256, 129, 100, 64, 7, 3, 1, 300, 200):
            found = graphs.predict(samples[:size])
            assert np.abs(found - eager.predict(samples[:size])).max() < TOLERANCE


@pytest.mark.usefixtures("cuda")
def test_sessions_side_by_side_capture_and_answer_undisturbed(workload: Workload) -> None:
    samples, generator = images(workload.name, 512), np.random.default_rng(1)
    batches = [[samples[: generator.integers(1, 65)] for _ in range(100)] for _ in range(4)]
    with session("torch", workload) as cpu:
        expected = cpu.predict(samples[:64])
    found: dict[int, list[NDArray[np.float32]]] = {}

    def answer(number: int, opened: Session) -> None:
        found[number] = [opened.predict(batch) for batch in batches[number]]

    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(session("torch", workload, device="cuda")) for _ in batches]
        threads = [threading.Thread(target=answer, args=pair) for pair in enumerate(sessions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for outputs in (one for number in range(len(batches)) for one in found[number]):
        assert np.abs(outputs - expected[: len(outputs)]).max() < TOLERANCE


@pytest.mark.usefixtures("cuda")
def test_what_cannot_be_captured_is_said_in_a_sentence() -> None:
    """In a process of its own: a capture that was broken off leaves torch's memory in disorder."""
    script = (
        "import numpy as np\n"
        "from common.errors import RunFailed\n"
        "from reference_models.base import unmarked\n"
        "from suite.backends._cuda import Graphs\n"
        "try:\n"
        "    Graphs(lambda placed: placed * placed.sum().item(), (3,)).answer(np.ones((2, 3), np.float32), unmarked)\n"
        "except RunFailed as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("torch cannot capture a CUDA graph of batches of 2 (")
    assert done.stdout.endswith("Give --backend-options=graphs=no to run without graphs.\n")
