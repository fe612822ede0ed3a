"""Compares a variant's accuracy with the reference's, sample by sample, from two accuracy runs.

    python -m tools.compare REFERENCE/accuracy VARIANT/accuracy

Certified is a loss that is less than the margin with 95 % confidence; the margin is what the workload's target allows.
Exit codes: 0 certified, 1 not, or the evidence is damaged, 2 no such evidence, or runs of different data.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from numpy.typing import NDArray

from accuracy_scripts.answers import in_index_order
from accuracy_scripts.paired import (
    CERTIFIED,
    CONFIDENCE,
    UNKNOWN,
    Certificate,
    Outcomes,
    SliceOutcome,
    certify,
)
from common.errors import TandemError, UsageError
from common.files import canonical_json
from common.flags import new_flags, run
from suite import plugins
from suite.evidence import Evidence, read
from suite.law import finished
from suite.law.base import Facts
from suite.verdict import facts_for

FLAGS = new_flags()
JSON = flags.DEFINE_bool("json", False, "print one JSON object", flag_values=FLAGS)
MARGIN = flags.DEFINE_float(
    "margin", None, "loss that is allowed, in points of accuracy (default: what the target allows)", flag_values=FLAGS
)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "folder of the dataset's files (default: $TANDEM_DATA, else the cache)", flag_values=FLAGS
)


def main(arguments: list[str]) -> int:
    """Prints the certificate, what changed, and the class that lost most."""
    if len(arguments) != 2:
        raise UsageError("tools.compare wants two folders: the reference's accuracy run, and the variant's.")
    if MARGIN.value is not None and not 0 < MARGIN.value < 100:
        raise UsageError(f"--margin is {MARGIN.value:g}; it is a number of points between 0 and 100.")
    reference, variant = (_accuracy_run(Path(argument)) for argument in arguments)
    facts = facts_for(reference, DATA_DIR.value, os.environ)
    _check_alike(reference, variant, facts)
    ours, theirs = (_answers(run, facts) for run in (reference, variant))
    outcomes, classes = facts.judge.compare(ours, theirs, facts.truth), facts.judge.by_class(ours, theirs, facts.truth)
    allowed = (1 - plugins.workload(facts.workload).target_factor) * outcomes.reference_share
    certificate = certify(outcomes, allowed if MARGIN.value is None else MARGIN.value / 100)
    names = tuple(str(run.get("variant", "recipe") or "reference") for run in (reference, variant))
    tell = _json if JSON.value else _text
    print(tell(facts, names, outcomes, certificate, classes))
    return 0 if certificate.outcome == CERTIFIED else 1


def _accuracy_run(folder: Path) -> Evidence:
    """Returns an accuracy run's evidence, given by its folder or by the one that holds both runs'."""
    evidence = read(folder / "accuracy" if (folder / "accuracy").is_dir() else folder)
    if evidence.mode != "accuracy":
        raise UsageError(f"{evidence.folder} is a run of mode {evidence.mode}; give an accuracy run.")
    faults = [*evidence.altered, *finished.faults_of(evidence)]
    if faults:
        raise TandemError(f"{evidence.folder} cannot be compared: {'; '.join(faults)}.")
    return evidence


def _check_alike(reference: Evidence, variant: Evidence, facts: Facts) -> None:
    for what, path in {
        "workload": ("workload", "name"),
        "dataset": ("workload", "dataset_sha256"),
        "preprocessing": ("workload", "preprocessing"),
    }.items():
        one, other = reference.get(*path), variant.get(*path)
        if one != other:
            raise UsageError(f"The runs are of another {what} each: {one} and {other}. Give two of the same.")
    if reference.get("workload", "dataset_sha256") != facts.dataset_sha256:
        raise UsageError(f"The runs are of another dataset than the one in the cache: {facts.dataset}.")


def _answers(run: Evidence, facts: Facts) -> NDArray[Any]:
    if run.answers is None:
        raise TandemError(f"The accuracy log of {run.folder} cannot be read.")
    return in_index_order(run.answers, facts.total, facts.payload_dtype)


def _text(
    facts: Facts, names: tuple[str, ...], outcomes: Outcomes, certificate: Certificate, classes: Sequence[SliceOutcome]
) -> str:
    ours, theirs = 100 * outcomes.reference_share, 100 * outcomes.variant_share
    low, high = (100 * end for end in outcomes.interval())
    worst = classes[0]
    errors = outcomes.error_ratio
    return "\n".join(
        (
            f"{facts.workload}, {outcomes.total:,} samples: {names[1]} against {names[0]}",
            "",
            f"  {facts.judge.TITLE:<12} {theirs:.2f} % against {ours:.2f} %: {100 * outcomes.difference:+.2f} points "
            f"({100 * CONFIDENCE:g} % {low:+.2f} to {high:+.2f}; p = {outcomes.p_value:.2g})",
            f"  changed      {outcomes.changed:,} answers ({100 * outcomes.changed / outcomes.total:.2f} %): "
            f"{outcomes.only_reference:,} right to wrong, {outcomes.only_variant:,} wrong to right, "
            f"{outcomes.swapped:,} wrong to wrong",
            *(
                (f"  errors       {errors[0]:.3f} times the reference's (95 % {errors[1]:.3f} to {errors[2]:.3f})",)
                if errors
                else ()
            ),
            f"  worst class  {worst.label}: {100 * worst.outcomes.difference:+.2f} points, "
            f"{worst.outcomes.total:,} {facts.judge.COUNTED} (all classes at once, {100 * CONFIDENCE:g} % "
            f"{100 * worst.low:+.2f} to {100 * worst.high:+.2f})",
            "",
            f"{_sentence(certificate)}",
        )
    )


def _sentence(certificate: Certificate) -> str:
    margin = f"{100 * certificate.margin:.2f} points"
    if certificate.outcome == CERTIFIED:
        return f"certified: it loses less than {margin}"
    if certificate.outcome != UNKNOWN:
        return f"regression certified: it loses more than {margin}"
    more = (
        f"about {certificate.more_samples:,} more samples would"
        if certificate.more_samples > 0
        else "the loss is just that"
    )
    return f"cannot tell whether it loses less than {margin}; {more}"


def _json(
    facts: Facts, names: tuple[str, ...], outcomes: Outcomes, certificate: Certificate, classes: Sequence[SliceOutcome]
) -> str:
    low, high = outcomes.interval()
    record = {
        "schema": 1,
        "workload": facts.workload,
        "reference": names[0],
        "variant": names[1],
        "outcomes": outcomes.counts,
        "metric": facts.metric,
        "reference_percent": 100 * outcomes.reference_share,
        "variant_percent": 100 * outcomes.variant_share,
        "difference": outcomes.difference,
        "low_95": low,
        "high_95": high,
        "p_value": outcomes.p_value,
        "margin": certificate.margin,
        "outcome": certificate.outcome,
        "more_samples": certificate.more_samples,
        "classes": [
            {
                "label": one.label,
                **one.outcomes.counts,
                "difference": one.outcomes.difference,
                "low_95": one.low,
                "high_95": one.high,
            }
            for one in classes
        ],
    }
    return canonical_json(record).rstrip()


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="REFERENCE VARIANT"))
