"""together: both runs are of one system on one machine, on the data of our own source."""

from typing import Any

from common.errors import TandemError
from suite import variant
from suite.law.base import Check, Pair, judged

NAME = "together"

# By what they are called for people, where they stand in the record.
EQUAL = {
    "workload": ("workload", "name"),
    "dataset": ("workload", "dataset_sha256"),
    "preprocessing": ("workload", "preprocessing"),
    "variant": ("variant", "id"),
    "model": ("variant", "model", "sha256"),
    "options": ("variant", "options"),
    "backend": ("backend", "name"),
    "backend version": ("backend", "version"),
    "device": ("backend", "device"),
    "scenario": ("scenario",),
    "serving": ("serving",),
    "sources": ("source_sha256",),
    "machine": ("fingerprint",),
    "profile": ("profile",),
}


def check(pair: Pair) -> Check:
    """Judges what must be equal; mode, load hints, durations, attempt, the log's seed and times may differ."""
    faults = [f"the {mode} run is of mode {run.mode}" for mode, run in pair.runs if run.mode != mode]
    for name, path in EQUAL.items():
        faults += _unequal(name, pair.performance.get(*path), pair.accuracy.get(*path))
    faults += _foreign(pair) + _renamed(pair)
    versions = {run.result.loadgen_version for _, run in pair.runs if run.result is not None}
    if len(versions) > 1:
        faults.append("LoadGen's version differs")
    return judged(NAME, faults, f"same {', '.join(EQUAL)}")


def _unequal(name: str, performance: Any, accuracy: Any) -> list[str]:
    if performance is None or accuracy is None:
        return [f"{name} is missing"]
    if performance == accuracy:
        return []
    if isinstance(performance, dict) and isinstance(accuracy, dict):
        keys = [key for key in sorted({*performance, *accuracy}) if performance.get(key) != accuracy.get(key)]
        parts = [f"{key}: {_short(performance.get(key))} and {_short(accuracy.get(key))}" for key in keys]
        return [f"{name} differs ({', '.join(parts)})"]
    return [f"{name} differs ({_short(performance)} and {_short(accuracy)})"]


def _short(value: Any) -> str:
    said = str(value)
    return said if len(said) <= 40 else f"{said[:37]}..."


def _foreign(pair: Pair) -> list[str]:
    """Names what the records say of the workload and our own source does not."""
    known = {
        "workload": (("workload", "name"), pair.facts.workload),
        "dataset": (("workload", "dataset_sha256"), pair.facts.dataset_sha256),
        "preprocessing": (("workload", "preprocessing"), pair.facts.preprocessing),
    }
    return [
        f"the {mode} run's {name} is {_short(run.get(*path))}, the source's is {_short(wanted)}"
        for mode, run in pair.runs
        for name, (path, wanted) in known.items()
        if run.get(*path) is not None and run.get(*path) != wanted
    ]


def _renamed(pair: Pair) -> list[str]:
    """Names a variant that its record's parts do not make: its id is their digest."""
    faults = []
    for mode, run in pair.runs:
        try:
            variant.check_record(run.get("variant") or {})
        except TandemError as error:
            faults.append(f"{mode} run: {error}")
        for name, path in (("workload", ("workload", "name")), ("backend", ("backend", "name"))):
            if run.get("variant", name) != run.get(*path):
                faults.append(f"{mode} run: the variant's {name} is {run.get('variant', name)}, not {run.get(*path)}")
    return faults
