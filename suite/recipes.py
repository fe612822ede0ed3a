"""Recipes: optimizations, one after another, that make a variant of the reference.

Steps are joined by `+`, a step's parameters follow `:` and are joined by `,`; a bare word is the step's main
parameter: `prune:sparsity=0.7+quantize:int8,granularity=tensor`. The empty recipe is the reference.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from common import names as spelling
from common.errors import UsageError
from reference_models.base import Encode, Model, Workload
from reference_models.forms import REFERENCE, Form, Normalization
from reference_models.suppression import Steps
from suite import plugins
from suite.parameters import SEPARATOR, Numbers, Values, joined, numbers
from suite.plugins import BackendDescription
from suite.variant import Requested, Variant

PACKAGE, KIND = "suite.optimizations", "optimization"
# The step whose model rounds as another arithmetic does, and multiplies in float32.
EMULATION = "emulate"
EMULATED = "its recipe emulates another arithmetic, so that it has an accuracy and no throughput of its own"
# The step that leaves the model as it is and makes other answers of its outputs.
POSTPROCESSING = "postprocess"
# The step whose model takes images in another form than the reference: steps behind it are given samples in that form.
INPUT = "input"


class Optimization(Protocol):
    """A module that makes one variant of another: a `Setter` or a `Maker`.

    `MAIN` is the parameter that a bare word stands for; `PARAMETERS` names all, each with its allowed values or whole
    numbers.
    """

    MAIN: str
    PARAMETERS: Mapping[str, Values]

    def check(self, backend: BackendDescription, parameters: Mapping[str, str]) -> None:
        """Raises UsageError where the backend cannot have this optimization."""
        ...


class Setter(Optimization, Protocol):
    """An optimization that is a runtime's option, or a way of serving, and leaves the model as it is."""

    def apply(self, variant: Variant, backend: BackendDescription, parameters: Mapping[str, str]) -> Variant:
        """Returns the variant with this optimization, on a backend that can have it."""
        ...


class ServingSetter(Setter, Protocol):
    """A setter of how the variant is to be served, as the command's flags can set it too."""

    def requested(self, given: Requested, parameters: Mapping[str, str]) -> Requested:
        """Returns what is then asked of serving; raises UsageError where `given` asks for something else."""
        ...


class Maker(Optimization, Protocol):
    """An optimization that makes a model of a model in one of its `FORMATS`, with these `PACKAGES`."""

    FORMATS: tuple[str, ...]
    PACKAGES: tuple[str, ...]
    # What it makes is no longer what another maker can work on.
    FINAL: bool

    def samples_wanted(self, parameters: Mapping[str, str]) -> int:
        """Returns how many training samples it looks at."""
        ...

    def make(
        self, source: Path, target: Path, parameters: Mapping[str, str], samples: NDArray[np.float32] | None
    ) -> dict[str, Any]:
        """Writes to `target` what it makes of the model at `source`, and returns facts for its card.

        In a child process alone.
        """
        ...


class NetworkMaker(Maker, Protocol):
    """A maker that also makes a model of a workload's network of torch, whose weights are safetensors."""

    def make_of_network(
        self,
        workload: Workload,
        source: Path,
        target: Path,
        parameters: Mapping[str, str],
        samples: NDArray[np.float32] | None,
    ) -> dict[str, Any]:
        """Does what `make` does; `format` is among the facts where what it writes is no safetensors."""
        ...


class Trainer(Maker, Protocol):
    """A maker that can also train what it has made, by the model that it was made of."""

    def to_train(self, parameters: Mapping[str, str]) -> int:
        """Returns how many samples training goes through, 0 where none is asked for."""
        ...

    def train(
        self,
        source: Path,
        target: Path,
        parameters: Mapping[str, str],
        samples: NDArray[np.float32],
        beat: Callable[[int], None],
    ) -> dict[str, Any]:
        """Trains the model at `target` by that at `source`, and returns facts for its card.

        `beat` is told of so many more samples that it went through. In a child process alone.
        """
        ...


class InputMaker(Maker, Protocol):
    """The maker whose model takes images in another form than the one that it was made of."""

    def form(self, parameters: Mapping[str, str]) -> Form:
        """Returns that form."""
        ...

    def make(
        self,
        source: Path,
        target: Path,
        parameters: Mapping[str, str],
        samples: NDArray[np.float32] | None,
        normalization: Normalization | None = None,
    ) -> dict[str, Any]:
        """As any maker's; `normalization` is what the reference's images were given."""
        ...


class Postprocessing(Setter, Protocol):
    """The setter of how answers are made of outputs; the model's chain has it as its last."""

    def steps(self, workload: Workload, parameters: Mapping[str, str]) -> Steps:
        """Returns those of a workload; raises UsageError where it has none."""
        ...


