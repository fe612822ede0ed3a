"""What a study covers: which recipes on which workload, backend and scenario, and how much time each may take."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import digest_of
from common.names import normal, unknown
from suite import plugins, recipes

REFERENCE = ""
# Where full runs are at the highest load that is held, and turns have no limit of latency.
SERVER = "server"

# A sweep of each kind, and the combinations that people ship. Where a backend cannot have one, its row says why.
RECIPES = (
    "fuse:level=off",
    "fuse:level=basic",
    "fuse:level=extended",
    "quantize:int8",
    "quantize:int8,range=reduced",
    "quantize:int8,granularity=tensor",
    "quantize:int8,granularity=tensor,range=reduced",
    "quantize:int8,granularity=tensor,scale=power-of-two",
    "quantize:int8,scale=power-of-two",
    "quantize:int8,activations=int8,symmetry=symmetric",
    "quantize:int8,granularity=tensor,activations=int8,symmetry=symmetric",
    "quantize:int8,calibration=percentile,range=reduced",
    "quantize:int8,calibration=entropy,range=reduced",
    "quantize:int8,scales=dynamic",
    "quantize:int8,scales=dynamic,range=reduced",
    "quantize:float16",
    "prune:0.1",
    "prune:0.2",
    "prune:0.3",
    "prune:0.5",
    "prune:0.7",
    "prune:0.9",
    "prune:0.3,scope=all",
    "prune:pattern=2:4",
    "prune-channels:0.1",
    "prune-channels:0.3",
    "prune-channels:0.3,tune=1",
    "prune:0.3,tune=2",
    "cluster:8",
    "cluster:4",
    "lowrank:0.5",
    "prune:0.1+quantize:int8,range=reduced",
    "cluster:8+quantize:int8,range=reduced",
    "emulate:int8",
    "emulate:int8,scale=power-of-two",
    "emulate:int8,granularity=tensor",
    "emulate:int8,granularity=tensor,scale=power-of-two",
    "emulate:int4",
    "emulate:fp8-e4m3",
    "emulate:fp8-e5m2",
    "emulate:bf16",
    "emulate:mxfp4",
    "input:uint8",
    "input:resolution=20",
    "batch:1",
    "parallel:threads=2",
    "pipeline:2",
)
# What tells most in little time: one of each kind, harmless and harmful.
QUICK = (
    "fuse:level=off",
    "quantize:int8",
    "quantize:int8,range=reduced",
    "quantize:int8,granularity=tensor",
    "quantize:int8,activations=int8,symmetry=symmetric",
    "quantize:int8,scales=dynamic",
    "prune:0.1",
    "prune:0.3",
    "prune:0.5",
    "cluster:8",
    "cluster:4",
)

# What tells most of what every backend can have, in Server too, where a batch has to be small enough for the limit.
TELLING = (
    "quantize:int8",
    "quantize:int8,range=reduced",
    "quantize:int8,granularity=tensor",
    "quantize:int8,granularity=tensor,scale=power-of-two",
    "quantize:int8,scales=dynamic",
    "prune:0.3",
    "prune:0.5",
    "cluster:8",
    "cluster:4",
    "batch:1",
)
# Beside those what only torch has.
TORCH = ("fuse:compile", "fuse:batchnorm=folded", "quantize:bfloat16", *TELLING)
# What shows only where samples are decoded and preprocessed inside the measured region.
END_TO_END = (
    "input:uint8",
    "input:stored=raw",
    "input:resolution=14,restore=yes",
    "prefetch:1",
)
# What is cheaper behind a model that detects, and together with a cheaper model.
DETECTION = (
    "postprocess:fast",
    "postprocess:none",
    "postprocess:all-classes",
    "postprocess:score=0.2",
    "postprocess:score=0.3",
    "postprocess:top=20",
    "quantize:int8,layers=but-ends,range=reduced",
    "quantize:int8,layers=but-ends,range=reduced+postprocess:fast,score=0.1",
)
# Of these what is worth trying in Server, and what torch has.
SERVER_DETECTION = ("postprocess:fast", "postprocess:score=0.3", "quantize:int8,layers=but-ends,range=reduced")
TORCH_DETECTION = ("postprocess:fast", "postprocess:score=0.3")
# The same in little time, one of each kind.
QUICK_DETECTION = (
    "fuse:level=off",
    "quantize:int8,range=reduced",
    "quantize:int8,layers=but-ends,range=reduced",
    "quantize:int8,granularity=tensor",
    "prune:0.1",
    "prune:0.3",
    "cluster:8",
    "postprocess:fast",
    "postprocess:none",
    "postprocess:score=0.2",
    "postprocess:score=0.3",
)
ALL = "all"
# Of what a cell has since studies were first made: a study of before has the same names.
ADDED = {"repetition": 1, "end_to_end": False}


@dataclass(frozen=True)
class Cell:
    """One variant to be studied, for the first time or once more, in a process of its own each time.

    `end_to_end` has samples decoded and preprocessed inside the measured region, the reference's too.
    """

    workload: str
    backend: str
    scenario: str
    recipe: str
    repetition: int = 1
    end_to_end: bool = False

    @property
    def id(self) -> str:
        """Returns 16 hexadecimal digits that name its files."""
        named = {name: value for name, value in asdict(self).items() if name not in ADDED or value != ADDED[name]}
        return digest_of(named)[:16]

    @property
    def reference(self) -> "Cell":
        """The cell that it is compared with."""
        return replace(self, recipe=REFERENCE)

    @property
    def first(self) -> "Cell":
        """Its first repetition."""
        return replace(self, repetition=1)

    @property
    def title(self) -> str:
        """The recipe, for people."""
        return self.recipe or "reference"

    @property
    def setting(self) -> str:
        """Backend and scenario, for people, and whether it is end to end."""
        return f"{self.backend}, {self.scenario}{', end to end' if self.end_to_end else ''}"


@dataclass(frozen=True)
class Study:
    """The cells in order, and what each may take; what a budget has left goes beyond `most_blocks` and `verdicts`.

    A block is four turns of `seconds`. There are as many blocks as make the 95 % interval of the ratio be within
    `width` of it, as a share, by the spread of the first `least_blocks`; `most_blocks` at most. `verdicts`: how many of
    each workload and backend, the fastest first, get full runs and a verdict; `peaks`: how many of those in Server,
    where each is a search for the highest load.
    """

    cells: tuple[Cell, ...]
    seconds: float = 1.0
    least_blocks: int = 5
    most_blocks: int = 6
    width: float = 0.03
    verdicts: int = 5
    peaks: int = 3


KEYS: dict[str, type] = {
    "workloads": list,
    "backends": list,
    "scenarios": list,
    "recipes": list,
    "repetitions": int,
    "end_to_end": bool,
    "seconds": float,
    "least_blocks": int,
    "most_blocks": int,
    "width": float,
    "verdicts": int,
    "peaks": int,
}
# The least and the greatest value of each number.
RANGES = {
    "repetitions": (1, 100),
    "seconds": (0.1, 60.0),
    "least_blocks": (2, 1000),
    "most_blocks": (2, 1000),
    "width": (0.001, 1.0),
    "verdicts": (0, 1000),
    "peaks": (0, 1000),
}


def default(workloads: Sequence[str], *, quick: bool, end_to_end: bool = False) -> Study:
    """Returns the study of these workloads that needs no plan; raises UsageError for an unknown one.

    What tells most comes first, of every kind: a budget that ends early takes from the sweeps.
    """
    more = END_TO_END if end_to_end else ()
    if quick:
        kind = ("onnxruntime", "offline", (*QUICK, *more), (*QUICK_DETECTION, *more))
        return Study(_cells(workloads, [kind], end_to_end), seconds=0.35)
    kinds = (
        ("onnxruntime", "offline", (*TELLING, *more), (*TELLING, *DETECTION, *more)),
        ("onnxruntime", SERVER, TELLING, (*TELLING, *SERVER_DETECTION)),
        ("torch", "offline", TORCH, (*TORCH, *TORCH_DETECTION)),
        ("onnxruntime", "offline", RECIPES, RECIPES),
    )
    return Study(_cells(workloads, kinds, end_to_end))


def _cells(
    workloads: Sequence[str], kinds: Sequence[tuple[str, str, Sequence[str], Sequence[str]]], end_to_end: bool
) -> tuple[Cell, ...]:
    """Returns the cells of each kind, each once: backend, scenario, recipes, and those of workloads that detect."""
    found: dict[Cell, None] = {}
    for backend, scenario, given, detecting in kinds:
        for workload in wanted(workloads):
            own = detecting if plugins.workload(workload).steps else given
            cells = cells_of([workload], (backend,), (scenario,), own, end_to_end=end_to_end)
            found |= dict.fromkeys(cells)
    return tuple(found)


def read(path: Path) -> Study:
    """Returns the study that a TOML file describes; raises UsageError naming the key at fault."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"The plan {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The plan {path} is no TOML: {error}.") from None
    for key, value in content.items():
        _check(path, key, value)
    chosen = {key: value for key, value in content.items() if key in RANGES and key != "repetitions"}
    cells = cells_of(
        content.get("workloads", [ALL]),
        content.get("backends", ["onnxruntime"]),
        content.get("scenarios", ["offline"]),
        content.get("recipes", RECIPES),
        content.get("repetitions", 1),
        end_to_end=content.get("end_to_end", False),
    )
    study = Study(cells, **chosen)
    if study.least_blocks > study.most_blocks:
        raise UsageError(f"The plan {path} wants {study.least_blocks} blocks at least and {study.most_blocks} at most.")
    return study


def _check(path: Path, key: str, value: Any) -> None:
    if key not in KEYS:
        raise unknown(f"key of the plan {path}:", key, KEYS)
    kind = KEYS[key]
    if kind is list:
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise UsageError(f"{key} in the plan {path} must be a list of names, with one at least.")
        return
    if kind is bool:
        if not isinstance(value, bool):
            raise UsageError(f"{key} in the plan {path} must be true or false, not {value!r}.")
        return
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        raise UsageError(
            f"{key} in the plan {path} must be a {'' if kind is float else 'whole '}number, not {value!r}."
        )
    least, most = RANGES[key]
    if not least <= value <= most:
        raise UsageError(f"{key} in the plan {path} is {value}; it must be from {least:g} to {most:g}.")


def cells_of(
    workloads: Sequence[str],
    backends: Sequence[str],
    scenarios: Sequence[str],
    given: Sequence[str],
    repetitions: int = 1,
    *,
    end_to_end: bool = False,
) -> tuple[Cell, ...]:
    """Returns each recipe on each workload and backend in each scenario, the reference first, and all of it again.

    Before a chain come the steps that it begins with, so that what each adds can be told. Raises UsageError on an
    unknown name.
    """
    at = [_known("backend", one, plugins.names("suite.backends")) for one in backends]
    how = [_known("scenario", one, plugins.names("scenarios")) for one in scenarios]
    begun = [begin for one in given for begin in beginnings(recipes.canonical(recipes.parse(one)))]
    return tuple(
        Cell(workload, backend, scenario, recipe, repetition, end_to_end)
        for repetition in range(1, repetitions + 1)
        for workload in wanted(workloads)
        for backend in at
        for scenario in how
        for recipe in dict.fromkeys((REFERENCE, *begun))
    )


def wanted(workloads: Sequence[str]) -> Sequence[str]:
    """Returns the names of workloads, of all where one is ALL; raises UsageError for an unknown one, or none."""
    known = plugins.names("reference_models")
    if not workloads:
        raise UsageError(f"--workloads names none. Give one or more of: {', '.join(known)}; or {ALL}.")
    return known if ALL in workloads else [_known("workload", one, known) for one in workloads]


def beginnings(recipe: str) -> list[str]:
    """Returns the recipes that a recipe's steps make one after another, itself the last."""
    steps = recipe.split("+")
    return ["+".join(steps[:count]) for count in range(1, len(steps) + 1)]


def _known(kind: str, name: str, known: Sequence[str]) -> str:
    if normal(name) not in known:
        raise unknown(kind, name, known)
    return normal(name)


def record(study: Study) -> Mapping[str, Any]:
    """Returns a study as JSON-like values."""
    return asdict(study)
