"""onnxruntime runs where it says that it runs, with the options that it was given."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UsageError
from reference_models.base import Model
from scenarios.base import Session
from suite import plugins
from suite.backends import onnxruntime as backend
from tests.conformance.loading import images, model, session

WORKLOAD = plugins.workload("fashion-resnet")


def load(chosen: Model, device: str = "cpu") -> Session:
    return backend.load(chosen, WORKLOAD, device=device, threads=1, options={"graph_level": "all", "pipeline": "1"})


def reference() -> Model:
    return model(WORKLOAD, plugins.backend("onnxruntime"))


@pytest.mark.parametrize("level", ["off", "basic", "extended", "all"])
def test_every_graph_level_gives_the_same_answers(level: str) -> None:
    samples = images(WORKLOAD.name, 100)
    with session("onnxruntime", WORKLOAD) as plain, session("onnxruntime", WORKLOAD, f"fuse:level={level}") as fused:
        assert np.abs(plain.predict(samples) - fused.predict(samples)).max() < 1e-4


def test_the_graph_level_reaches_onnxruntime(tmp_path: Path) -> None:
    """Without fusion the graph keeps its activations as nodes of their own."""
    import onnx

    counts = {}
    for level in ("off", "all"):
        options = backend._session_options(1, level)
        options.optimized_model_filepath = str(tmp_path / f"{level}.onnx")
        backend._open(reference().path, "cpu", options)
        counts[level] = len(onnx.load(tmp_path / f"{level}.onnx").graph.node)
    assert counts["all"] < counts["off"]


def test_cuda_is_offered_only_where_a_session_gets_it() -> None:
    import onnxruntime

    if "cuda" in backend.devices():
        assert load(reference(), "cuda").predict(images(WORKLOAD.name, 4)).shape == (4, 10)
    else:
        with pytest.raises(UsageError, match="device 'cuda'"):
            load(reference(), "cuda")
    assert "CUDAExecutionProvider" in onnxruntime.get_all_providers()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"cannot load the model {path}"):
        load(replace(reference(), path=path))


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot load the model .*absent.onnx"):
        load(replace(reference(), path=tmp_path / "absent.onnx"))


def test_an_exception_of_the_runtime_is_not_hidden() -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

    with session("onnxruntime", WORKLOAD) as opened, pytest.raises(InvalidArgument):
        opened.predict(np.zeros((1, 3, 5, 5), np.float32))


def test_a_model_that_fails_while_it_runs_raises_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The model wants to make three rows of whatever it gets, and holds a weight that it does not use."""
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    weights = [
        helper.make_tensor("rows", TensorProto.INT64, [2], [3, -1]),
        helper.make_tensor("unused", TensorProto.FLOAT, [1], [0.0]),
    ]
    node = helper.make_node("Reshape", ["x", "rows"], ["y"])
    graph = helper.make_graph([node], "fragile", ends[:1], ends[1:], weights)
    path = tmp_path / "fragile.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    opened = load(replace(reference(), path=path))
    assert opened.predict(np.zeros((6,), np.float32)).shape == (3, 2)
    with pytest.raises(Exception, match="while running Reshape node"):
        opened.predict(np.zeros((4,), np.float32))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_a_missing_runtime_is_named_with_its_command(name: str, tmp_path: Path) -> None:
    """Runs with a path on which, of all that is installed, only numpy lies."""
    home = Path(np.__file__).parents[1]
    for part in ("numpy", "numpy.libs"):
        if (home / part).exists():
            (tmp_path / part).symlink_to(home / part)
    root = Path(backend.__file__).parents[2]
    script = (
        f"import sys; sys.path[:0] = [{str(root)!r}, {str(tmp_path)!r}]\n"
        "from common.errors import UsageError\n"
        "from suite import plugins\n"
        f"try: plugins.backend({name!r}).version()\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{name} is not installed. Run: pip install {name}")
