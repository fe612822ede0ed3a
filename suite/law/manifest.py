"""manifest: the evidence is as it was written. Part of `together`, with a code of its own since its remedy differs."""

from suite.law.base import Check, Pair, judged

NAME = "manifest"


def check(pair: Pair) -> Check:
    """Judges whether each file of both runs hashes to what the manifest says."""
    faults = [f"{mode} run: {fault}" for mode, run in pair.runs for fault in run.altered]
    return judged(NAME, faults, "every file is as it was written")
