"""Runs the reference network on torch, or what was made of it: eager or compiled, on the CPU or on CUDA."""

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
from suite import export_program
from suite.backends._cuda import Graphs
from suite.backends._torch_profile import counted
from suite.export import load_network
from suite.own_thread import on_own_thread

if TYPE_CHECKING:
    import torch

# The weights of the reference network, which may be of 16 bits, or a program of integer operators.
FORMATS = ("safetensors", export_program.FORMAT)
ELIGIBLE = True
# A CPU has no graphs, and `graphs` means nothing there. `fold` has batch normalization within the convolutions.
OPTIONS: Mapping[str, tuple[str, ...] | int] = {
    "compile": ("no", "yes"),
    "graphs": ("yes", "no"),
    "fold": ("no", "yes"),
}

# torch.compile needs one of these: what runs on a CPU is compiled, and on a GPU what starts the kernels of Triton.
COMPILERS = {"cpu": ("g++", "c++", "clang++"), "cuda": ("gcc", "clang")}
# What tells whether an x86 processor multiplies 16 bits; one that does not widens them to float32 first. The one of
# float16 leaves out processors with AVX512-FP16 and no AMX.
NATIVE = {"bfloat16": "_is_avx512_bf16_supported", "float16": "_is_amx_fp16_supported"}
# torch.compile makes a program for one sample and, as convolutions choose their algorithm by size, programs for
# ranges of sizes. Warming up with these makes them all before anything is measured.
WARM_BATCHES = (1, 2, 3, 4, 8, 15, 16, 17, 32, 64, 128, 256)

# More programs than this, for one network in one process, are taken for a mistake: three for every number of threads.
RECOMPILE_LIMIT = 64
# Samples in the call that is profiled: for one alone a compiled program may multiply without the operators that count.
PROFILED = 4

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
    """Returns a session on a model; raises UsageError where torch cannot load it, or lacks the device or a compiler."""
    if device not in devices():
        raise UsageError(f"torch {version()} has no device '{device}' here. Available: {', '.join(devices())}.")
    if model.format == export_program.FORMAT and device != "cpu":
        raise UsageError(f"torch has integer operators for CPUs alone, and none for '{device}'. Use --device cpu.")
    compiled = options["compile"] == "yes"
    if compiled and model.format == export_program.FORMAT:
        raise UsageError("torch.compile does not run the integer operators of quantize:int8. Leave out fuse:compile.")
    folded = options["fold"] == "yes"
    if folded and model.format == export_program.FORMAT:
        raise UsageError("What quantize:int8 makes for torch is folded where it can be. Leave out fuse:batchnorm.")
    compilers = COMPILERS[device]
    if compiled and not any(shutil.which(name) for name in compilers):
        raise UsageError(
            f"torch.compile needs one of {', '.join(compilers)} for {device}, and none is on the PATH. "
            f"Install {compilers[0]}, or leave out fuse:compile."
        )
    # torch takes arrays that may not be written to, as it may not; it only says so.
    warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
    # Sessions share a network, which is only read. A compiled one has the number of threads in it.
    key = (workload.name, model.sha256, device, threads if compiled else None, folded)
    with _networks_lock:
        if key not in _networks:
            _networks[key] = _prepared(model, workload, device, threads, compiled, folded)
        network = _networks[key]
    compute = functools.partial(_compute, network, threads, compiled)
    if device == "cuda" and options["graphs"] == "yes":
        return TorchSession(Graphs(compute, workload.input_shape).answer)
    return TorchSession(functools.partial(_outputs, compute, device))


@on_own_thread
def arithmetic(
    model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
) -> dict[str, int]:
    """Returns the multiply-accumulates of one sample by type and device, as torch's profile says they ran.

    Empty where they are not as many as the reference's: one of the operators is then an unknown one.
    """
    # A graph that is replayed names no operators.
    session = load(model, workload, device=device, threads=threads, options={**options, "graphs": "no"})
    reference = load_network(workload, workload.weights)
    samples = np.zeros((PROFILED, *workload.input_shape), np.float32)
    found = counted(lambda: session.predict(samples), device)
    expected = counted(lambda: _outputs(reference, "cpu", samples), "cpu")
    if sum(found.values()) != sum(expected.values()):
        return {}
    ran: dict[str, int] = {}
    for label, count in found.items():
        label = _widened(label)
        ran[label] = ran.get(label, 0) + count // PROFILED
    return ran


