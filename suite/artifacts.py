"""The model files that backends load: the reference's weights, and what was once exported from them (suite.shelf).

The key of an export is the digest of all that went into it. To find one imports neither torch nor onnx.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import digest_of, sha256_file
from reference_models.base import Model, Workload
from suite import export, shelf

OPSET = 20
PACKAGES = ("torch", "onnx", "onnxscript")
WEIGHTS = "safetensors"
FORMATS = (WEIGHTS, "onnx")
EXPORTED = "exported to ONNX"
# What is in this format is an export of the reference, or was made of one.
EXPORT_FORMAT = "onnx"


@dataclass(frozen=True)
class _Source:
    """What an export is made from."""

    reference: Model
    network: tuple[tuple[str, str], ...]
    versions: Mapping[str, str]

    @property
    def key(self) -> str:
        return digest_of(
            {
                "schema": shelf.SCHEMA,
                "weights": self.reference.sha256,
                "network": self.network,
                "exporter": sha256_file(Path(export.__file__)),
                "opset": OPSET,
                "versions": dict(self.versions),
            }
        )

    def card(self) -> dict[str, Any]:
        return {
            "format": EXPORT_FORMAT,
            "opset": OPSET,
            "versions": dict(self.versions),
            "chain": [*self.reference.chain, f"{EXPORTED}, opset {OPSET}"],
        }


def prepare(workload: Workload, formats: Sequence[str], data: Path, cache: Path) -> Model:
    """Returns the reference in the first of a backend's formats that can be had, exporting it where it must be.

    `data` is the folder of the workload's dataset, which is read only to check a new export; `cache` is the root of
    the cache.
    """
    known = cached(workload, formats, cache)
    if known is None:
        source = _source(workload)
        dataset = workload.open_dataset(data)
        shelf.publish(
            cache,
            source.key,
            source.card(),
            lambda path: export.write(workload, source.reference, OPSET, dataset, path),
        )
    return prepared(workload, formats, cache)


def prepared(workload: Workload, formats: Sequence[str], cache: Path) -> Model:
    """Returns what `prepare` has made; raises UsageError where it has not."""
    known = cached(workload, formats, cache)
    if known is None:
        raise UsageError(f"{workload.name} has not been exported into {cache / 'artifacts'}.")
    return known


def cached(workload: Workload, formats: Sequence[str], cache: Path) -> Model | None:
    """Returns the reference in the first of a backend's formats that can be had, or None if it must be exported first.

    Raises UsageError where none can be had, or where what is cached is corrupt or foreign.
    """
    wanted = next((name for name in formats if name in FORMATS), None)
    if wanted is None:
        raise UsageError(f"{workload.name} can be had as {' or '.join(FORMATS)}, not as {' or '.join(formats)}.")
    if wanted == WEIGHTS:
        return reference_model(workload)
    return shelf.cached(cache, _source(workload).key)


def reference_model(workload: Workload) -> Model:
    """Returns the reference's weights; raises UsageError where they are not those that its card was written for."""
    expected = workload.weights_sha256
    try:
        found = sha256_file(workload.weights)
    except OSError as error:
        raise UsageError(
            f"{workload.name}: {workload.weights} cannot be read ({error.strerror}). Restore it from the repository."
        ) from error
    if found != expected:
        raise UsageError(
            f"{workload.name}: {workload.weights} does not match its card: reference.json says SHA-256 {expected}, "
            f"found {found}. Restore both from the repository."
        )
    return Model(WEIGHTS, workload.weights, found, (f"{workload.name} reference, weights {found}",))


def network_files(workload: Workload) -> tuple[tuple[str, str], ...]:
    """Returns name and digest of each source file of the workload's network."""
    files = sorted(Path(inspect.getfile(workload.build)).parent.glob("*.py"))
    return tuple((path.name, sha256_file(path)) for path in files)


def _source(workload: Workload) -> "_Source":
    """Returns all that an export of the workload is made from, as it is now."""
    return _Source(
        reference=reference_model(workload),
        network=network_files(workload),
        versions={name: _version(name) for name in PACKAGES},
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise UsageError(f"{package} is not installed, and without it no model is exported: make setup") from error
