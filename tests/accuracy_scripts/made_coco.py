"""Images of made-up objects, and what two detectors found in them, in COCO's format."""

from typing import Any

import numpy as np

Found = list[dict[str, Any]]
CATEGORIES = (1, 3)
SIDE = 150


def made(images: int, seed: int, *, lost: float = 0.03, crowds: bool = False) -> tuple[dict[str, Any], Found, Found]:
    """Returns annotations, a reference's detections and those of a variant that loses so many of the right ones."""
    draw = np.random.default_rng(seed)
    objects: Found = []
    reference: Found = []
    variant: Found = []
    for image in range(1, images + 1):
        for place in range(int(draw.integers(1, 4))):
            category = int(draw.choice(CATEGORIES))
            box = [160.0 * place + 5, 40.0, *draw.uniform(60, SIDE, 2).tolist()]
            crowd = crowds and draw.random() < 0.1
            one = {"id": len(objects) + 1, "image_id": image, "category_id": category, "bbox": box}
            objects.append({**one, "area": box[2] * box[3], "iscrowd": int(crowd)})
            if draw.random() < 0.85:
                seen = _detection(draw, image, category, _near(draw, box, 6.0), 0.7)
                reference.append(seen)
                if draw.random() >= lost:
                    score = float(np.clip(seen["score"] + draw.normal(0, 0.02), 0, 1))
                    variant.append({**seen, "bbox": _near(draw, seen["bbox"], 1.0), "score": score})
        for _ in range(int(draw.poisson(0.7))):
            box = [*draw.uniform(0, 400, 2).tolist(), *draw.uniform(20, SIDE, 2).tolist()]
            wrong = _detection(draw, image, int(draw.choice(CATEGORIES)), box, 0.4)
            reference.append(wrong)
            variant.append(wrong)
    truth = {
        "images": [{"id": image, "width": 640, "height": 480} for image in range(1, images + 1)],
        "categories": [{"id": category, "name": str(category)} for category in CATEGORIES],
        "annotations": objects,
    }
    return truth, reference, variant


def _detection(draw: np.random.Generator, image: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    sure = float(np.clip(draw.normal(score, 0.15), 0, 1))
    return {"image_id": image, "category_id": category, "bbox": box, "score": sure}


def _near(draw: np.random.Generator, box: list[float], pixels: float) -> list[float]:
    return (np.array(box) + draw.normal(0, pixels, 4)).tolist()
