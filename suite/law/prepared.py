"""prepared: what was measured before each run belongs to it, an export computes what its reference does, and the model
was made of it as the recipe says."""

from collections.abc import Iterator
from typing import Any

from scenarios.harness.logs import finite
from suite import recipes
from suite.artifacts import EXPORT_FORMAT, EXPORTED
from suite.evidence import Evidence, lookup
from suite.export import COMPARED_SAMPLES, TOLERANCE
from suite.law.base import Check, Facts, Pair, judged, whole

NAME = "prepared"

# Within the tolerance only an answer whose two best classes lie closer than twice it can change, or a detection that is
# as near to being shown: of the samples compared hardly ever one.
MOST_CHANGED = 1

# By what they are called for people: where they stand in the preparation, and where in the record.
EQUAL = {
    "variant": (("variant_id",), ("variant", "id")),
    "backend version": (("backend_version",), ("backend", "version")),
    "sources": (("source_sha256",), ("source_sha256",)),
    "machine": (("fingerprint",), ("fingerprint",)),
}


def check(pair: Pair) -> Check:
    """Judges the preparation and the environment of both runs, each by its own record."""
    faults = [f"{mode} run: {fault}" for mode, run in pair.runs for fault in _faults(run, pair.facts)]
    return judged(NAME, faults, f"the same {', '.join(EQUAL)} as each run; {_exported(pair)}")


def _faults(run: Evidence, facts: Facts) -> Iterator[str]:
    for name, (there, here) in EQUAL.items():
        found, wanted = lookup(run.preparation, *there), run.get(*here)
        if found is None or found != wanted:
            yield f"its preparation {'names no' if found is None else 'is of another'} {name}"
    found = lookup(run.environment, "fingerprint")
    if found is None or found != run.get("fingerprint"):
        yield f"its environment {'names no' if found is None else 'is of another'} machine"
    yield from _version(run)
    if _from_export(run):
        yield from _artifact(lookup(run.preparation, "artifact_check"), facts)
    yield from _made(run)


def _version(run: Evidence) -> Iterator[str]:
    """Yields a backend's version that is not that of its package; onnxruntime's may be the one for GPUs."""
    name, said = str(run.get("backend", "name")), run.get("backend", "version")
    installed = [run.get("fingerprint", "packages", package) for package in (name, f"{name}-gpu")]
    installed = [version for version in installed if version is not None]
    if installed and said not in installed:
        yield f"its backend is {name} {said}, and {name} {installed[0]} was installed"


def _from_export(run: Evidence) -> bool:
    """Tells whether the model is an export of the reference, or was made of one."""
    return bool(run.get("variant", "model", "format") == EXPORT_FORMAT)


def _made(run: Evidence) -> Iterator[str]:
    """Yields where the model was not made of the reference by just the steps that its recipe names, in their order."""
    chain, recipe = run.get("variant", "model", "chain"), run.get("variant", "recipe")
    begin = 2 if _from_export(run) else 1
    if not isinstance(chain, list) or len(chain) < begin or not isinstance(recipe, str):
        yield "its record does not say how its model was made"
        return
    if _from_export(run) and not str(chain[1]).startswith(EXPORTED):
        yield f"its model was made of {chain[1]!r}, and not of an export of the reference"
    steps, said = recipes.chained_by(recipe), chain[begin:]
    if len(said) != len(steps) or any(
        str(one).split(", by ")[0] != step for one, step in zip(said, steps, strict=True)
    ):
        yield f"its model was made by {said or 'no step'}, and its recipe says {steps or 'none'}"


def _artifact(found: Any, facts: Facts) -> Iterator[str]:
    """Yields where an export was not compared with its reference, or is too far from it by our own tolerance."""
    samples, changed = whole(lookup(found, "samples")), whole(lookup(found, "changed_answers"))
    worst = finite(lookup(found, "max_abs_difference"))
    least = min(COMPARED_SAMPLES, facts.total)
    if samples is None or changed is None or worst is None or samples < least:
        yield f"its preparation does not hold the export's comparison with the reference on {least} samples"
    elif not 0 <= worst <= TOLERANCE:
        yield f"its export differs from the reference by up to {worst:.3g}, allowed {TOLERANCE:g}"
    elif changed > MOST_CHANGED:
        yield f"its export answers {changed} of {samples} samples otherwise than the reference, allowed {MOST_CHANGED}"


def _exported(pair: Pair) -> str:
    found = lookup(pair.performance.preparation, "artifact_check")
    worst = finite(lookup(found, "max_abs_difference"))
    if not _from_export(pair.performance) or worst is None:
        return "no export of the reference to compare"
    return f"the export is within {worst:.1e} of the reference"
