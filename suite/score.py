"""Scores an accuracy run again, from its log and its workload's labels.

    python -m suite.score RESULTS/accuracy

Exit codes: 0 the target is met, 1 it is not, or the evidence is damaged, 2 no such evidence.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import TandemError, UsageError
from common.files import canonical_json
from common.flags import new_flags, run
from suite.evidence import read
from suite.law import complete, finished
from suite.law.base import Facts
from suite.verdict import facts_for

FLAGS = new_flags()
JSON = flags.DEFINE_bool("json", False, "print one JSON object", flag_values=FLAGS)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "folder of the dataset's files (default: $TANDEM_DATA, else the cache)", flag_values=FLAGS
)


def main(arguments: list[str]) -> int:
    """Prints the score."""
    if len(arguments) != 1:
        raise UsageError("suite.score wants one folder: an accuracy run's.")
    evidence = read(Path(arguments[0]))
    if evidence.mode != "accuracy":
        raise UsageError(f"{evidence.folder} is a run of mode {evidence.mode}; give an accuracy run.")
    facts = facts_for(evidence, DATA_DIR.value, os.environ)
    faults = [*evidence.altered, *finished.faults_of(evidence)]
    metrics: Mapping[str, Any] | None = None
    try:
        metrics = complete.metrics_of(evidence, facts)
    except TandemError as error:
        faults.append(str(error))
    met = metrics is not None and metrics[facts.metric] >= facts.target
    print(_json(facts, metrics, met, faults) if JSON.value else _text(facts, metrics, met, faults))
    return 0 if met and not faults else 1


def _json(facts: Facts, metrics: Mapping[str, Any] | None, met: bool, faults: list[str]) -> str:
    record = {
        "schema": 1,
        "workload": facts.workload,
        "metrics": None if metrics is None else dict(metrics),
        "target_percent": facts.target,
        "met": met,
        "faults": faults,
    }
    return canonical_json(record).rstrip()


def _text(facts: Facts, metrics: Mapping[str, Any] | None, met: bool, faults: list[str]) -> str:
    lines = (
        f"{facts.metric} cannot be computed" if metrics is None else _score(facts, metrics),
        f"target {facts.target:.3f} %: {'met' if met else 'not met'}",
        *(f"damaged: {fault}" for fault in faults),
    )
    return "\n".join(lines)


def _score(facts: Facts, metrics: Mapping[str, Any]) -> str:
    interval = ""
    if {"low_95", "high_95"} <= metrics.keys():
        interval = f" (95 % interval {metrics['low_95']:.3f} to {metrics['high_95']:.3f} %)"
    return f"{facts.metric} {metrics[facts.metric]:.3f} %{interval} of {facts.total} samples"


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="ACCURACY"))
