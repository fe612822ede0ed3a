"""finished: both runs came to their end, without an error, and every sample that was issued was completed."""

from suite.evidence import Evidence
from suite.law.base import Check, Pair, judged, whole

NAME = "finished"

# Of many faults the first few say what happened.
SHOWN = 3


def check(pair: Pair) -> Check:
    """Judges both runs."""
    faults = [f"{mode} run: {fault}" for mode, run in pair.runs for fault in faults_of(run)]
    counts = " and ".join(f"{_completed(run)} samples in the {mode} run" for mode, run in pair.runs)
    return judged(NAME, faults, f"no error; {counts}")


def _completed(run: Evidence) -> str:
    found = whole(run.get("sut", "samples_completed"))
    return "?" if found is None else f"{found:,}"


def faults_of(run: Evidence) -> list[str]:
    """Returns why one run did not finish properly."""
    faults = list(run.problems)
    if run.get("state") != "finished":
        faults.append(f"its state is {run.get('state')!r}: {run.get('reason')}")
    faults += _recorded(run)
    if run.result is not None:
        if not run.result.finished:
            faults.append("LoadGen's logs lack their end")
        if run.result.error_count:
            said = f": {run.result.errors[0]}" if run.result.errors else ""
            faults.append(f"LoadGen counted {run.result.error_count} errors{said}")
        faults += _counts(run)
    return faults


def _recorded(run: Evidence) -> list[str]:
    """Returns the faults that the SUT recorded."""
    found = run.get("sut", "faults")
    if not isinstance(found, list):
        return ["its record holds no list of the SUT's faults"]
    more = [f"and {len(found) - SHOWN} faults more"] if len(found) > SHOWN else []
    shown = (fault if isinstance(fault, dict) else {"kind": "fault", "detail": fault} for fault in found[:SHOWN])
    return [f"{fault.get('kind')}: {fault.get('detail')}" for fault in shown] + more


def _counts(run: Evidence) -> list[str]:
    """Returns where samples issued, completed and reported are not equal; a run without samples has none to report."""
    seen = {
        "issued by the SUT's record": whole(run.get("sut", "samples_issued")),
        "completed by the SUT's record": whole(run.get("sut", "samples_completed")),
        "reported by LoadGen": reported_samples(run),
    }
    if run.timeline is not None:
        seen |= {
            "issued by the timeline": run.timeline.issued,
            "completed by the timeline": run.timeline.completed,
        }
    if len(set(seen.values())) == 1 and all(seen.values()):
        return []
    return ["samples differ: " + ", ".join(f"{count} {who}" for who, count in seen.items())]


def reported_samples(run: Evidence) -> int | None:
    """Returns how many samples LoadGen says that a test had, or None where it does not say."""
    if run.result is None:
        return None
    if run.result.mode == "AccuracyOnly":
        return whole(run.result.number("effective_accuracy_sample_count"))
    queries = whole(run.result.number("result_query_count"))
    each = whole(run.result.number("generated_samples_per_query"))
    return None if queries is None or each is None else queries * each