@dataclass(frozen=True)
class Step:
    """An optimization and its parameters."""

    name: str
    parameters: Mapping[str, str]


def parse(text: str) -> tuple[Step, ...]:
    """Returns the steps of a recipe; raises UsageError for an unknown optimization, parameter or value."""
    return tuple(_parse_step(part) for part in text.split("+")) if text.strip() else ()


def canonical(steps: Iterable[Step]) -> str:
    """Returns the one text of a recipe: main parameter first and bare, the others by name."""
    return "+".join(_canonical_step(step) for step in steps)


def fold(
    recipe: str,
    *,
    workload: str,
    backend: BackendDescription,
    model: Model,
    requested: Requested,
    made: Callable[[Step, Model], Model],
    options: Mapping[str, str] | None = None,
) -> Variant:
    """Returns the variant that a recipe makes of `model` on a backend; `options` are runtime options besides.

    `made` returns what a maker's step has made of a model.
    """
    steps = parse(recipe)
    because = _not_eligible_because(recipe, backend)
    variant = Variant(
        workload=workload,
        recipe=canonical(steps),
        backend=backend.name,
        model=model,
        options=runtime_options(backend, options or {}),
        requested=requested,
        eligible=because is None,
        plugin_sha256=backend.plugin_sha256,
        not_eligible_because=because,
    )
    check(recipe, backend, options or {})
    for step in steps:
        if _makes(step.name):
            variant = replace(variant, model=made(step, variant.model))
        else:
            variant = cast(Setter, _optimization(step.name)).apply(variant, backend, step.parameters)
    return replace(variant, options=runtime_options(backend, variant.options))


def check(recipe: str, backend: BackendDescription, options: Mapping[str, str]) -> None:
    """Raises UsageError for runtime options, or a recipe's steps, that a backend cannot have."""
    runtime_options(backend, options)
    before: Step | None = None
    steps = parse(recipe)
    for number, step in enumerate(steps, 1):
        _optimization(step.name).check(backend, step.parameters)
        if step.name == POSTPROCESSING and any(changes_answers(one) for one in steps[number:]):
            raise UsageError(f"{POSTPROCESSING} comes behind all that makes the model: put it last, and once.")
        if not _makes(step.name):
            continue
        if before and step.name == INPUT:
            raise UsageError(f"{INPUT} cannot follow {before.name}: put {INPUT} first, and once.")
        if before and maker(before.name).FINAL:
            raise UsageError(
                f"{step.name} cannot follow {before.name}, whose model has no weights in plain float32: "
                f"put {before.name} last, and once."
            )
        before = step


def check_answers(recipe: str, workload: Workload) -> None:
    """Raises UsageError where a recipe makes answers, or trains by them, in a way that a workload does not have."""
    for step in parse(recipe):
        if len(workload.output_shape) != 1 and trainer(step):
            raise UsageError(
                f"tune of {step.name} trains by the logits of classes, and {workload.name} gives none. Leave it out."
            )
        if step.name == POSTPROCESSING:
            cast(Postprocessing, _optimization(POSTPROCESSING)).steps(workload, step.parameters)


def made_by(recipe: str) -> list[str]:
    """Returns the one text of each step of a recipe that makes a model."""
    return [canonical([step]) for step in parse(recipe) if _makes(step.name)]


def chained_by(recipe: str) -> list[str]:
    """Returns the one text of each step of a recipe that a model's chain names: what makes it, and its answers."""
    return [canonical([step]) for step in parse(recipe) if changes_answers(step)]


def changes_answers(step: Step) -> bool:
    """Tells whether a step makes a model, or other answers of its outputs: a model's chain names it."""
    return _makes(step.name) or step.name == POSTPROCESSING


def encode(workload: Workload, chain: Sequence[str]) -> Encode:
    """Returns what makes answers of a model's outputs, by what was done to make it."""
    if chain[-1:] and chain[-1].partition(":")[0] == POSTPROCESSING and workload.encode_by:
        (step,) = parse(chain[-1])
        found = cast(Postprocessing, _optimization(POSTPROCESSING))
        return workload.encode_by(found.steps(workload, step.parameters))
    return workload.encode


def emulated(recipe: str) -> bool:
    """Tells whether a step of a recipe emulates another arithmetic."""
    return any(step.name == EMULATION for step in parse(recipe))


def requested(recipe: str, given: Requested) -> Requested:
    """Returns what a recipe and the flags, which have `given`, ask of serving; raises UsageError where they differ."""
    for step in parse(recipe):
        optimization = _optimization(step.name)
        if hasattr(optimization, "requested"):
            given = cast(ServingSetter, optimization).requested(given, step.parameters)
    return given


