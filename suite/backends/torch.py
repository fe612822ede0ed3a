"""Runs the reference network on torch: eager or compiled, on the CPU or on CUDA."""

import functools
import shutil
import threading
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from reference_models.base import Mark, Model, Workload, unmarked
from suite.backends._cuda import Graphs
from suite.export import load_network

if TYPE_CHECKING:
    import torch

FORMATS = ("safetensors",)
ELIGIBLE = True
# A CPU has no graphs, and `graphs` means nothing there.
OPTIONS: Mapping[str, tuple[str, ...] | int] = {"compile": ("no", "yes"), "graphs": ("yes", "no")}

# torch.compile needs one of these: what runs on a CPU is compiled, and on a GPU what starts the kernels of Triton.
COMPILERS = {"cpu": ("g++", "c++", "clang++"), "cuda": ("gcc", "clang")}
# torch.compile makes a program for one sample and, as convolutions choose their algorithm by size, programs for
# ranges of sizes. Warming up with these makes them all before anything is measured.
WARM_BATCHES = (1, 2, 3, 4, 8, 15, 16, 17, 32, 64, 128, 256)

# More programs than this, for one network in one process, are taken for a mistake: three for every number of threads.
RECOMPILE_LIMIT = 64

_networks: "dict[tuple[Any, ...], torch.nn.Module]" = {}
_networks_lock = threading.Lock()
_thread = threading.local()


def version() -> str:
    """Returns torch's version; raises UsageError with the install command where it is missing."""
    try:
        return version_of("torch")
    except PackageNotFoundError as error:
        raise UsageError("torch is not installed. Run: pip install torch") from error


def devices() -> tuple[str, ...]:
    """Returns cuda where torch can compute on it, and cpu."""
    return ("cuda", "cpu") if _cuda_works() else ("cpu",)


def load(model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]) -> "TorchSession":
    """Returns a session on the reference network; raises UsageError for a missing device or compiler."""
    if device not in devices():
        raise UsageError(f"torch {version()} has no device '{device}' here. Available: {', '.join(devices())}.")
    compiled = options["compile"] == "yes"
    compilers = COMPILERS[device]
    if compiled and not any(shutil.which(name) for name in compilers):
        raise UsageError(
            f"torch.compile needs one of {', '.join(compilers)} for {device}, and none is on the PATH. "
            f"Install {compilers[0]}, or leave out fuse:compile."
        )
    # Sessions share a network, which is only read. A compiled one has the number of threads in it.
    key = (workload.name, model.sha256, device, threads if compiled else None)
    with _networks_lock:
        if key not in _networks:
            _networks[key] = _prepared(model, workload, device, threads, compiled)
        network = _networks[key]
    compute = functools.partial(_compute, network, threads, compiled)
    if device == "cuda" and options["graphs"] == "yes":
        return TorchSession(Graphs(compute, workload.input_shape).answer)
    return TorchSession(functools.partial(_outputs, compute, device))


class TorchSession:
    """A network that the process shares, with a number of threads, or graphs, of its own."""

    def __init__(self, answer: Callable[[NDArray[np.float32], Mark], NDArray[Any]]) -> None:
        self._answer: Callable[[NDArray[np.float32], Mark], NDArray[Any]] | None = answer

    def predict(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """Returns the network's outputs, shape (n, *output_shape)."""
        return self.predict_marked(samples, unmarked)

    def predict_marked(self, samples: NDArray[np.float32], mark: Mark) -> NDArray[Any]:
        """Returns the same, and marks "copy in", "execute" and "copy out"."""
        if self._answer is None:
            raise RuntimeError("predict was called on a closed session")
        return self._answer(samples, mark)

    def close(self) -> None:
        """Frees graphs, and lets go of the network, which stays with the process for its next session."""
        self._answer = None


def _cuda_works() -> bool:
    import torch

    if not torch.cuda.is_available():
        return False
    try:
        # A GPU can be there and have no program in this build, or nothing left of its memory.
        (torch.ones(1, device="cuda") + 1).item()
    except RuntimeError:
        return False
    return True


def _prepared(model: Model, workload: Workload, device: str, threads: int, compiled: bool) -> "torch.nn.Module":
    import torch

    # A reference in float32 is float32: by default a GPU's convolutions round their inputs to TF32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    network = _reference(model, workload).to(device, memory_format=_memory_format(device))  # type: ignore[call-overload]
    _use_threads(threads)
    return _compile(network, workload, device) if compiled else network


def _memory_format(device: str) -> "torch.memory_format":
    """Returns how a device's convolutions have their weights and activations."""
    import torch

    # Measured on a CPU: convolutions are 1.0 to 1.5 times as fast with their channels last, in batches of 1 to 64.
    # On CUDA such depthwise ones are cuDNN's, which needs 600 to 950 ms for a plan of fashion-mobilenet's for each size
    # of batch (measured: H100, cuDNN 9.19); torch has a kernel of its own for them where channels come first.
    return torch.channels_last if device == "cpu" else torch.contiguous_format


def _reference(model: Model, workload: Workload) -> "torch.nn.Module":
    from safetensors import SafetensorError

    try:
        return load_network(workload, model.path)
    except (OSError, SafetensorError, RuntimeError) as error:
        what = f"the model {model.path} into {workload.name}"
        raise UsageError(f"torch {version()} cannot load {what}: {error}") from error


def _compile(network: "torch.nn.Module", workload: Workload, device: str) -> "torch.nn.Module":
    _use_compiler()
    network.compile(dynamic=True, fullgraph=True)
    with warnings.catch_warnings():
        # The compiler warns of deprecated parts of torch that it uses itself.
        warnings.simplefilter("ignore")
        for size in WARM_BATCHES:
            _outputs(network, device, np.zeros((size, *workload.input_shape), np.float32))
    return network


def _compute(network: "torch.nn.Module", threads: int, compiled: bool, placed: "torch.Tensor") -> "torch.Tensor":
    """Returns the network's outputs, computed with the settings that torch keeps for the calling thread."""
    _use_threads(threads)
    if compiled:
        _use_compiler()
    computed: torch.Tensor = network(placed)
    return computed


def _outputs(
    compute: "Callable[[torch.Tensor], torch.Tensor]",
    device: str,
    samples: NDArray[np.float32],
    mark: Mark = unmarked,
) -> NDArray[Any]:
    """Returns the outputs of samples that are copied to the device, where `compute` is called, and back."""
    import torch

    with torch.inference_mode():
        placed = torch.from_numpy(samples).to(device)
        _end(mark, device, "copy in")
        computed = compute(placed)
        _end(mark, device, "execute")
        outputs: NDArray[Any] = computed.cpu().numpy()
        _end(mark, device, "copy out")
    return outputs


def _end(mark: Mark, device: str, stage: str) -> None:
    """Marks the end of a stage, once the device has come to it where anybody wants to know."""
    if mark is unmarked:
        return
    if device == "cuda":
        import torch

        # Of this stream alone: a whole device cannot be waited for while a graph is captured on another.
        torch.cuda.current_stream().synchronize()
    mark(stage)


def _use_compiler() -> None:
    """Sets the calling thread's compiler, once: torch keeps these settings too for every thread."""
    if getattr(_thread, "has_compiler", False):
        return
    import torch._dynamo.config
    import torch._inductor.config

    # Compile in this process: a pool of compiling processes would outlive the warm-up and share the cores.
    torch._inductor.config.compile_threads = 1
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    _thread.has_compiler = True


def _use_threads(threads: int) -> None:
    """Sets the calling thread's number of threads: torch keeps one for every thread."""
    import torch

    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
