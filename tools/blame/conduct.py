"""Asks in processes of their own which layers a recipe's loss comes from, and how fast it is without them."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from suite import plugins, prepare, recipes
from suite.parameters import KEEP, joined, numbers
from suite.plan import Plan
from suite.prepare import Made
from suite.probes.contest import Terms
from suite.probes.layers import Effect, judged
from suite.recipes import Step
from suite.variant import Requested
from tools.blame.findings import Findings, Measured, Pace
from tools.study.contests import Places, answered, blocks, plan_of, turns
from tools.study.plan import Cell

# Turns of a contest: short ones, as its ratio is told beside the accuracy and decides nothing.
TERMS = Terms.fixed(0.35, 6)


@dataclass(frozen=True)
class Question:
    """What is asked, and where the cache and the files of a dataset, by its name, are.

    `most`: how many layers are left as they were at most; `speed`: whether what comes of it is timed.
    """

    workload: str
    backend: str
    recipe: str
    most: int
    speed: bool
    cache: Path
    data_dir: Callable[[str], str]


@dataclass(frozen=True)
class Recipe:
    """A recipe around its last step that makes a model."""

    steps: tuple[Step, ...]
    position: int

    @property
    def step(self) -> Step:
        """The step that is blamed."""
        return self.steps[self.position]

    @property
    def kept(self) -> tuple[int, ...]:
        """The layers that it keeps as it is."""
        return numbers(self.step.parameters.get(KEEP, ""))

    @property
    def before(self) -> str:
        """The recipe without that step."""
        return recipes.canonical(self.steps[: self.position] + self.steps[self.position + 1 :])

    def keeping(self, layers: tuple[int, ...]) -> str:
        """Returns the recipe in which that step keeps these layers."""
        step = replace(self.step, parameters={**self.step.parameters, KEEP: joined(layers)})
        return recipes.canonical((*self.steps[: self.position], step, *self.steps[self.position + 1 :]))


def answer(question: Question) -> Findings:
    """Returns what is found.

    Raises UsageError where the data are missing or no layer can be left out, RunFailed where a child fails.
    """
    plan = _plan(question, question.recipe)
    recipe = _around_last_made(plan)
    workload = plugins.workload(plan.workload)
    truth = workload.open_dataset(Path(plan.data_dir)).truth()
    whole, before = prepare.make(plan), prepare.make(_plan(question, recipe.before))
    found = _layers(plan, recipe, before, whole, question.most)

    def measured(text: str, kept: tuple[int, ...], answers: list[int]) -> Measured:
        return Measured(text, kept, *judged(workload, _array(found["before"]), _array(answers), truth))

    without = [(tuple(one["layers"]), one["answers"]) for one in found["kept"]]
    findings = Findings(
        workload=plan.workload,
        backend=plan.backend,
        before=recipe.before,
        target=workload.target,
        whole=measured(plan.recipe, recipe.kept, found["after"]),
        flipped=len(found["ranking"]["flipped"]),
        others=len(found["ranking"]["others"]),
        effects=tuple(Effect(**{**one, "shape": tuple(one["shape"])}) for one in found["effects"]),
        without=tuple(measured(recipe.keeping(kept), kept, answers) for kept, answers in without),
        paces={},
    )
    # What is emulated has no throughput of its own.
    if not (question.speed and findings.without) or recipes.emulated(plan.recipe):
        return findings
    return replace(findings, paces=_paces(question, [plan.recipe, findings.without[-1].recipe]))


def _around_last_made(plan: Plan) -> Recipe:
    """Returns the plan's recipe; raises UsageError where none of its steps can leave layers as they were."""
    steps, making = recipes.parse(plan.recipe), recipes.made_by(plan.recipe)
    positions = [place for place, step in enumerate(steps) if recipes.canonical([step]) in making]
    if not positions:
        raise UsageError(
            f"No step of the recipe '{plan.recipe}' makes a model, so that there are no layers to blame. Give one that "
            "does, as in --optimize quantize:int8."
        )
    if recipes.requested(plan.recipe, Requested()) != Requested():
        raise UsageError(
            f"The recipe '{plan.recipe}' asks for a way of serving, of which no layer is to blame; leave batch, "
            "parallel, prefetch and pipeline out."
        )
    found = Recipe(steps, positions[-1])
    if KEEP not in recipes.maker(found.step.name).PARAMETERS:
        raise UsageError(f"{found.step.name} cannot leave layers as they were, so that none of them can be blamed.")
    if "layers" in found.step.parameters:
        raise UsageError(
            f"Say with keep which layers {found.step.name} leaves as they were, by their numbers, as in keep=0/10 for "
            "layers=but-ends of a model with eleven: one more is left at a time."
        )
    if recipes.trainer(found.step):
        raise UsageError(
            f"{found.step.name} with tune trains all layers together, so that none of them can be blamed. Leave it out."
        )
    return found


def _layers(plan: Plan, recipe: Recipe, before: Made, whole: Made, most: int) -> dict[str, Any]:
    job = {
        "before": before.subject,
        "after": whole.subject,
        "step": asdict(recipe.step),
        "data_dir": plan.data_dir,
        "most": most,
    }
    found: dict[str, Any] = prepare.call("layers", job, plan.stall_timeout_s, "blame")
    return found


def _paces(question: Question, texts: list[str]) -> dict[str, Pace]:
    """Returns how fast each recipe is beside the reference, served as is best for that."""
    served = prepare.ready(_plan(question, "")).serving
    found = {}
    for text in texts:
        base, made = (prepare.make(_plan(question, one)) for one in ("", text))
        arithmetic = answered(made.subject, served, "blame")["arithmetic"]
        ids = base.variant.id, made.variant.id
        record = turns(_cell(question, text), (served, served), TERMS, _places(question), "blame", ids)
        found[text] = Pace(tuple(blocks(record)), arithmetic)
    return found


def _array(answers: list[int]) -> NDArray[np.int64]:
    return np.array(answers, np.int64)


def _plan(question: Question, recipe: str) -> Plan:
    return plan_of(_cell(question, recipe), "accuracy", _places(question))


def _cell(question: Question, recipe: str) -> Cell:
    return Cell(question.workload, question.backend, "offline", recipe)


def _places(question: Question) -> Places:
    # Nothing is run that would leave a result.
    return Places(Path(), question.cache, question.data_dir)
