"""eligible: the backend is a real one, and the variant is not emulated."""

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
    return judged(NAME, faults, f"a real model on {pair.performance.get('backend', 'name')}")
