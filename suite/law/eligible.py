"""eligible: the backend is a real one, and the variant is not emulated: what is called INT8 multiplied integers."""

from collections.abc import Mapping

from suite import recipes
from suite.evidence import Evidence, lookup
from suite.law.base import Check, Pair, judged

NAME = "eligible"

# Whatever a record says of itself: these answer without running a model.
NEVER = frozenset({"null", "simulated"})


def check(pair: Pair) -> Check:
    """Judges what whoever made the variant wrote of it, in both runs."""
    faults = []
    for mode, run in pair.runs:
        names = {str(run.get("variant", "backend")), str(run.get("backend", "name"))}
        if names & NEVER:
            faults.append(f"{mode} run: the backend {', '.join(sorted(names & NEVER))} can never count")
        elif run.get("variant", "eligible") is not True or run.get("variant", "not_eligible_because"):
            because = run.get("variant", "not_eligible_because") or "its record does not say that it is eligible"
            faults.append(f"{mode} run: {because}")
        if _emulates(run):
            faults.append(f"{mode} run: it is quantized, and all that it multiplied was in floating point: emulated")
    return judged(NAME, faults, f"a real model on {pair.performance.get('backend', 'name')}")


def _emulates(run: Evidence) -> bool:
    """Tells whether a quantized variant is known to have multiplied no integers (suite.arithmetic)."""
    quantized = any(step.startswith("quantize") for step in recipes.made_by(str(run.get("variant", "recipe") or "")))
    found = lookup(run.preparation, "arithmetic")
    return quantized and isinstance(found, Mapping) and not any("int" in str(label) for label in found)
