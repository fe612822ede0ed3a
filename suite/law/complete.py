"""complete: the accuracy run answered every sample of the dataset exactly once, and well enough."""

from collections.abc import Mapping
from typing import Any

from accuracy_scripts.answers import in_index_order
from common.errors import TandemError
from scenarios.harness.logs import finite
from suite.evidence import Evidence
from suite.law.base import Check, Facts, Pair

NAME = "complete"


def check(pair: Pair) -> Check:
    """Judges the accuracy run's log, scored anew against the labels of our own source."""
    try:
        metrics = metrics_of(pair.accuracy, pair.facts)
    except TandemError as error:
        return Check(NAME, False, str(error))
    value, target = finite(metrics.get(pair.facts.metric)), pair.facts.target
    if value is None:
        return Check(NAME, False, f"the accuracy script gives no {pair.facts.metric}")
    said = f"{pair.facts.metric} {value:.3f} % of {pair.facts.total} samples, target {target:.3f} %"
    return Check(NAME, value >= target, said if value >= target else f"{said}: {target - value:.3f} points short")


def metrics_of(run: Evidence, facts: Facts) -> Mapping[str, Any]:
    """Returns the accuracy script's metrics of a run's log; raises TandemError where not all is answered once."""
    if run.answers is None:
        raise TandemError("the accuracy log cannot be read")
    return facts.judge.score(in_index_order(run.answers, facts.total, facts.payload_dtype), facts.truth)
