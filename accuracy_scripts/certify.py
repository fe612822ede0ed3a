"""Certifies that a variant's score is within a margin of its reference's, on the same samples.

    python -m accuracy_scripts.certify --reference fp32-f1.json --variant int8-f1.json
    python -m accuracy_scripts.certify --metric mAP --annotations instances.json \\
        --reference fp32.json --variant int8.json

mAP: detections in COCO's format. mean: scores of samples from 0 to 1, such as F1 or ROUGE, as {"sample": score, ...}.
The outcome is certified, regression certified, or cannot tell; only the first exits with 0.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from accuracy_scripts import bootstrap, detection
from accuracy_scripts.bootstrap import Difference
from accuracy_scripts.paired import CERTIFIED, CONFIDENCE, UNKNOWN, Certificate
from common.errors import UsageError
from common.files import canonical_json
from common.flags import new_flags, run

MAP, MEAN = "mAP", "mean"

FLAGS = new_flags()
METRIC = flags.DEFINE_enum("metric", MEAN, [MAP, MEAN], "what is compared", flag_values=FLAGS)
ANNOTATIONS = flags.DEFINE_string("annotations", "", "mAP: COCO's instances file", flag_values=FLAGS)
REFERENCE = flags.DEFINE_string("reference", None, "the reference's file", required=True, flag_values=FLAGS)
VARIANT = flags.DEFINE_string("variant", None, "the variant's file", required=True, flag_values=FLAGS)
FACTOR = flags.DEFINE_float("factor", 0.99, "share of the reference's score to be kept", flag_values=FLAGS)
DRAWS = flags.DEFINE_integer(
    "draws", bootstrap.DRAWS, "draws of the bootstrap", lower_bound=200, upper_bound=100_000, flag_values=FLAGS
)
JSON = flags.DEFINE_bool("json", False, "print one JSON object", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Prints the difference and the certificate."""
    if not 0 < FACTOR.value < 1:
        raise UsageError(f"--factor is {FACTOR.value:g}; it is a share between 0 and 1, as in 0.99.")
    if bool(ANNOTATIONS.value) != (METRIC.value == MAP):
        raise UsageError("--annotations is for --metric mAP, which needs it.")
    files = Path(REFERENCE.value), Path(VARIANT.value)
    found = _of_detections(*files) if METRIC.value == MAP else _of_means(*files)
    margin = (1 - FACTOR.value) * found.reference
    # Means have a width however few samples differ.
    why = bootstrap.too_few(found, _units(), of_matches=METRIC.value == MAP)
    certificate = Certificate(margin, UNKNOWN, -1) if why else bootstrap.certify(found, margin)
    if JSON.value:
        print(canonical_json(_record(found, certificate, why)), end="")
    else:
        print("\n".join(_lines(found, certificate, why)))
    return 0 if certificate.outcome == CERTIFIED else 1


def _of_detections(reference: Path, variant: Path) -> Difference:
    return detection.compare(Path(ANNOTATIONS.value), (reference, variant), DRAWS.value)


def _of_means(reference: Path, variant: Path) -> Difference:
    ours, theirs = _scores(reference), _scores(variant)
    if ours.keys() != theirs.keys():
        name = min(ours.keys() ^ theirs.keys())
        has, lacks = (reference, variant) if name in ours else (variant, reference)
        raise UsageError(f"{has} has a score of sample {name!r} and {lacks} none. Both need the same samples.")
    names = sorted(ours)
    return bootstrap.of_means(_array(ours, names), _array(theirs, names), DRAWS.value)


def _scores(path: Path) -> dict[str, float]:
    found = detection.read_json(path)
    if not isinstance(found, dict) or not found:
        raise UsageError(f'{path} holds no scores; they are one JSON object, as in {{"sample-1": 0.75}}.')
    for name, score in found.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise UsageError(f"{path} has {score!r} for sample {name!r}; a score is a number from 0 to 1.")
    return found


def _array(scores: dict[str, float], names: list[str]) -> NDArray[np.float64]:
    return np.array([scores[name] for name in names], np.float64)


def _record(found: Difference, certificate: Certificate, why: str) -> dict[str, Any]:
    return {
        "metric": METRIC.value,
        "reference": found.reference,
        "variant": found.variant,
        "difference": found.value,
        "low_95": found.low,
        "high_95": found.high,
        "samples": found.samples,
        "differing": found.differing,
        "margin": certificate.margin,
        "outcome": certificate.outcome,
        "reason": why.removeprefix(": "),
        "more_samples": max(0, certificate.more_samples),
    }


def _units() -> str:
    return "images" if METRIC.value == MAP else "samples"


def _lines(found: Difference, certificate: Certificate, why: str) -> list[str]:
    what = _units()
    more = f"; about {certificate.more_samples:,} more {what} would" if certificate.more_samples > 0 else ""
    return [
        f"{METRIC.value:<12}reference {found.reference:.4f}, variant {found.variant:.4f}: {found.value:+.4f} "
        f"({100 * CONFIDENCE:g} % {found.low:+.4f} to {found.high:+.4f})",
        f"{what:<12}{found.samples:,}, of which {found.differing:,} differ; paired bootstrap of {DRAWS.value:,} draws",
        f"{'certificate':<12}{certificate.outcome}{why or more}; allowed is a loss of {certificate.margin:.4f}, "
        f"{100 * (1 - FACTOR.value):.3g} % of the reference's",
    ]


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