def _widened(label: str) -> str:
    """Returns in which type a CPU multiplies what an operator is given: a trace names what that is."""
    import torch

    kind, _, device = label.partition(" on ")
    if device == "cpu" and kind in NATIVE and not getattr(torch.cpu, NATIVE[kind])():
        return f"float32 on {device}"
    return label


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


def _prepared(
    model: Model, workload: Workload, device: str, threads: int, compiled: bool, folded: bool
) -> "torch.nn.Module":
    import torch

    # A reference in float32 is float32: by default a GPU's convolutions round their inputs to TF32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    _use_threads(threads)
    if model.format == export_program.FORMAT:
        return _lowered(export_program.load(model.path))
    network = _network(model, workload, folded)
    network = network.to(device, memory_format=_memory_format(device))  # type: ignore[call-overload]
    return _compile(network, workload, device) if compiled else network


def _memory_format(device: str) -> "torch.memory_format":
    """Returns how a device's convolutions have their weights and activations."""
    import torch

    # Measured on a CPU: convolutions are 1.0 to 1.5 times as fast with their channels last, in batches of 1 to 64.
    # On CUDA such depthwise ones are cuDNN's, which needs 0.6 to 1 s to begin with each size of batch (measured: H100,
    # cuDNN 9.19, fashion-mobilenet); torch has a kernel of its own for them where channels come first.
    return torch.channels_last if device == "cpu" else torch.contiguous_format


def _network(model: Model, workload: Workload, folded: bool) -> "torch.nn.Module":
    """Returns the reference network, multiplying in the type of its weights; it takes and gives float32.

    Raises UsageError where its weights are not such a network's, or batch normalization is to be folded and cannot be.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        network = load_network(workload, model.path)
        kind = next(one.dtype for one in load_file(model.path).values() if one.is_floating_point())
    except (OSError, SafetensorError, RuntimeError) as error:
        what = f"the model {model.path} into {workload.name}"
        raise UsageError(f"torch {version()} cannot load {what}: {error}") from error
    if folded:
        network = _folded(network)
    if kind != torch.float32:
        network.to(kind)
        network.register_forward_pre_hook(lambda _, inputs: (inputs[0].to(kind),))
        network.register_forward_hook(lambda *inputs_and_outputs: inputs_and_outputs[-1].float())
    return network


def _folded(network: "torch.nn.Module") -> "torch.nn.Module":
    """Returns a network with batch normalization within the convolutions before it, computed as in float32."""
    import torch

    with export_program.quiet():
        from torch.fx.experimental.optimization import fuse

        try:
            found: torch.nn.Module = fuse(network)
        except torch.fx.proxy.TraceError as error:
            raise UsageError(
                f"torch cannot trace this network, and so not fold its batch normalization: {error}. Leave out "
                "fuse:batchnorm."
            ) from error
    before, after = (sum("BatchNorm" in type(one).__name__ for one in net.modules()) for net in (network, found))
    if after == before:
        raise UsageError(
            "This network has no batch normalization behind a convolution or a linear layer. Leave out fuse:batchnorm."
        )
    return found


def _lowered(program: "torch.export.ExportedProgram") -> "torch.nn.Module":
    """Returns a quantized program with oneDNN's integer operators where it multiplies, weights packed for them.

    These are the passes with which torch's compiler does so, without the compiler.
    """
    import torch

    with torch.no_grad(), export_program.quiet():
        from torch._inductor.constant_folding import constant_fold
        from torch._inductor.fx_passes.freezing_patterns import freezing_passes
        from torch.fx.passes.shape_prop import _extract_tensor_metadata

        module = program.module(check_guards=False)
        inputs = [node.meta["val"] for node in module.graph.nodes if node.op == "placeholder"]
        for node in module.graph.nodes:
            # The passes ask for shapes in this form, which no file holds.
            if isinstance(node.meta.get("val"), torch.Tensor):
                node.meta["tensor_meta"] = _extract_tensor_metadata(node.meta["val"])
        freezing_passes(module, inputs)
        constant_fold(module)
        module.recompile()
    return module


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
