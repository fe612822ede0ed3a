"""Lists what there is, and what can run here, and why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import TandemError, UsageError
from common.files import canonical_json
from reference_models.base import Workload
from scenarios.base import Scenario
from suite import plugins, prepare, rules
from suite.parameters import shown

STALL_TIMEOUT_S = 120.0


def listing(as_json: bool, data_dir: Callable[[str], str]) -> str:
    """Returns workloads, backends, optimizations, scenarios and profiles, as text or as one JSON object.

    `data_dir` tells the folder of a dataset's files from its name.
    """
    found = {
        "workloads": [_workload(name, data_dir) for name in plugins.names("reference_models")],
        "backends": [_backend(name) for name in plugins.names("suite.backends")],
        "optimizations": [_optimization(name) for name in plugins.names("suite.optimizations")],
        "scenarios": [_scenario(name) for name in plugins.names("scenarios")],
        "profiles": [_profile(name) for name in rules.names()],
    }
    return canonical_json(found).rstrip() if as_json else _text(found)


def _first_line(module: Any) -> str:
    return str(module.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _workload(name: str, data_dir: Callable[[str], str]) -> dict[str, Any]:
    try:
        workload = plugins.workload(name)
        workload.open_dataset(Path(data_dir(workload.dataset_name)))
        about = _quality(workload)
    except UsageError as error:
        return {"name": name, "about": str(error), "runs_here": False}
    return {"name": name, "about": about, "runs_here": True}


def _quality(workload: Workload) -> str:
    return f"{workload.dataset_name}, {workload.metric} {workload.quality:.2f} %, target {workload.target:.2f} %"


def _backend(name: str) -> dict[str, Any]:
    """Asks the backend in a process of its own: a runtime, once loaded, keeps threads and devices."""
    eligible = plugins.backend(name).ELIGIBLE
    try:
        answer = prepare.call("devices", {"backend": name}, STALL_TIMEOUT_S, f"asking {name}", quiet=True)
    except TandemError as error:
        return {"name": name, "about": str(error), "runs_here": False}
    about = f"{answer['version']} on {', '.join(answer['devices'])}" + ("" if eligible else "; can never count")
    return {"name": name, "about": about, "runs_here": True}


def _optimization(name: str) -> dict[str, Any]:
    module: Any = plugins.load("suite.optimizations", "optimization", name)
    parameters = "; ".join(f"{key}={shown(values)}" for key, values in module.PARAMETERS.items())
    return {"name": name, "about": f"{_first_line(module)} ({parameters})", "runs_here": True}


def _scenario(name: str) -> dict[str, Any]:
    module: Any = plugins.load("scenarios", "scenario", name)
    scenario: Scenario = module
    return {"name": name, "about": f"{_first_line(module)} (load hint in {scenario.HINT_UNIT})", "runs_here": True}


def _profile(name: str) -> dict[str, Any]:
    profile = rules.load(name)
    seconds = profile.scenarios["offline"].min_duration_ms / 1000
    label = "may be submitted" if profile.submittable else "never submittable"
    return {"name": name, "about": f"{seconds:g} s of load and more; {label}", "runs_here": True}


def _text(found: dict[str, list[dict[str, Any]]]) -> str:
    width = max(len(entry["name"]) for entries in found.values() for entry in entries)
    lines = []
    for kind, entries in found.items():
        lines.append(kind)
        for entry in entries:
            mark = "  " if entry["runs_here"] else "- "
            lines.append(f"  {mark}{entry['name']:<{width}}  {entry['about']}")
    missing = any(not entry["runs_here"] for entries in found.values() for entry in entries)
    return "\n".join([*lines, *(["", "- cannot run here, for the reason given"] if missing else [])])
