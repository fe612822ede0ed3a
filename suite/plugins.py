"""Finds plug-ins by name: the folder is the registry.

A name with a dot (`mypackage.my_backend`) is a plug-in from outside the tree and is imported as it stands.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType
from typing import cast

from common import names as spelling
from common.errors import UsageError
from reference_models.base import Workload
from scenarios.base import Backend

NOT_PLUGINS = {"base", "harness", "datasets"}
BACKEND_MEMBERS = ("FORMATS", "ELIGIBLE", "OPTIONS", "version", "devices", "load")


def names(package: str) -> tuple[str, ...]:
    """Returns the names of the plug-ins in a package, sorted, importing none of them."""
    found = (module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))
    return tuple(sorted(spelling.normal(name) for name in found if name not in NOT_PLUGINS and name[0] != "_"))


def load(package: str, kind: str, name: str) -> ModuleType:
    """Returns the plug-in's module; raises UsageError for an unknown name. `kind` is the word for error messages."""
    if "." in name:
        return _import_foreign(kind, name)
    known = names(package)
    if spelling.normal(name) not in known:
        raise spelling.unknown(kind, name, known)
    return importlib.import_module(f"{package}.{spelling.normal(name).replace('-', '_')}")


def backend(name: str) -> Backend:
    """Returns a backend; raises UsageError if there is none of that name, or the module is no backend."""
    module = load("suite.backends", "backend", name)
    _require(module, "backend", BACKEND_MEMBERS)
    return cast(Backend, module)


def workload(name: str) -> Workload:
    """Returns a workload; raises UsageError if there is none of that name, or the module has none."""
    module = load("reference_models", "workload", name)
    _require(module, "workload", ("WORKLOAD",))
    return cast(Workload, module.WORKLOAD)


def _import_foreign(kind: str, name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"The {kind} '{name}' is neither a name nor a dotted module path such as mypackage.my_{kind}.")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"The {kind} module '{name}' cannot be imported ({error}). "
            "Install its package, or run from the folder that holds it."
        ) from error


def _require(module: ModuleType, kind: str, members: Iterable[str]) -> None:
    missing = [member for member in members if not hasattr(module, member)]
    if missing:
        raise UsageError(f"The module '{module.__name__}' is no {kind}: it has no {', '.join(missing)}.")
