"""What machine this is, and what our own sources are: facts that two runs must share before they are compared."""

import contextlib
import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import tree_digest
from suite import machine_state
from suite.resources import available_memory, read_text, total_memory, usable_cores

ROOMS = ("suite", "scenarios", "reference_models", "accuracy_scripts", "common")
ROOT = Path(__file__).parents[1]

# What can change an answer or a speed without any file of ours changing.
PACKAGES = (
    "mlcommons-loadgen",
    "numpy",
    "nvidia-cublas",
    "nvidia-cudnn-cu13",
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
    "triton",
)

# Variables that change the answers or the speed of a runtime, by how they begin.
VARIABLES = (
    "ATEN_",
    "CUBLAS_",
    "CUDA_",
    "CUDNN_",
    "DNNL_",
    "GLIBC_TUNABLES",
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
    "TRITON_",
)
# How /proc/cpuinfo tells processors of one name apart (x86, Arm), and how the flags begin that name arithmetic.
CPU_KIND = ("cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")
CPU_ARITHMETIC = ("amx", "asimd", "avx", "bf16", "f16c", "fma", "fp", "i8mm", "sse4", "sve")
ACCELERATOR_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader")
QUERY_TIMEOUT_S = 10

# Sources and data that decide what a run does; cards and logs do not.
SOURCE_SUFFIXES = {".py", ".toml", ".json"}


def source_digest() -> str:
    """Returns the SHA-256 over our own source files, by path and content."""
    return tree_digest(ROOT, [ROOT / room for room in ROOMS], SOURCE_SUFFIXES)


def refuse_within(folder: str, places: Mapping[str, str]) -> None:
    """Raises UsageError where a place, by the flag that names it, lies in a folder of sources: writing changes them."""
    for flag, place in places.items():
        if Path(place).resolve().is_relative_to(folder):
            raise UsageError(
                f"{flag} is {place}, inside {folder}: the sources there are a part of the evidence, and what is "
                f"written there would change them. Give another {flag}."
            )


@functools.cache
def packages() -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint(device: str) -> dict[str, Any]:
    """Returns what identifies the machine, without its name."""
    return {
        "accelerators": _accelerators(),
        "architecture": platform.machine(),
        "cores": usable_cores(),
        **_processor(),
        "device": device,
        "kernel": platform.release(),
        "memory_bytes": total_memory(),
        "packages": packages(),
        "python": platform.python_version(),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)},
    }


def environment(device: str) -> dict[str, Any]:
    """Returns the fingerprint and what may differ between two runs: the machine's state, free memory."""
    return {
        "schema": 1,
        "fingerprint": fingerprint(device),
        "available_memory_bytes": available_memory(),
        **machine_state.state(),
        "python_build": sys.version,
        "system": platform.platform(),
    }


@functools.cache
def _processor() -> dict[str, str]:
    """Returns the processor's name, and what tells it from others of that name, as virtual machines give to several.

    Of its instructions those that decide how numbers are multiplied: the same INT8 model has other answers with VNNI.
    """
    first: dict[str, str] = {}
    for line in read_text("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        first.setdefault(name.strip(), value.strip())
    kind = [f"{name} {first[name]}" for name in CPU_KIND if name in first]
    flags = sorted((first.get("flags") or first.get("Features") or "").split())
    return {
        "cpu_model": first.get("model name") or platform.processor() or "unknown",
        "cpu_kind": ", ".join(kind) or "unknown",
        "cpu_instructions": " ".join(flag for flag in flags if flag.startswith(CPU_ARITHMETIC)) or "unknown",
    }


@functools.cache
def _accelerators() -> list[str]:
    """Returns name, driver and memory of each NVIDIA GPU; nothing where there is none, or nobody to ask."""
    if shutil.which(ACCELERATOR_QUERY[0]) is None:
        return []
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        answer = subprocess.run(ACCELERATOR_QUERY, capture_output=True, text=True, timeout=QUERY_TIMEOUT_S)
        return [line.strip() for line in answer.stdout.splitlines()] if answer.returncode == 0 else []
    return []
