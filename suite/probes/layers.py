"""Which layers a step's loss comes from: the step applied to one layer alone, and to all but one.

Each choice of layers is a model that is made, loaded and asked here, on the real runtime. Nothing is timed.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.paired import CERTIFIED, CONFIDENCE, Certificate, Outcomes, certify
from common.errors import RunFailed, UsageError
from common.files import sha256_file
from reference_models.base import Model, Workload
from suite import recipes
from suite.optimizations._onnx import Described
from suite.parameters import KEEP, joined, numbers
from suite.recipes import Step
from suite.resources import usable_cores
from suite.subject import Subject

# Samples at a time.
BATCH = 64
# So many changed answers are enough to tell layers apart, and each layer is asked about all of them twice.
MOST_RANKING = 1000

# Is told what is going on, and how many samples it is expected to take.
Phase = Callable[[str, int], None]


@dataclass(frozen=True)
class Effect:
    """What a layer has to do with the answers that a step changes; all counts are of the samples that rank.

    `alone`: answers that change where the step is applied to this layer alone. Where it is applied to all but this one:
    `repaired` of the changed answers are again as they were, and `broken` of the others change. `sqnr_db` is the ratio
    of the outputs before the step to what this layer alone changes of them; None where that is nothing.
    """

    number: int
    operator: str
    weights: str
    shape: tuple[int, ...]
    sqnr_db: float | None
    alone: int
    repaired: int
    broken: int

    @property
    def gain(self) -> int:
        """How many more of the answers are as they were where the step keeps this layer."""
        return self.repaired - self.broken


@dataclass(frozen=True)
class Trial:
    """A step that can be tried on a choice of layers: `before` is the subject that it changes, `after` what it makes.

    `samples` are the training samples that it wants, and `folder` is where it may leave a model.
    """

    before: Subject
    after: Subject
    step: Step
    samples: NDArray[np.float32] | None
    folder: Path

    @property
    def kept(self) -> tuple[int, ...]:
        """The layers that the step keeps anyway."""
        return numbers(self.step.parameters.get(KEEP, ""))

    def outputs(self, kept: Collection[int], indices: NDArray[np.int64]) -> NDArray[Any]:
        """Returns what the model answers in which these layers are as they were, shape (n, *output_shape)."""
        if tuple(kept) == self.kept:
            return outputs(self.after, indices)
        target = self.folder / "model.onnx"
        parameters = {**self.step.parameters, KEEP: joined(kept)}
        recipes.maker(self.step.name).make(self.before.model.path, target, parameters, self.samples)
        model = Model(self.before.model.format, target, sha256_file(target), self.before.model.chain)
        return outputs(replace(self.after, model=model), indices)


def outputs(subject: Subject, indices: NDArray[np.int64]) -> NDArray[Any]:
    """Returns a model's outputs, shape (n, *output_shape); raises RunFailed where they are no numbers."""
    session = subject.backend.load(
        subject.model,
        subject.workload,
        device=subject.device("auto"),
        threads=usable_cores(),
        options=subject.options,
    )
    found = []
    try:
        for start in range(0, len(indices), BATCH):
            part = indices[start : start + BATCH]
            found.append(session.predict(subject.dataset.batch(part)))
            subject.beat(len(part))
    finally:
        session.close()
    together = np.concatenate(found)
    if not np.isfinite(together).all():
        raise RunFailed("A model gives outputs that are no numbers: nothing can be said of its layers.")
    return together


def answers(workload: Workload, raw: NDArray[Any]) -> NDArray[Any]:
    """Returns the answers of raw outputs, shape (n,) or (n, k)."""
    return workload.encode(raw)


def judged(
    workload: Workload, before: NDArray[Any], after: NDArray[Any], truth: NDArray[Any]
) -> tuple[Outcomes, Certificate]:
    """Returns what became of each sample, and whether the loss is within what the workload's target allows."""
    outcomes = workload.judge.compare(before, after, truth)
    return outcomes, certify(outcomes, (1 - workload.target_factor) * outcomes.reference_share)


def loses(outcomes: Outcomes, certificate: Certificate) -> bool:
    """Tells whether there is a loss to blame layers for: one that chance cannot explain, or may be too large."""
    shown = outcomes.difference < 0 and outcomes.p_value < 1 - CONFIDENCE
    return shown or certificate.outcome != CERTIFIED


@dataclass(frozen=True)
class Ranking:
    """The samples by which layers are ranked: `flipped`, whose answers the whole step changes, and as many `others`.

    `raw` are the outputs before the step to all of them, shape (n, *output_shape), the flipped ones first.
    """

    trial: Trial
    flipped: NDArray[np.int64]
    others: NDArray[np.int64]
    raw: NDArray[Any]

    @property
    def indices(self) -> NDArray[np.int64]:
        """The samples, the flipped ones first."""
        return np.concatenate([self.flipped, self.others])

    def outputs(self, kept: Collection[int]) -> NDArray[Any]:
        """Returns the outputs, in the order of `indices`, where these layers are as they were."""
        return self.trial.outputs(kept, self.indices)

    def changed(self, raw: NDArray[Any]) -> NDArray[np.bool_]:
        """Tells of which samples such outputs change the answer."""
        workload = self.trial.before.workload
        return ~workload.judge.agree(answers(workload, raw), answers(workload, self.raw))


