"""What machine this is, and what our own sources are: facts that two runs must share before they are compared."""

import contextlib
import functools
import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import sha256_bytes

ROOMS = ("suite", "scenarios", "reference_models", "accuracy_scripts", "common")
ROOT = Path(__file__).parents[1]

# What can change an answer or a speed without any file of ours changing.
PACKAGES = (
    "mlcommons-loadgen",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxscript",
    "openvino",
    "safetensors",
    "scipy",
    "tensorrt",
    "torch",
    "torchao",
)

# Variables that change the answers or the speed of a runtime, by how they begin.
VARIABLES = (
    "ATEN_",
    "CUBLAS_",
    "CUDA_",
    "CUDNN_",
    "DNNL_",
    "GOMP_",
    "KMP_",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "NVIDIA_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "ORT_",
    "PYTORCH_",
    "TORCH",
)
ACCELERATOR_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
QUERY_TIMEOUT_S = 10

# Sources and data that decide what a run does; cards and logs do not.
SOURCE_SUFFIXES = {".py", ".toml", ".json"}


def source_digest() -> str:
    """Returns the SHA-256 over our own source files, by path and content."""
    files = sorted(
        path
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.suffix in SOURCE_SUFFIXES and "__pycache__" not in path.parts and path.is_file()
    )
    lines = (f"{path.relative_to(ROOT)} {sha256_bytes(path.read_bytes())}\n" for path in files)
    return sha256_bytes("".join(lines).encode())


def refuse_within(folder: str, places: Mapping[str, str]) -> None:
    """Raises UsageError where a place, by the flag that names it, lies in a folder of sources: writing changes them."""
    for flag, place in places.items():
        if Path(place).resolve().is_relative_to(folder):
            raise UsageError(
                f"{flag} is {place}, inside {folder}: the sources there are a part of the evidence, and what is "
                f"written there would change them. Give another {flag}."
            )


@functools.cache
def packages(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def usable_cores() -> int:
    """Returns how many CPU cores this process may use: its affinity, cut by the control group's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _control_group("cpu.max").split()
    if len(quota) == 2 and quota[0] != "max":
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def available_memory() -> int:
    """Returns how many bytes can be taken now without swapping: the machine's, cut by the control group's limit."""
    available = _meminfo("MemAvailable")
    limit = _control_group("memory.max").strip()
    if limit.isdigit():
        used = _control_group("memory.current").strip()
        available = min(available, int(limit) - int(used or 0))
    return available


def peak_memory() -> int:
    """Returns the most bytes that this process has had resident.

    Not getrusage's figure: that one starts, through fork and exec, from what the parent had.
    """
    return _kilobytes("/proc/self/status", "VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fingerprint(device: str) -> dict[str, Any]:
    """Returns what identifies the machine, without its name."""
    return {
        "accelerators": _accelerators(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        "cpu_model": _cpu_model(),
        "device": device,
        "kernel": platform.release(),
        "memory_bytes": _meminfo("MemTotal"),
        "packages": packages(),
        "python": platform.python_version(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
    }


def environment(device: str) -> dict[str, Any]:
    """Returns the fingerprint and what may differ between two runs: load, governor, free memory."""
    load = os.getloadavg()
    return {
        "schema": 1,
        "fingerprint": fingerprint(device),
        "available_memory_bytes": available_memory(),
        "load_average_1min": round(load[0], 2),
        "frequency_governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        "python_build": sys.version,
        "system": platform.platform(),
    }


@functools.cache
def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


@functools.cache
def _accelerators() -> list[str]:
    """Returns name, driver and memory of each NVIDIA GPU; nothing where there is none, or nobody to ask."""
    if shutil.which(ACCELERATOR_QUERY[0]) is None:
        return []
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(ACCELERATOR_QUERY, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S)
        return [line.strip() for line in answer.stdout.splitlines()] if answer.returncode == 0 else []
    return []


def _meminfo(key: str) -> int:
    return _kilobytes("/proc/meminfo", key) or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _kilobytes(path: str, key: str) -> int:
    """Returns the bytes that a line `key: number kB` of a file speaks of; 0 where there is none."""
    for line in _read(path).splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def _control_group(name: str) -> str:
    return _read(f"/sys/fs/cgroup/{name}")


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
