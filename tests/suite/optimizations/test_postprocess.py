"""Cheaper post-processing: the same model, other detections, told by the variant and judged like any other."""

from typing import Any

import numpy as np
import pytest

from accuracy_scripts import objects
from common.errors import UsageError
from reference_models.fashion_fcos.detections import REFERENCE
from reference_models.suppression import Steps
from suite import plugins, recipes
from suite.optimizations import postprocess
from suite.subject import Subject, describe
from suite.variant import Serving
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

FCOS = plugins.workload("fashion-fcos")
COUNT = 300


def subject(recipe: str, backend: str = "onnxruntime") -> Subject:
    chosen = loading.variant(backend, FCOS, recipe)
    return Subject.open(describe(FCOS.name, backend, chosen.model, dict(chosen.options), loading.data_folder(FCOS)))


def answers(recipe: str, backend: str = "onnxruntime") -> np.ndarray:
    opened = subject(recipe, backend)
    opened.dataset.load(range(COUNT))
    (session,) = opened.load(Serving(64, 0, 1, 1, "cpu"))
    return opened.workload.encode(session.predict(opened.dataset.batch(range(COUNT))))


@pytest.mark.parametrize("backend", [name for name in loading.REAL if name in ("onnxruntime", "torch")])
def test_the_same_model_is_answered_by_other_steps(backend: str) -> None:
    whole = loading.variant(backend, FCOS)
    cheaper = loading.variant(backend, FCOS, "postprocess:none,score=0.3")
    assert cheaper.model.sha256 == whole.model.sha256 and cheaper.id != whole.id
    assert cheaper.model.chain == (*whole.model.chain, "postprocess:none,score=0.3")
    truth = FCOS.open_dataset(loading.data_folder(FCOS)).truth()[:COUNT]
    reference, few = answers("", backend), answers("postprocess:none,score=0.3", backend)
    rows = [one.reshape(COUNT, -1, objects.DETECTION) for one in (reference, few)]
    assert rows[0].shape == rows[1].shape
    assert rows[1][..., 1].max() > 900 and rows[1][rows[1][..., 0] >= 0][:, 1].min() >= 300
    assert objects.score(reference, truth)["mAP"] > objects.score(few, truth)["mAP"]


def test_it_follows_what_makes_the_model() -> None:
    recipe = "quantize:int8+postprocess:fast"
    chosen = loading.variant("onnxruntime", FCOS, recipe)
    made = loading.variant("onnxruntime", FCOS, "quantize:int8")
    assert chosen.recipe == recipe and chosen.model.sha256 == made.model.sha256
    assert recipes.chained_by(recipe) == ["quantize:int8", "postprocess:fast"]
    assert recipes.made_by(recipe) == ["quantize:int8"]
    assert subject(recipe).workload.encode is not FCOS.encode
    assert subject("quantize:int8").workload.encode is FCOS.encode
    assert recipes.open_because(recipe) == ["its post-processing is another than the reference's"]


def asked(recipe: str, workload: Any = FCOS) -> Any:
    return loading.variant("onnxruntime", workload, recipe)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("postprocess", "needs what is to be cheaper"),
        ("postprocess:by-class", "asks for what fashion-fcos does anyway"),
        ("postprocess:score=0.05,keep=16", "asks for what fashion-fcos does anyway"),
        ("postprocess:keep=17", "keeps 16 detections of an image"),
        ("postprocess:soft", "nms of postprocess cannot be 'soft'"),
        ("postprocess:score=1.5", "score of postprocess cannot be '1.5'"),
        ("postprocess:top=0", "whole number from 1 to"),
        ("postprocess:fast+quantize:int8", "put it last, and once"),
        ("postprocess:fast+postprocess:score=0.3", "put it last, and once"),
        ("postprocess:fast+postprocess:fast", "put it last, and once"),
    ],
)
def test_what_makes_nothing_cheaper_is_refused(recipe: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        asked(recipe)


def test_what_detects_nothing_has_none() -> None:
    with pytest.raises(UsageError, match="fashion-resnet detects nothing that postprocess could make cheaper"):
        asked("postprocess:fast", plugins.workload("fashion-resnet"))


def test_it_is_refused_before_anything_is_made() -> None:
    with pytest.raises(UsageError, match="detects nothing"):
        recipes.check_answers("prune:0.5,tune=20+postprocess:fast", plugins.workload("fashion-mobilenet"))
    recipes.check_answers("prune:0.5,tune=20", plugins.workload("fashion-mobilenet"))
    recipes.check_answers("prune:0.5+postprocess:fast", FCOS)


def test_each_parameter_reaches_its_step() -> None:
    found = postprocess.steps(FCOS, {"nms": "fast", "score": "0.3", "iou": "0.4", "top": "20", "keep": "8"})
    assert found == Steps(score=0.3, iou=0.4, top=20, keep=8, nms="fast")
    assert postprocess.steps(FCOS, {"top": "50"}) == Steps(REFERENCE.score, REFERENCE.iou, 50, REFERENCE.keep)
