"""Runs ONNX files on onnxruntime: on the CPU, and on CUDA where a session really gets it."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Model, Workload
from scenarios.base import Session
from suite.arithmetic import macs
from suite.backends._cut import OPTION, STAGES, cut
from suite.backends._pipeline import Pipeline
from suite.backends._products import bits, products

if TYPE_CHECKING:
    import onnxruntime

FORMATS = ("onnx",)
ELIGIBLE = True
OPTIONS: Mapping[str, tuple[str, ...] | int] = {"graph_level": ("all", "extended", "basic", "off"), OPTION: STAGES}

LEVELS = {
    "off": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
# A reference in float32 is float32: by default a GPU rounds the inputs of convolutions to TF32.
PROVIDER_OPTIONS: dict[str, dict[str, str]] = {"cpu": {}, "cuda": {"use_tf32": "0"}}
# The distributions that hold the module; the first is the one that we install.
DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
# The types that the inputs of our models have.
TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}
# It would quantize weights that a model has in float32 where what goes in and comes out is quantized: a layer that a
# recipe leaves in float32 would not run so.
UNWANTED = ("WeightBiasQuantization",)
# onnxruntime's levels: 3 lets errors through, which also come as exceptions; 4 only what ends the process.
FATAL = 4


def version() -> str:
    """Returns onnxruntime's version; raises UsageError with the install command where it is missing."""
    for distribution in DISTRIBUTIONS:
        try:
            return version_of(distribution)
        except PackageNotFoundError:
            continue
    raise UsageError("onnxruntime is not installed. Run: pip install onnxruntime (with CUDA: onnxruntime-gpu)")


def devices() -> tuple[str, ...]:
    """Returns cuda where a session on it works, and cpu."""
    return ("cuda", "cpu") if _cuda_works() else ("cpu",)


def load(model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]) -> Session:
    """Returns a session on an ONNX file, or a pipeline of its stages where the options ask for several.

    Raises UsageError where onnxruntime cannot load it or lacks the device, the graph cannot be cut into as many stages,
    or the stages cannot share out the threads.
    """
    stages, each = _stages(model, options), _threads_of_each(threads, options)
    chosen = _session_options(each, options["graph_level"])
    sessions = [OnnxRuntimeSession(_open(stage, device, chosen)) for stage in stages]
    return sessions[0] if len(sessions) == 1 else Pipeline(sessions)


def arithmetic(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> dict[str, int]:
    """Returns the multiply-accumulates of one sample by type and provider, as onnxruntime's profile says they ran."""
    each = _threads_of_each(threads, options)
    events: list[Any] = []
    passed: NDArray[Any] | None = None
    for stage in _stages(model, options):
        chosen = _session_options(each, options["graph_level"])
        passed, ran = _profiled(stage, device, chosen, passed)
        events += ran
    return macs(events, products(model.path), bits(model.path))


def _stages(model: Model, options: Mapping[str, str]) -> Sequence[Path | bytes]:
    """Returns the models that follow one another: the file itself, or what it is cut into."""
    count = int(options[OPTION])
    return [model.path] if count == 1 else cut(model.path, count)


def _threads_of_each(threads: int, options: Mapping[str, str]) -> int:
    """Returns the threads of a stage; raises UsageError where not all can have as many."""
    stages = int(options[OPTION])
    if threads % stages:
        raise UsageError(
            f"A pipeline of {stages} stages needs as many threads a session, or a multiple of that, and not {threads}: "
            f"use --threads {stages}."
        )
    return threads // stages


def _profiled(
    model: Path | bytes, device: str, options: "onnxruntime.SessionOptions", inputs: NDArray[Any] | None
) -> tuple[NDArray[Any], list[Any]]:
    """Returns what a model makes of its inputs, None for a sample of zeros, and the events of the profile of that."""
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        # It pads output channels to the processor's vectors, and the padding would be counted.
        session = _open(model, device, options, without=["NchwcTransformer"])
        given = session.get_inputs()[0]
        if inputs is None:
            # What is no number is the free axis of the batch.
            inputs = np.zeros([size if isinstance(size, int) else 1 for size in given.shape], TYPES[given.type])
        outputs = session.run(None, {given.name: inputs})[0]
        return outputs, json.loads(Path(session.end_profiling()).read_bytes())


class OnnxRuntimeSession:
    """An inference session of onnxruntime."""

    def __init__(self, session: "onnxruntime.InferenceSession") -> None:
        self._session: onnxruntime.InferenceSession | None = session
        self._input = session.get_inputs()[0].name
        self._outputs = [session.get_outputs()[0].name]

    def predict(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Returns the first output's values, shape (n, *output_shape)."""
        if self._session is None:
            raise RuntimeError("predict was called on a closed session")
        # Plain run: it takes the array as it is; I/O bindings and OrtValues were measured to be slower here.
        outputs: NDArray[Any] = self._session.run(self._outputs, {self._input: samples})[0]
        return outputs

    def close(self) -> None:
        """Frees the session."""
        self._session = None


def _session_options(threads: int, graph_level: str) -> "onnxruntime.SessionOptions":
    import onnxruntime

    # A measured process reports to nobody.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[graph_level])
    options.log_severity_level = FATAL
    # Threads that spin while they wait take the cores of the other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _open(
    model: Path | bytes, device: str, options: "onnxruntime.SessionOptions", without: Sequence[str] = ()
) -> "onnxruntime.InferenceSession":
    """Returns a session that really runs on `device`, `without` more optimizers; raises UsageError if there is none."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if PROVIDERS.get(device) not in onnxruntime.get_available_providers():
        raise UsageError(f"onnxruntime {version()} has no device '{device}' here. Available: {', '.join(devices())}.")
    try:
        provider = (PROVIDERS[device], PROVIDER_OPTIONS[device])
        session = onnxruntime.InferenceSession(
            model, options, providers=[provider], disabled_optimizers=[*UNWANTED, *without]
        )
    except (state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NoSuchFile) as error:
        named = f"the model {model}" if isinstance(model, Path) else "a stage of the model"
        raise UsageError(f"onnxruntime {version()} cannot load {named}: {error}") from error
    # Without the libraries of a provider onnxruntime falls back to the CPU and says so only in its log.
    if session.get_providers()[0] != PROVIDERS[device]:
        raise UsageError(f"onnxruntime {version()} knows the device '{device}' but cannot run on it. Use --device cpu.")
    return session


def _cuda_works() -> bool:
    import onnxruntime

    if PROVIDERS["cuda"] not in onnxruntime.get_available_providers():
        return False
    try:
        _open(_smallest_model(), "cuda", _session_options(1, "all"))
    except UsageError:
        return False
    return True


def _smallest_model() -> bytes:
    """Returns a model that does nothing, to see where it runs."""
    from onnx import TensorProto, helper

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "nothing", ends[:1], ends[1:])
    opsets = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return content
