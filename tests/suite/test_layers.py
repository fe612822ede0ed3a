"""Which layers a step's loss comes from: on real models, with a step that is known to harm a few layers."""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from accuracy_scripts.paired import CERTIFIED, REGRESSION, Certificate, Outcomes
from common.errors import UsageError
from reference_models.base import Dataset, Indices, Model
from suite import plugins, recipes
from suite.optimizations._onnx import described
from suite.parameters import joined
from suite.probes import layers
from suite.probes.layers import Effect, Ranking, Trial, find, ranking, sqnr_db
from suite.recipes import Step
from suite.subject import Subject
from tests.conformance import loading

pytestmark = pytest.mark.side_by_side

MOBILENET = plugins.workload("fashion-mobilenet")
COUNT, LAYERS = 1000, 18
# Two layers that are harmed, and two that hardly matter.
CHANGED = (2, 8, 14, 16)


@dataclass
class First:
    """The first samples of a dataset, as if there were no others."""

    whole: Dataset
    total: int = COUNT

    def batch(self, indices: Indices) -> NDArray[np.float32]:
        return self.whole.batch(indices)

    def truth(self) -> NDArray[np.int64]:
        return self.whole.truth()[: self.total]


@functools.cache
def first() -> Any:
    dataset = MOBILENET.open_dataset(loading.data_folder(MOBILENET))
    dataset.load(range(COUNT))
    return First(dataset)


def subject(recipe: str) -> Subject:
    variant, backend = loading.variant("onnxruntime", MOBILENET, recipe), plugins.backend("onnxruntime")
    return Subject(MOBILENET, first(), backend, variant.model, dict(variant.options), lambda samples: None)


def trial(recipe: str, folder: Path) -> Trial:
    (step,) = recipes.parse(recipe)
    return Trial(subject(""), subject(recipe), step, None, folder)


def all_but(*changed: int) -> str:
    return joined(set(range(LAYERS)) - set(changed))


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Trial, dict[str, Any], list[str]]]:
    """Yields a step that changes four layers, what is found of it, and the phases that it went through."""
    tried = trial(f"prune:0.5,keep={all_but(*CHANGED)}", tmp_path_factory.mktemp("trial"))
    phases: list[str] = []
    found = find(tried, described(tried.before.model.path), 2, lambda name, expected: phases.append(name))
    yield tried, found, phases


def judged(tried: Trial, before: list[int], after: list[int]) -> tuple[Outcomes, Certificate]:
    return layers.judged(MOBILENET, np.array(before), np.array(after), tried.before.dataset.truth())


def effects(found: dict[str, Any]) -> dict[int, Effect]:
    return {one["number"]: Effect(**one) for one in found["effects"]}


