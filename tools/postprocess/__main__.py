"""Tells what cheaper post-processing of a detector's boxes gains in its own speed, and costs in mAP.

    python -m tools.postprocess --annotations instances.json --candidates raw.json score=0.3 keep=20 nms=fast nms=none

`raw.json`: every candidate box before suppression, as COCO's results (image_id, category_id, bbox, score). Each variant
is the reference with what it changes of score, iou, top, keep and nms, and takes turns with it in blocks of four; the
loss of mAP is certified by a paired bootstrap over images (accuracy_scripts.certify). It is the speed of
post-processing alone, in numpy on one core: no throughput of a system, and nothing that counts.
Exit codes: 0 all are certified, 1 some are not, 2 the command or its files were wrong.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from accuracy_scripts import bootstrap, detection
from accuracy_scripts.paired import CERTIFIED, UNKNOWN, Certificate
from common.errors import UsageError
from common.files import canonical_json
from common.flags import new_flags, run
from suite.probes import contest
from suite.progress import say
from tools.postprocess import steps
from tools.postprocess.steps import Candidates, Steps

# Turns of so many seconds, in five to eight blocks, until the interval is within 3 % of its ratio.
SECONDS, LEAST, MOST, WIDTH = 0.25, 5, 8, 0.03

FLAGS = new_flags()
ANNOTATIONS = flags.DEFINE_string("annotations", None, "COCO's instances file", required=True, flag_values=FLAGS)
CANDIDATES = flags.DEFINE_string(
    "candidates", None, "boxes before suppression, as COCO's results", required=True, flag_values=FLAGS
)
REFERENCE = flags.DEFINE_string("reference", "", "steps of the reference that are not the default", flag_values=FLAGS)
FACTOR = flags.DEFINE_float("factor", 0.99, "share of the reference's mAP to be kept", flag_values=FLAGS)
JSON = flags.DEFINE_bool("json", False, "print one JSON object", flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Prints a line for each variant."""
    if not arguments:
        raise UsageError("Name a variant or more, such as score=0.3, keep=20, nms=fast or nms=none.")
    if not 0 < FACTOR.value < 1:
        raise UsageError(f"--factor is {FACTOR.value:g}; it is a share between 0 and 1, as in 0.99.")
    base = steps.parse(REFERENCE.value, Steps()) if REFERENCE.value else Steps()
    variants = {text: steps.parse(text, base) for text in arguments}
    instances = detection.instances(Path(ANNOTATIONS.value))
    boxes = detection.results(Path(CANDIDATES.value), {one["id"] for one in instances["images"]})
    images = _by_image(boxes)
    with tempfile.TemporaryDirectory(prefix="tandem-postprocess-") as folder:
        found = [_against(text, one, base, images, boxes, Path(folder)) for text, one in variants.items()]
    if JSON.value:
        print(canonical_json({"candidates": len(boxes), "images": len(images), "variants": found}), end="")
    else:
        print("\n".join(_lines(found, base, len(boxes), len(images))))
    return 0 if all(one["outcome"] == CERTIFIED for one in found) else 1


def _by_image(boxes: Sequence[dict[str, Any]]) -> dict[int, tuple[Candidates, list[int]]]:
    """Returns each image's candidates, with their places among all boxes."""
    places: dict[int, list[int]] = {}
    for place, one in enumerate(boxes):
        places.setdefault(one["image_id"], []).append(place)
    return {image: (_candidates([boxes[place] for place in own]), own) for image, own in places.items()}


def _candidates(boxes: Sequence[dict[str, Any]]) -> Candidates:
    corners = np.array([one["bbox"] for one in boxes], np.float64)
    corners[:, 2:] += corners[:, :2]
    return Candidates(
        corners,
        np.array([one["score"] for one in boxes], np.float64),
        np.array([one["category_id"] for one in boxes], np.int64),
    )


def _against(
    text: str,
    variant: Steps,
    base: Steps,
    images: dict[int, tuple[Candidates, list[int]]],
    boxes: Sequence[dict[str, Any]],
    folder: Path,
) -> dict[str, Any]:
    """Returns what a variant gains and costs beside the reference, as JSON-like values."""
    say(f"postprocess: {text}")
    ours, theirs = (_detections(one, images, boxes) for one in (base, variant))
    if not ours or not theirs:
        raise UsageError(f"{'The reference' if not ours else text} leaves no detection at all. Lower its score.")
    files = folder / "reference.json", folder / "variant.json"
    for path, found in zip(files, (ours, theirs), strict=True):
        path.write_text(canonical_json(found), encoding="utf-8")
    apart = detection.compare(Path(ANNOTATIONS.value), files)
    why = bootstrap.too_few(apart, "images", of_matches=ours != theirs)
    margin = (1 - FACTOR.value) * apart.reference
    # The same detections lose nothing, however few there are.
    same = Certificate(margin, CERTIFIED, 0) if ours == theirs else None
    certificate = same or (Certificate(margin, UNKNOWN, -1) if why else bootstrap.certify(apart, margin))
    rate = steps.rate([one for one, _ in images.values()], SECONDS, time.perf_counter)
    turns = contest.blocks(lambda: contest.block(base, variant, rate), LEAST, MOST, WIDTH)
    return {
        "variant": text,
        "ratio": contest.ratio(turns),
        "interval_95": list(contest.interval(turns, LEAST) or ()),
        "detections": len(theirs),
        "reference_detections": len(ours),
        "map": apart.variant,
        "reference_map": apart.reference,
        "difference_95": [apart.low, apart.high],
        "outcome": certificate.outcome,
        "reason": "" if same else why.removeprefix(": "),
        "margin": margin,
    }


def _detections(
    one: Steps, images: dict[int, tuple[Candidates, list[int]]], boxes: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    return [boxes[own[place]] for found, own in images.values() for place in steps.chosen(found, one)]


def _lines(found: Sequence[dict[str, Any]], base: Steps, boxes: int, images: int) -> list[str]:
    first, width = found[0], max(12, *(len(one["variant"]) + 2 for one in found))
    shown = ",".join(f"{key}={value}" for key, value in vars(base).items())
    reference = f"{shown}: {first['reference_detections']:,} detections, mAP {first['reference_map']:.4f}"
    return [
        f"{boxes:,} candidates in {images:,} images; post-processing alone, which counts for no system",
        f"{'reference':<{width}}{reference}",
        *(f"{one['variant']:<{width}}{_gain(one)}, {_cost(one)}" for one in found),
    ]


def _gain(one: dict[str, Any]) -> str:
    low, high = one["interval_95"]
    return f"{one['ratio']:.2f} times ({low:.2f} to {high:.2f}), {one['detections']:,} detections"


def _cost(one: dict[str, Any]) -> str:
    low, high = one["difference_95"]
    apart = f"{one['map'] - one['reference_map']:+.4f} ({low:+.4f} to {high:+.4f})"
    why = f": {one['reason']}" if one["reason"] else ""
    return f"mAP {one['map']:.4f}, {apart}, {one['outcome']}{why}; allowed is a loss of {one['margin']:.4f}"


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="VARIANT ..."))
