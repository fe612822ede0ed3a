"""Answers on CUDA by replaying graphs: a batch is one launch, however many layers the network has.

Launched layer by layer from Python, a batch takes as long as its launches (measured on an H100: 0.6 to 1.4 ms, be it 1
sample or 64), and the first batch of each size on each thread as long as cuDNN chooses how to compute it (14 to 18;
depthwise convolutions with their channels last 610 to 1,000). A graph is captured once for each size of batch, when the
session is warmed up, and pays neither again.
"""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.errors import RunFailed
from reference_models.base import Mark, unmarked

if TYPE_CHECKING:
    import torch

# So often a network computes before its capture, which is what loads kernels and chooses plans: neither can be done
# within. Source: the example of a whole network in torch's notes on CUDA graphs.
WARM_UPS = 3

# One thread captures for all sessions: cuDNN's choices are kept by thread, so that they are made once for each size and
# not once more for each session; and no two captures may be under way in a process.
_capturing = ThreadPoolExecutor(1, "capture")

# torch has 32 streams, handed out in turn, so that of many sessions some share one: by its handle, whose turn it is.
_turns: dict[int, threading.Lock] = {}


def fitting(count: int, ready: Iterable[int]) -> int:
    """Returns the size of the graph for `count` samples: the least of those `ready` that holds them, or a new one's.

    Less than half of it is padding. Once there are graphs for 1, 2, 4, ... and the maximum, no size needs a new one,
    and a full batch is not padded.
    """
    return min((size for size in ready if count <= size < 2 * count), default=count)


@dataclass(frozen=True)
class _Captured:
    """A graph, and its input and output: on the device, where it reads and writes, and pinned in the host's memory."""

    graph: "torch.cuda.CUDAGraph"
    given: "torch.Tensor"
    found: "torch.Tensor"
    given_here: "torch.Tensor"
    found_here: "torch.Tensor"


class Graphs:
    """The graphs of one session, of a function from a tensor (n, *input_shape) on the device to (n, *output_shape).

    They run one at a time on a stream of the session's own and what one has found is copied out before the next begins,
    so they share one pool of memory: a session holds what the largest needs, and input and output of each size (of
    fashion-mnist 3 kB a sample, on the device and pinned in the host's memory).
    """

    def __init__(self, compute: "Callable[[torch.Tensor], torch.Tensor]", input_shape: tuple[int, ...]) -> None:
        import torch

        self._compute, self._input_shape = compute, input_shape
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        # The weights may still be on their way to the device.
        self._stream.wait_stream(torch.cuda.current_stream())
        self._turn = _turns.setdefault(self._stream.cuda_stream, threading.Lock())
        self._pool = torch.cuda.graph_pool_handle()
        self._captured: dict[int, _Captured] = {}

    def answer(self, samples: NDArray[np.float32], mark: Mark) -> NDArray[Any]:
        """Returns the outputs, and marks "copy in", "execute" and "copy out"; raises RunFailed where a capture fails.

        What pads a batch is left from earlier ones: no sample's output depends on another sample.
        """
        import torch

        count = len(samples)
        with self._turn, torch.inference_mode(), torch.cuda.stream(self._stream):
            captured = self._of_size(fitting(count, self._captured))
            # By numpy: torch would copy with as many threads as there are cores.
            captured.given_here.numpy()[:count] = samples
            captured.given[:count].copy_(captured.given_here[:count], non_blocking=True)
            self._end(mark, "copy in")
            captured.graph.replay()
            self._end(mark, "execute")
            captured.found_here[:count].copy_(captured.found[:count], non_blocking=True)
            self._stream.synchronize()
            outputs: NDArray[Any] = captured.found_here.numpy()[:count].copy()
            mark("copy out")
        return outputs

    def _of_size(self, size: int) -> _Captured:
        if size not in self._captured:
            self._captured[size] = _capturing.submit(self._capture, size).result()
        return self._captured[size]

    def _capture(self, size: int) -> _Captured:
        import torch

        with torch.inference_mode(), torch.cuda.stream(self._stream):
            graph = torch.cuda.CUDAGraph()
            given = torch.zeros((size, *self._input_shape), device="cuda")
            try:
                for _ in range(WARM_UPS):
                    self._compute(given)
                # What other threads do meanwhile, on streams of their own, disturbs no capture in this mode.
                with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                    found = self._compute(given)
            except RuntimeError as error:
                # A capture that was broken off also fails to end, and that error hides the one that says why.
                cause = str(error.__context__ or error).partition("\n")[0]
                raise RunFailed(
                    f"torch cannot capture a CUDA graph of batches of {size} ({cause}). "
                    "Give --backend-options=graphs=no to run without graphs."
                ) from error
            given_here, found_here = (
                torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in (given, found)
            )
        return _Captured(graph, given, found, given_here, found_here)

    def _end(self, mark: Mark, stage: str) -> None:
        """Marks the end of a stage, once the device has come to it where anybody wants to know."""
        if mark is not unmarked:
            self._stream.synchronize()
            mark(stage)