def changes(changed: Iterable[int], before: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tells which answers change where these layers alone are pruned."""
    raw = layers.outputs(subject(f"prune:0.5,keep={all_but(*changed)}"), np.arange(COUNT))
    different: NDArray[np.bool_] = raw.argmax(axis=1) != before
    return different


def test_only_layers_that_change_are_ranked(pruned: tuple[Trial, dict[str, Any], list[str]]) -> None:
    _, found, phases = pruned
    ranked = [Effect(**one) for one in found["effects"]]
    assert sorted(one.number for one in ranked) == list(CHANGED)
    assert [one.gain for one in ranked] == sorted((one.gain for one in ranked), reverse=True)
    assert [one.operator for one in ranked] == ["Conv"] * 4 and all(one.shape for one in ranked)
    assert phases[:3] == ["answering the evaluation set", "changing one layer alone", "changing all layers but one"]


def test_counts_are_those_of_models_that_were_made_by_hand(pruned: tuple[Trial, dict[str, Any], list[str]]) -> None:
    """Each model again, as anybody would have it: by its recipe."""
    _, found, _ = pruned
    flipped, others = (np.array(found["ranking"][name]) for name in ("flipped", "others"))
    before = np.array(found["before"])
    whole = changes(CHANGED, before)
    assert np.array_equal(np.flatnonzero(whole), flipped) and np.array_equal(whole, np.array(found["after"]) != before)
    for number, effect in effects(found).items():
        alone, without = changes([number], before), changes(set(CHANGED) - {number}, before)
        assert effect.alone == np.count_nonzero(alone[flipped]) + np.count_nonzero(alone[others])
        assert effect.repaired == np.count_nonzero(~without[flipped])
        assert effect.broken == np.count_nonzero(without[others])


def test_the_worst_layers_are_kept_one_after_another(pruned: tuple[Trial, dict[str, Any], list[str]]) -> None:
    tried, found, _ = pruned
    ranked = [one["number"] for one in found["effects"]]
    kept = [one["layers"] for one in found["kept"]]
    assert kept[0] == [*tried.kept, ranked[0]] and kept[1][:-1] == kept[0] and len(kept) == 2
    before, ranking = np.array(found["before"]), [*found["ranking"]["flipped"], *found["ranking"]["others"]]
    left = {other: changes(set(ranked[1:]) - {other}, before) for other in ranked[1:]}
    best = min(left, key=lambda other: np.count_nonzero(left[other][ranking]))
    assert kept[1][-1] == best
    assert np.array_equal(left[best], np.array(found["kept"][1]["answers"]) != before)
    # A second one is kept as the first alone was not enough.
    assert judged(tried, found["before"], found["kept"][0]["answers"])[1].outcome != CERTIFIED


def test_one_layer_is_left_to_the_step(tmp_path: Path) -> None:
    """Whatever it still loses: with all layers kept there would be no step."""
    tried = trial(f"prune:0.9,keep={all_but(0, 2)}", tmp_path)
    found = find(tried, described(tried.before.model.path), 5, lambda name, expected: None)
    (kept,) = found["kept"]
    assert len(found["effects"]) == 2 and len(kept["layers"]) == LAYERS - 1
    outcomes, certificate = judged(tried, found["before"], kept["answers"])
    assert certificate.outcome == REGRESSION and outcomes.difference < -0.1


def test_where_nothing_is_lost_no_layer_is_asked(tmp_path: Path) -> None:
    tried = trial(f"cluster:8,keep={all_but(16, 17)}", tmp_path)
    found = find(tried, described(tried.before.model.path), 5, lambda name, expected: None)
    assert found["effects"] == [] and found["kept"] == [] and not any(tmp_path.iterdir())


def test_a_single_layer_is_compared_with_nothing(tmp_path: Path) -> None:
    tried = trial(f"prune:0.9,keep={all_but(2)}", tmp_path)
    with pytest.raises(UsageError, match="changes a single layer, 2"):
        find(tried, described(tried.before.model.path), 5, lambda name, expected: None)


def of(raw: NDArray[np.float32], changed: list[int], most: int, monkeypatch: pytest.MonkeyPatch) -> Ranking:
    monkeypatch.setattr(layers, "MOST_RANKING", most)
    model = Model("onnx", Path("none"), "", ())
    any_subject: Any = replace(subject(""), model=model)
    nothing = Trial(any_subject, any_subject, Step("prune", {}), None, Path("none"))
    return ranking(nothing, raw, np.isin(np.arange(len(raw)), changed))


def test_beside_changed_answers_those_rank_that_are_nearest_to_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    margins = np.array([5, 1, 4, 2, 3, 0.5, 6, 7], np.float32)
    raw = np.stack([10 + margins, np.full(8, 10, np.float32), np.zeros(8, np.float32)], axis=1)
    found = of(raw, [0, 5], 1000, monkeypatch)
    assert found.flipped.tolist() == [0, 5] and found.others.tolist() == [1, 3]
    assert found.raw.tolist() == raw[[0, 5, 1, 3]].tolist()


def test_of_many_changed_answers_an_even_share_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = np.random.default_rng(7).normal(size=(100, 10)).astype(np.float32)
    found = of(raw, list(range(10, 70)), 12, monkeypatch)
    assert found.flipped.tolist() == list(range(10, 70, 5)) and len(found.others) == 12
    few = of(raw, list(range(95)), 1000, monkeypatch)
    assert len(few.flipped) == 95 and few.others.tolist() == [95, 96, 97, 98, 99]


def test_noise_of_a_hundredth_of_the_signal_is_forty_decibels() -> None:
    signal = np.array([[3.0, -4.0], [1.0, 0.0]], np.float32)
    assert sqnr_db(signal, 1.01 * signal) == pytest.approx(40, abs=1e-3)
    assert sqnr_db(signal, signal) is None
