"""The export computes what the reference computes, is made once, and tells nothing about the machine."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import TandemError
from suite import artifacts, export, plugins
from tests.conformance.loading import images

pytestmark = pytest.mark.side_by_side

WORKLOAD = plugins.workload("fashion-resnet")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the exported file."""
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    path.write_bytes(export.exported(export.load_network(WORKLOAD, WORKLOAD.weights), WORKLOAD, artifacts.OPSET))
    return path


def test_the_export_answers_as_the_reference(model: Path) -> None:
    network = export.load_network(WORKLOAD, WORKLOAD.weights)
    facts = export.compare(network, model, images(WORKLOAD.name, 300), WORKLOAD)
    assert facts["compared_samples"] == 300
    assert facts["max_abs_difference"] < export.TOLERANCE
    assert facts["changed_answers"] == 0 and facts["compared_batches"] == [1, 3, 64, 256]


def test_answers_that_change_within_the_tolerance_are_counted(model: Path) -> None:
    """A network whose two best classes lie as near as the tolerance, and that prefers the other one."""
    import torch

    network = export.load_network(WORKLOAD, WORKLOAD.weights)
    samples = images(WORKLOAD.name, 40)
    with torch.inference_mode():
        best = network(torch.from_numpy(samples)).topk(2)
    nearest = int((best.values[:, 0] - best.values[:, 1]).argmin())
    gap, (first, second) = float(best.values[nearest, 0] - best.values[nearest, 1]), best.indices[nearest].tolist()
    with torch.no_grad():
        network.get_parameter("head.bias")[first] -= gap - 0.0003
        session = export.exported(network, WORKLOAD, artifacts.OPSET)
        network.get_parameter("head.bias")[second] += 0.0006
    model.with_name("near.onnx").write_bytes(session)
    facts = export.compare(network, model.with_name("near.onnx"), samples, WORKLOAD)
    assert facts["changed_answers"] == 1 and 5e-4 < facts["max_abs_difference"] < export.TOLERANCE


def test_an_export_that_computes_something_else_is_refused(model: Path) -> None:
    import torch

    network = export.load_network(WORKLOAD, WORKLOAD.weights)
    with torch.no_grad():
        network.get_parameter("head.bias")[3] += 0.01
    with pytest.raises(TandemError, match=r"differs from the reference by up to 0\.01.*on 64 samples"):
        export.compare(network, model, images(WORKLOAD.name, 64), WORKLOAD)


def test_an_export_that_gives_no_numbers_is_refused(model: Path) -> None:
    import torch

    network = export.load_network(WORKLOAD, WORKLOAD.weights)
    with torch.no_grad():
        network.get_parameter("head.bias")[3] = torch.nan
    with pytest.raises(TandemError, match="differs from the reference by up to nan"):
        export.compare(network, model, images(WORKLOAD.name, 64), WORKLOAD)


def test_a_refused_export_leaves_nothing_behind(tmp_path: Path, data_root: Path) -> None:
    """A workload whose network answers differently each time cannot be exported faithfully."""
    import torch

    class Unsteady(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = WORKLOAD.build()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            offset = 0.0 if torch.compiler.is_exporting() else 1.0
            outputs: torch.Tensor = self.network(x) + offset
            return outputs

        def load_state_dict(self, *arguments: object, **more: object) -> object:
            return self.network.load_state_dict(*arguments, **more)  # type: ignore[arg-type]

    unsteady = replace(WORKLOAD, build=Unsteady)
    with pytest.raises(TandemError, match="differs from the reference by up to 1 "):
        artifacts.prepare(unsteady, ("onnx",), data_root / "fashion-mnist", tmp_path)
    assert list((tmp_path / "artifacts").iterdir()) == []


def test_every_batch_size_is_taken(model: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", *WORKLOAD.input_shape]
    for size in (1, 2, 255):
        assert session.run(None, {"input": np.zeros((size, *WORKLOAD.input_shape), np.float32)})[0].shape == (size, 10)


def test_the_file_holds_no_trace_of_the_machine(model: Path) -> None:
    content = model.read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content
    assert str(Path(export.__file__).parents[1]).encode() not in content


def test_two_processes_at_once_leave_one_artifact(tmp_path: Path, data_root: Path) -> None:
    script = (
        "from pathlib import Path; from suite import artifacts, plugins\n"
        "model = artifacts.prepare(plugins.workload('fashion-resnet'), ('onnx',), "
        f"Path({str(data_root / 'fashion-mnist')!r}), Path({str(tmp_path)!r}))\n"
        "print(model.sha256)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert [errors for _, errors in ended] == ["", ""]
    (folder,) = (tmp_path / "artifacts").iterdir()
    assert {output.strip() for output, _ in ended} == {json.loads((folder / "artifact.json").read_text())["sha256"]}
