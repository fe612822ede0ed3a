"""Tells what cheaper post-processing of a detector's boxes gains in its own speed, and costs in mAP: what a
variant changes of score=, iou=, top=, keep= and nms=by-class|all-classes|fast|none, as in score=0.3,keep=20.

    python -m tools.postprocess --annotations instances.json --candidates raw.json score=0.3 keep=20 nms=fast nms=none

`raw.json`: every candidate box before suppression, as COCO's results (image_id, category_id, bbox, score). Each variant
is the reference with what it changes of score, iou, top, keep and nms, and takes turns with it in blocks of four; the
loss of mAP is certified by a paired bootstrap over images (accuracy_scripts.certify). It is the speed of
post-processing alone, in numpy on one core: no throughput of a system, and nothing that counts.
Exit codes: 0 all are certified, 1 some are not, 2 the command or its files were wrong.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from accuracy_scripts import bootstrap, detection
from accuracy_scripts.paired import CERTIFIED, UNKNOWN, Certificate
from common.errors import UsageError
from common.files import canonical_json
from common.flags import new_flags, run
from reference_models.suppression import Steps
from suite.probes import contest
from suite.progress import say
from tools.postprocess import steps
from tools.postprocess.steps import Candidates

# Turns of so many seconds, over as many images as the reference does in them, in five to eight blocks, until the
# interval is within 3 % of its ratio.
SECONDS, LEAST, MOST, WIDTH = 0.25, 5, 8, 0.03

# Each image's candidates, with their places among all boxes.
Images = Sequence[tuple[Candidates, list[int]]]

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
    variants = {"the reference": base} | {text: steps.parse(text, base) for text in arguments}
    instances = detection.instances(Path(ANNOTATIONS.value))
    boxes = detection.results(Path(CANDIDATES.value), {one["id"] for one in instances["images"]})
    images = _by_image(boxes)
    kept = {text: _detections(one, images, boxes) for text, one in variants.items()}
    if nothing := next((text for text, found in kept.items() if not found), None):
        raise UsageError(f"{nothing} leaves no detection at all. Give it a lower score.")
    timed = steps.timed_on([one for one, _ in images], base, SECONDS, time.perf_counter)
    ours = kept.pop("the reference")
    found = []
    for text, theirs in kept.items():
        say(f"postprocess: {text}")
        turns = contest.blocks(
            partial(contest.block, base, variants[text], steps.rate(timed, SECONDS, time.perf_counter)),
            LEAST,
            MOST,
            WIDTH,
        )
        found.append({"variant": text, **_gained(turns), "detections": len(theirs), **_lost(ours, theirs)})
    about = {
        "reference": asdict(base),
        "reference_detections": len(ours),
        "candidates": len(boxes),
        "images": len(images),
        "images_timed": len(timed),
        "factor": FACTOR.value,
    }
    if JSON.value:
        print(canonical_json({**about, "variants": found}), end="")
    else:
        print("\n".join(_lines(about, found)))
    return 0 if all(one["outcome"] == CERTIFIED for one in found) else 1


def _by_image(boxes: Sequence[dict[str, Any]]) -> list[tuple[Candidates, list[int]]]:
    """Returns each image's candidates, with their places among all boxes."""
    places: dict[int, list[int]] = {}
    for place, one in enumerate(boxes):
        places.setdefault(one["image_id"], []).append(place)
    numbers = {category: number for number, category in enumerate(sorted({one["category_id"] for one in boxes}))}
    return [(_candidates([boxes[place] for place in own], numbers), own) for own in places.values()]


def _candidates(boxes: Sequence[dict[str, Any]], numbers: Mapping[int, int]) -> Candidates:
    corners = np.array([one["bbox"] for one in boxes], np.float64)
    corners[:, 2:] += corners[:, :2]
    return Candidates(
        corners,
        np.array([one["score"] for one in boxes], np.float64),
        np.array([numbers[one["category_id"]] for one in boxes], np.int64),
    )


def _detections(one: Steps, images: Images, boxes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [boxes[own[place]] for found, own in images for place in steps.chosen(found, one)]


def _gained(turns: Sequence[contest.Block]) -> dict[str, Any]:
    return {"ratio": contest.ratio(turns), "interval_95": list(contest.interval(turns, LEAST) or ())}


def _lost(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what detections lose beside the reference's, as JSON-like values."""
    with tempfile.TemporaryDirectory(prefix="tandem-postprocess-") as folder:
        files = Path(folder) / "reference.json", Path(folder) / "variant.json"
        for path, found in zip(files, (ours, theirs), strict=True):
            path.write_text(json.dumps(found), encoding="utf-8")
        apart = detection.compare(Path(ANNOTATIONS.value), files)
    if not apart.reference:
        raise UsageError(
            f"The reference's mAP is 0, so that nothing can be lost. Are the boxes of {CANDIDATES.value} x, y, width "
            "and height, and its categories those of the instances file?"
        )
    margin = (1 - FACTOR.value) * apart.reference
    # The same detections lose nothing, however few there are.
    why = "" if ours == theirs else bootstrap.too_few(apart, "images", of_matches=True)
    told = Certificate(margin, UNKNOWN, -1) if why else bootstrap.certify(apart, margin)
    return {
        "map": apart.variant,
        "reference_map": apart.reference,
        "difference_95": [apart.low, apart.high],
        "differing_images": apart.differing,
        "outcome": CERTIFIED if ours == theirs else told.outcome,
        "reason": why.removeprefix(": "),
        "more_images": max(0, told.more_samples),
        "margin": margin,
    }


def _lines(about: Mapping[str, Any], found: Sequence[dict[str, Any]]) -> list[str]:
    width = max(12, *(len(one["variant"]) + 2 for one in found))
    shown = ",".join(f"{key}={value}" for key, value in about["reference"].items())
    reference = f"{shown}: {about['reference_detections']:,} detections, mAP {found[0]['reference_map']:.4f}"
    return [
        f"{about['candidates']:,} candidates in {about['images']:,} images, {about['images_timed']:,} of them timed; "
        "post-processing alone, which counts for no system",
        f"{'reference':<{width}}{reference}",
        *(f"{one['variant']:<{width}}{_gain(one)}, {_cost(one)}" for one in found),
    ]


def _gain(one: dict[str, Any]) -> str:
    low, high = one["interval_95"]
    return f"{one['ratio']:.2f} times ({low:.2f} to {high:.2f}), {one['detections']:,} detections"


def _cost(one: dict[str, Any]) -> str:
    low, high = one["difference_95"]
    apart = f"{one['map'] - one['reference_map']:+.4f} ({low:+.4f} to {high:+.4f})"
    more = f": about {one['more_images']:,} more images would" if one["more_images"] else ""
    why = f": {one['reason']}" if one["reason"] else more
    return f"mAP {one['map']:.4f}, {apart}, {one['outcome']}{why}; allowed is a loss of {one['margin']:.4f}"


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="VARIANT ..."))
