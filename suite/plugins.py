"""Finds plug-ins by name: the folder is the registry.

A backend may also come from outside the tree: a name with a dot (`mypackage.my_backend`) is imported as it stands, in
child processes alone: nothing of it may be where runs are judged. What is judged (workloads, scenarios) and what
changes a variant (optimizations) may not come from outside: the verdict knows its own alone.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from common import names as spelling
from common.errors import UsageError
from common.files import tree_digest
from reference_models.base import Workload
from scenarios.base import Backend

# Of a backend from outside the tree: its code, and models that it may bring.
SOURCE_SUFFIXES = frozenset(
    {".bin", ".engine", ".json", ".npy", ".npz", ".onnx", ".pb", ".plan", ".pt", ".pt2", ".pth", ".py"}
    | {".safetensors", ".so", ".tflite", ".toml", ".xml"}
)
NOT_PLUGINS = {"base", "forms", "harness", "datasets", "suppression"}
BACKEND_MEMBERS = ("FORMATS", "ELIGIBLE", "OPTIONS", "version", "devices", "load")


@dataclass(frozen=True)
class BackendDescription:
    """What a backend says of itself; `folder` is that of its sources where they are outside the tree, else None."""

    name: str
    formats: tuple[str, ...]
    eligible: bool
    options: Mapping[str, tuple[str, ...] | int]
    version: str
    folder: str | None
    plugin_sha256: str | None

    def record(self) -> dict[str, Any]:
        """Returns the description as JSON-like values."""
        return asdict(self)

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "BackendDescription":
        """Returns the description that `record` wrote down."""
        options = {key: value if isinstance(value, int) else tuple(value) for key, value in record["options"].items()}
        return BackendDescription(**{**record, "formats": tuple(record["formats"]), "options": options})


def is_foreign(backend: str) -> bool:
    """Tells whether a backend's name is that of a module from outside the tree."""
    return "." in backend


def names(package: str) -> tuple[str, ...]:
    """Returns the names of the plug-ins in a package, sorted, importing none of them."""
    found = (module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))
    return tuple(sorted(spelling.normal(name) for name in found if name not in NOT_PLUGINS and name[0] != "_"))


def load(package: str, kind: str, name: str) -> ModuleType:
    """Returns the plug-in's module; raises UsageError for an unknown name. `kind` is the word for error messages."""
    known = names(package)
    if spelling.normal(name) not in known:
        raise spelling.unknown(kind, name, known)
    return importlib.import_module(f"{package}.{spelling.normal(name).replace('-', '_')}")


def backend(name: str) -> Backend:
    """Returns a backend; raises UsageError if there is none of that name, or the module is no backend."""
    module = _import_foreign(name) if is_foreign(name) else load("suite.backends", "backend", name)
    _require(module, "backend", BACKEND_MEMBERS)
    return cast(Backend, module)


def workload(name: str) -> Workload:
    """Returns a workload; raises UsageError if there is none of that name, or the module has none."""
    module = load("reference_models", "workload", name)
    _require(module, "workload", ("WORKLOAD",))
    return cast(Workload, module.WORKLOAD)


def describe(name: str) -> BackendDescription:
    """Returns what a backend says of itself, importing it; raises UsageError where it or its runtime is missing."""
    module = backend(name)
    folder = _folder(name)
    return BackendDescription(
        name=name if is_foreign(name) else spelling.normal(name),
        formats=tuple(module.FORMATS),
        eligible=bool(module.ELIGIBLE),
        options=dict(module.OPTIONS),
        version=module.version(),
        folder=None if folder is None else str(folder),
        plugin_sha256=source_of(name),
    )


def _folder(name: str) -> Path | None:
    """Returns the folder of a foreign backend's sources: its top package's, or its module's where that has no file."""
    if not is_foreign(name):
        return None
    top = importlib.import_module(name.partition(".")[0])
    origin = getattr(top, "__file__", None) or importlib.import_module(name).__file__
    return Path(str(origin)).resolve().parent


def source_of(name: str) -> str | None:
    """Returns the digest of the sources of a backend from outside the tree, None for one of the folder."""
    folder = _folder(name)
    if folder is None:
        return None
    return tree_digest(folder, [folder], SOURCE_SUFFIXES)


def _import_foreign(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"The backend '{name}' is neither a name nor a module path such as mypackage.my_backend.")
    try:
        return importlib.import_module(name)
    except Exception as error:  # a stranger's module may raise anything
        raise UsageError(
            f"The backend's module '{name}' cannot be imported ({type(error).__name__}: {error}). "
            "Install its package, or run from the folder that holds it."
        ) from error


def _require(module: ModuleType, kind: str, members: Iterable[str]) -> None:
    missing = [member for member in members if not hasattr(module, member)]
    if missing:
        raise UsageError(f"The module '{module.__name__}' is no {kind}: it has no {', '.join(missing)}.")