def formats(recipe: str, backend: BackendDescription) -> tuple[str, ...]:
    """Returns in which formats a recipe can begin on a backend, the one that its first maker prefers first."""
    makers = [maker(step.name) for step in parse(recipe) if _makes(step.name)]
    preferred = makers[0].FORMATS if makers else backend.formats
    return tuple(
        name for name in preferred if all(name in one for one in (backend.formats, *(m.FORMATS for m in makers)))
    )


def runtime_options(backend: BackendDescription, given: Mapping[str, str]) -> dict[str, str]:
    """Returns a value for each of a backend's options, its default where none is given; raises UsageError."""
    for option, value in given.items():
        if option not in backend.options:
            raise spelling.unknown(f"option of the backend {backend.name},", option, backend.options)
        _one_text(f"option {option} of the backend {backend.name}", value, backend.options[option])
    return {
        option: given.get(option, str(allowed) if isinstance(allowed, int) else allowed[0])
        for option, allowed in backend.options.items()
    }


def maker(name: str) -> Maker:
    """Returns an optimization that makes a model."""
    assert _makes(name)
    return cast(Maker, _optimization(name))


def input_maker(step: Step) -> InputMaker | None:
    """Returns the optimization of a step that changes what the model takes, else None."""
    return cast(InputMaker, _optimization(INPUT)) if step.name == INPUT else None


def form(chain: Sequence[str]) -> Form:
    """Returns the form in which a model takes images, by what was done to make it."""
    for said in chain:
        if said.partition(":")[0] == INPUT:
            (step,) = parse(said)
            return cast(InputMaker, _optimization(INPUT)).form(step.parameters)
    return REFERENCE


def trainer(step: Step) -> Trainer | None:
    """Returns the optimization of a step that asks for training, else None."""
    found = cast(Trainer, _optimization(step.name))
    return found if hasattr(found, "train") and found.to_train(step.parameters) else None


def open_because(recipe: str) -> list[str]:
    """Returns what of a recipe MLPerf's closed division forbids, each once: what `open_because` of its steps says."""
    steps = [(getattr(_optimization(step.name), "open_because", None), step) for step in parse(recipe)]
    return list(dict.fromkeys(one for tell, step in steps if tell for one in tell(step.parameters)))


def _not_eligible_because(recipe: str, backend: BackendDescription) -> str | None:
    if not backend.eligible:
        return f"the backend '{backend.name}' runs no real model"
    return EMULATED if emulated(recipe) else None


def _makes(name: str) -> bool:
    return hasattr(_optimization(name), "make")


def _optimization(name: str) -> Optimization:
    return cast(Optimization, plugins.load(PACKAGE, KIND, name))


def _parse_step(text: str) -> Step:
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not name or (colon and not rest):
        raise UsageError(f"The recipe's step '{text}' is not complete: write name, or name:value,parameter=value.")
    optimization = _optimization(name)
    parameters: dict[str, str] = {}
    for word in rest.split(",") if rest else ():
        parameter, value = _parse_parameter(word, optimization.MAIN)
        if parameter in parameters:
            raise UsageError(f"The recipe's step '{text}' gives {parameter} twice.")
        if parameter not in optimization.PARAMETERS:
            raise spelling.unknown(f"parameter of {name}:", parameter, optimization.PARAMETERS)
        parameters[parameter] = _one_text(f"{parameter} of {name}", value, optimization.PARAMETERS[parameter])
    return Step(spelling.normal(name), parameters)


def _parse_parameter(word: str, main: str) -> tuple[str, str]:
    before, equals, after = word.partition("=")
    return (before.strip(), after.strip()) if equals else (main, before.strip())


def _one_text(what: str, value: str, allowed: Values | int) -> str:
    """Returns the one text of a value; raises UsageError where it is not allowed."""
    if isinstance(allowed, Numbers):
        if not numbers(value):
            raise UsageError(
                f"The {what} is numbers of {allowed.what} joined by {SEPARATOR}, as in 0/7, not '{value}'."
            )
        return joined(numbers(value))
    if isinstance(allowed, range):
        # As it is written in one way only, a recipe has one text.
        if value not in map(str, allowed):
            raise UsageError(f"The {what} is a whole number from {allowed[0]} to {allowed[-1]}, not '{value}'.")
    elif isinstance(allowed, int):
        if not (value.isascii() and value.isdigit()):
            raise UsageError(f"The {what} is a whole number from 0 up, not '{value}'.")
    elif value not in allowed:
        raise UsageError(f"The {what} cannot be '{value}'. Allowed: {', '.join(allowed)}.")
    return value


def _canonical_step(step: Step) -> str:
    main = _optimization(step.name).MAIN
    words = [step.parameters[main]] if main in step.parameters else []
    words += [f"{name}={value}" for name, value in sorted(step.parameters.items()) if name != main]
    return f"{step.name}:{','.join(words)}" if words else step.name
