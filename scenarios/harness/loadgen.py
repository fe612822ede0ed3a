"""One LoadGen test, from settings to logs. LoadGen keeps global state: at most one test a process."""

import functools
import gc
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlperf_loadgen
import numpy as np
from numpy.typing import NDArray

from common.errors import RunFailed
from reference_models.base import Dataset
from scenarios.harness.sut import Complete, SystemUnderTest
from scenarios.harness.yielding import yielding

# LoadGen obeys a file of this name in the working directory; naming one that cannot exist keeps it from doing so.
NO_AUDIT_FILE = "/dev/null/audit.config"


def version() -> str:
    """Returns the version of the LoadGen package."""
    from importlib.metadata import version as package_version

    return package_version("mlcommons-loadgen")


def completer() -> Complete:
    """Returns what completes samples of one thread with their rows of answers, or empty.

    LoadGen copies the bytes before it returns. The rows, and LoadGen's responses that point at them, are used again for
    each batch: making a response costs LoadGen's binding 0.35 µs, and naming another sample in one 0.14 µs.
    """
    tell, response = mlperf_loadgen.QuerySamplesComplete, mlperf_loadgen.QuerySampleResponse
    room, width = 0, 0
    content, responses = memoryview(b""), list[Any]()

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        nonlocal room, width, content, responses
        if payload is None:
            tell([response(number, 0, 0) for number in ids])
            return
        # A copy by way of bytes takes half as long as numpy's own of a few numbers.
        rows, count = payload.tobytes(), len(ids)
        if count > room or len(rows) != count * width:
            room, width = count, len(rows) // count
            memory = np.empty(len(rows), np.uint8)
            start, content = memory.ctypes.data, memory.data
            responses = [response(0, start + row * width, width) for row in range(count)]
        if count == 1 == room:
            content[:] = rows
            responses[0].id = ids[0]
            tell(responses)
            return
        content[: len(rows)] = rows
        for one, number in zip(responses, ids, strict=False):
            one.id = number
        tell(responses if count == room else responses[:count])

    return complete


class _Own(threading.local):
    """A thread's own."""

    def __init__(self) -> None:
        self.complete = completer()


_own = _Own()


def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
    """Completes samples with their rows of `payload`, or empty, from any thread."""
    _own.complete(ids, payload)


def _settings(values: Mapping[str, Any], mode: str) -> Any:
    settings = mlperf_loadgen.TestSettings()
    for name, value in values.items():
        if name == "scenario":
            value = getattr(mlperf_loadgen.TestScenario, value)
        if not hasattr(settings, name):
            raise RunFailed(f"This LoadGen ({version()}) has no setting '{name}'.")
        setattr(settings, name, value)
    settings.mode = {
        "performance": mlperf_loadgen.TestMode.PerformanceOnly,
        "accuracy": mlperf_loadgen.TestMode.AccuracyOnly,
    }[mode]
    return settings


def _log_settings(folder: Path) -> Any:
    output = mlperf_loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    log = mlperf_loadgen.LogSettings()
    log.log_output = output
    # A trace takes 270 MB a million samples and more than doubles the time.
    log.enable_trace = False
    return log


def _guarded(action: Callable[..., None], sut: SystemUnderTest) -> Callable[..., None]:
    """Returns a callback that keeps an exception as a fault: one that reached LoadGen would end the test at once."""

    def callback(*arguments: Any) -> None:
        try:
            action(*arguments)
        except Exception as error:  # noqa: BLE001 - nothing may leave a callback
            sut.record_fault("exception", f"{type(error).__name__}: {error}")

    return callback


def run_test(
    sut: SystemUnderTest,
    dataset: Dataset,
    settings: Mapping[str, Any],
    mode: str,
    performance_samples: int,
    folder: Path,
    *,
    decoded: bool = True,
    may_yield: bool = True,
) -> bool:
    """Runs one test and leaves LoadGen's logs in `folder`, which must exist.

    `settings` are LoadGen's TestSettings by name, with the scenario's name; raises RunFailed when LoadGen knows one
    of them not. Samples that LoadGen does not have loaded `decoded` are decoded in the test itself. Returns when
    LoadGen has ended, and whether the thread that issued yielded (see yielding.py: in Server, where it may); whether
    the test is any good stands in the logs and in `sut.faults`.
    """
    test_settings = _settings(settings, mode)
    handle = mlperf_loadgen.ConstructFastSUT(sut.issue, sut.flush)
    library = mlperf_loadgen.ConstructQSL(
        dataset.total,
        performance_samples,
        _guarded(functools.partial(dataset.load, decoded=decoded), sut),
        # Nothing to unload: the next set of samples takes the place of this one.
        lambda indices: None,
    )
    # A collection of a large heap stops every thread for longer than a query may take.
    gc.collect()
    gc.freeze()
    gc.disable()
    server = settings["scenario"] == "Server"
    with yielding(settings.get("server_target_latency_ns") if server and may_yield else None) as yields:
        mlperf_loadgen.StartTestWithLogSettings(handle, library, test_settings, _log_settings(folder), NO_AUDIT_FILE)
    mlperf_loadgen.DestroyQSL(library)
    mlperf_loadgen.DestroyFastSUT(handle)
    return yields