def ranking(trial: Trial, raw: NDArray[Any], changed: NDArray[np.bool_]) -> Ranking:
    """Returns changed samples, evenly from all of them, and as many others: those that are nearest to a change.

    Nearest are those whose answers are least sure by the outputs before the step, `raw`, shape (n, *output_shape).
    """
    flipped, others = np.flatnonzero(changed), np.flatnonzero(~changed)
    count = min(len(flipped), MOST_RANKING)
    chosen = flipped[np.arange(count) * len(flipped) // max(1, count)]
    sure = trial.before.workload.confidence(raw[others])
    nearest = np.sort(others[np.argsort(sure, kind="stable")[:count]])
    return Ranking(trial, chosen, nearest, raw[np.concatenate([chosen, nearest])])


def sqnr_db(signal: NDArray[Any], changed: NDArray[Any]) -> float | None:
    """Returns the power of a signal over that of what changed of it, in dB; None where nothing did, or all is zero."""
    signal_power, noise_power = (float(np.square(one, dtype=np.float64).sum()) for one in (signal, changed - signal))
    return 10 * log10(signal_power / noise_power) if signal_power and noise_power else None


def find(trial: Trial, layers: Sequence[Described], most: int, phase: Phase) -> dict[str, Any]:
    """Returns, as JSON-like values, each layer's effect, and the answers where the worst are kept, one more each time.

    Where nothing is lost there are neither. Layers are kept until the loss is certified to be within the margin, or
    there are `most` of them. Raises UsageError where the step changes a single layer.
    """
    workload, dataset = trial.before.workload, trial.before.dataset
    every = np.arange(dataset.total)
    phase("answering the evaluation set", 2 * len(every))
    raw = outputs(trial.before, every)
    before, after = answers(workload, raw), answers(workload, trial.outputs(trial.kept, every))
    ranked = ranking(trial, raw, ~workload.judge.agree(after, before))
    found: dict[str, Any] = {"before": before.tolist(), "after": after.tolist(), "effects": [], "kept": []}
    found["ranking"] = {"flipped": ranked.flipped.tolist(), "others": ranked.others.tolist()}
    if not len(ranked.flipped) or not loses(*judged(workload, before, after, dataset.truth())):
        return found
    effects = _effects(ranked, layers, phase)
    found["effects"] = [asdict(effect) for effect in effects]
    for kept in _worst_first(ranked, effects, most, phase):
        phase(f"answering the evaluation set without {len(kept)}", len(every))
        now = answers(workload, trial.outputs(kept, every))
        found["kept"].append({"layers": list(kept), "answers": now.tolist()})
        if judged(workload, before, now, dataset.truth())[1].outcome == CERTIFIED:
            break
    return found


def _effects(ranked: Ranking, layers: Sequence[Described], phase: Phase) -> list[Effect]:
    """Returns the effect of each layer that the step changes, the worst first."""
    kept, every = ranked.trial.kept, set(range(len(layers)))
    changing = sorted(every - set(kept))
    if len(changing) < 2:
        raise UsageError(f"The step changes a single layer, {changing[0]}: there is none beside it to compare with.")
    phase("changing one layer alone", len(changing) * len(ranked.indices))
    alone = {number: ranked.outputs(every - {number}) for number in changing}
    phase("changing all layers but one", len(changing) * len(ranked.indices))
    without = {number: ranked.changed(ranked.outputs((*kept, number))) for number in changing}
    first = len(ranked.flipped)
    found = [
        Effect(
            number,
            **asdict(layers[number]),
            sqnr_db=sqnr_db(ranked.raw, alone[number]),
            alone=int(np.count_nonzero(ranked.changed(alone[number]))),
            repaired=int(np.count_nonzero(~without[number][:first])),
            broken=int(np.count_nonzero(without[number][first:])),
        )
        for number in changing
    ]
    return sorted(found, key=lambda effect: (-effect.gain, -effect.alone))


def _worst_first(ranked: Ranking, effects: Sequence[Effect], most: int, phase: Phase) -> Iterator[tuple[int, ...]]:
    """Yields the layers to keep: the worst, then with it the one that repairs most beside it, and so on."""
    kept = ranked.trial.kept
    left = {effect.number: effect.gain for effect in effects}
    for turn in range(min(most, len(effects) - 1)):
        if turn:
            phase(f"changing all layers but {turn + 1}", len(left) * len(ranked.indices))
            left = {number: -int(np.count_nonzero(ranked.changed(ranked.outputs((*kept, number))))) for number in left}
        # Of equals the one that ranks first.
        worst = max(left, key=lambda number: left[number])
        del left[worst]
        kept = (*kept, worst)
        yield kept
