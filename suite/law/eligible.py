"""eligible: the backend is a real one, and the variant not emulated: by its recipe, or quantized and run in FP32."""

from collections.abc import Iterator, Mapping

from common.errors import TandemError
from suite import recipes
from suite.evidence import Evidence, lookup
from suite.law.base import Check, Pair, judged

NAME = "eligible"

# Whatever a record says of itself: these answer without running a model.
NEVER = frozenset({"null", "simulated"})

# Of arithmetic that ran: that of the reference. Float32 beside integer weights is another.
UNQUANTIZED = frozenset({"float32", "float64"})


def check(pair: Pair) -> Check:
    """Judges what whoever made the variant wrote of it, and its recipe, in both runs."""
    faults = [f"{mode} run: {fault}" for mode, run in pair.runs for fault in faults_of(run)]
    return judged(NAME, faults, f"a real model on {pair.performance.get('backend', 'name')}")


def faults_of(run: Evidence) -> Iterator[str]:
    """Yields why a run can never count."""
    names = {str(run.get("variant", "backend")), str(run.get("backend", "name"))}
    because = run.get("variant", "not_eligible_because")
    if names & NEVER:
        yield f"the backend {', '.join(sorted(names & NEVER))} can never count"
    elif run.get("variant", "eligible") is not True or because:
        yield str(because or "its record does not say that it is eligible")
    recipe = str(run.get("variant", "recipe") or "")
    try:
        if recipes.emulated(recipe):
            if because != recipes.EMULATED:
                yield recipes.EMULATED
        elif emulates(recipe, lookup(run.preparation, "arithmetic")):
            yield "it is quantized, and nothing shows that it multiplied in anything but float32"
    except TandemError as error:
        yield f"its recipe cannot be read: {error}"


def emulates(recipe: str, arithmetic: object) -> bool:
    """Tells whether a variant's throughput is not that of the arithmetic that it is called by.

    By its recipe; or it is quantized, and not known to have multiplied in anything but float32 (suite.arithmetic).
    """
    quantized = any(step.startswith("quantize") for step in recipes.made_by(recipe))
    labels = [str(label) for label in arithmetic] if isinstance(arithmetic, Mapping) else []
    unquantized = all(label.partition(" on ")[0] in UNQUANTIZED for label in labels)
    return recipes.emulated(recipe) or (quantized and unquantized)
