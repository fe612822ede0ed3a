"""Every workload against its contract."""

import subprocess
import sys

import numpy as np
import pytest

from common.files import sha256_file
from reference_models.base import Workload
from suite import artifacts, plugins
from suite.export import load_network
from tests.conformance.loading import REAL, WORKLOADS, data_folder, images, session

pytestmark = pytest.mark.side_by_side


@pytest.fixture(params=WORKLOADS)
def workload(request: pytest.FixtureRequest) -> Workload:
    return plugins.workload(request.param)


def test_its_name_is_that_of_its_folder(workload: Workload) -> None:
    assert workload.name in WORKLOADS
    assert plugins.workload(workload.name) is workload
    assert workload.dataset_name in plugins.names("reference_models.datasets")


def test_the_network_is_built_untrained_and_in_evaluation_mode(workload: Workload) -> None:
    import torch

    first, second = workload.build(), workload.build()
    assert not any(module.training for module in first.modules())
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    with torch.inference_mode():
        assert first(torch.zeros(2, *workload.input_shape)).shape == (2, *workload.output_shape)


def test_the_weights_are_those_of_the_card(workload: Workload) -> None:
    assert artifacts.reference_model(workload).sha256 == sha256_file(workload.weights)
    card = workload.weights.with_name("CARD.md").read_text()
    assert sha256_file(workload.weights) in card
    assert f"{workload.quality:.2f}" in card


def test_the_payload_is_one_answer_a_sample(workload: Workload) -> None:
    outputs = np.random.default_rng(0).normal(size=(5, *workload.output_shape)).astype(np.float32)
    payload = workload.encode(outputs)
    assert payload.dtype == np.dtype(workload.payload_dtype)
    assert len(payload) == 5
    assert payload.flags.c_contiguous
    assert np.array_equal(payload[3:4], workload.encode(outputs[3:4]))


def test_it_tells_how_sure_it_is_of_each_answer(workload: Workload) -> None:
    outputs = np.random.default_rng(1).normal(0, 4, size=(50, *workload.output_shape)).astype(np.float32)
    sure = workload.confidence(outputs)
    assert sure.shape == (50,) and 0 <= sure.min() and sure.max() <= 1


def test_the_confidence_of_a_class_is_its_probability() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]])).astype(np.float32)
    assert plugins.workload("fashion-resnet").confidence(logits) == pytest.approx([0.7, 0.5], rel=1e-4)


def test_the_target_is_99_percent_of_the_quality(workload: Workload) -> None:
    assert workload.target == pytest.approx(0.99 * workload.quality)


def test_the_reference_has_the_quality_that_it_is_said_to_have(workload: Workload) -> None:
    """Measured here on the whole evaluation set, with every real backend that is installed."""
    dataset = workload.open_dataset(data_folder(workload))
    samples = images(workload.name, dataset.total)
    for name in REAL:
        with session(name, workload) as opened:
            answers = np.concatenate([workload.encode(opened.predict(part)) for part in np.split(samples, 100)])
        found = workload.judge.score(answers, dataset.truth())[workload.metric]
        assert found == pytest.approx(workload.quality, abs=0.02)


def test_the_network_takes_the_weights_strictly(workload: Workload) -> None:
    network = load_network(workload, workload.weights)
    assert sum(parameter.numel() for parameter in network.parameters()) > 0


def test_naming_them_all_loads_no_runtime() -> None:
    script = (
        "import sys\n"
        "from suite import plugins\n"
        "for name in plugins.names('reference_models'): plugins.workload(name)\n"
        "print(sorted({'torch', 'onnxruntime', 'onnx', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
