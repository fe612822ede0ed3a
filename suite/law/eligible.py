"""eligible: the backend is a real one, and the variant not emulated: what is called quantized did not run in FP32."""

from collections.abc import Mapping

from common.errors import TandemError
from suite import recipes
from suite.evidence import lookup
from suite.law.base import Check, Pair, judged

NAME = "eligible"

# Whatever a record says of itself: these answer without running a model.
NEVER = frozenset({"null", "simulated"})

# Of arithmetic that ran: that of the reference. Float32 beside integer weights is another.
UNQUANTIZED = frozenset({"float32", "float64"})


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
        try:
            if emulates(str(run.get("variant", "recipe") or ""), lookup(run.preparation, "arithmetic")):
                faults.append(
                    f"{mode} run: it is quantized, and nothing shows that it multiplied in anything but float32"
                )
        except TandemError as error:
            faults.append(f"{mode} run: its recipe cannot be read: {error}")
    return judged(NAME, faults, f"a real model on {pair.performance.get('backend', 'name')}")


def emulates(recipe: str, arithmetic: object) -> bool:
    """Tells whether a quantized variant is not known to have multiplied in anything but float32 (suite.arithmetic)."""
    quantized = any(step.startswith("quantize") for step in recipes.made_by(recipe))
    labels = [str(label) for label in arithmetic] if isinstance(arithmetic, Mapping) else []
    return quantized and all(label.partition(" on ")[0] in UNQUANTIZED for label in labels)
