"""Finds plug-ins by name: the folder is the registry.

A backend may also come from outside the tree: a name with a dot (`mypackage.my_backend`) is imported as it stands. What
is judged (workloads, scenarios) and what changes a variant (optimizations) may not: the verdict knows its own alone.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import cast

from common import names as spelling
from common.errors import UsageError
from common.files import digest_of, sha256_file
from reference_models.base import Workload
from scenarios.base import Backend

SOURCE_SUFFIXES = frozenset({".py", ".so", ".json", ".toml"})
NOT_PLUGINS = {"base", "harness", "datasets"}
BACKEND_MEMBERS = ("FORMATS", "ELIGIBLE", "OPTIONS", "version", "devices", "load")


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
    module = _import_foreign(name) if "." in name else load("suite.backends", "backend", name)
    _require(module, "backend", BACKEND_MEMBERS)
    return cast(Backend, module)


def workload(name: str) -> Workload:
    """Returns a workload; raises UsageError if there is none of that name, or the module has none."""
    module = load("reference_models", "workload", name)
    _require(module, "workload", ("WORKLOAD",))
    return cast(Workload, module.WORKLOAD)


def source_of(name: str) -> str | None:
    """Returns the digest of the sources of a backend from outside the tree, None for one of the folder.

    Those are the files of its top package, or, where that is a mere folder, of the folder that its module is in.
    """
    if "." not in name:
        return None
    top = importlib.import_module(name.partition(".")[0])
    origin = getattr(top, "__file__", None) or importlib.import_module(name).__file__
    folder = Path(str(origin)).parent
    files = sorted(path for path in folder.rglob("*") if path.suffix in SOURCE_SUFFIXES and path.is_file())
    return digest_of([[str(path.relative_to(folder)), sha256_file(path)] for path in files])


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
