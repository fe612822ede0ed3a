"""The processes of a study: a cell's plan, what it answers, its turns with its reference, and their blocks."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import RunFailed
from suite import plugins, prepare, rules
from suite.plan import Asked, Plan, resolve
from suite.probes.contest import Block, Stream, Terms
from suite.variant import Serving
from tools.study import shelf
from tools.study.plan import Cell

# The default of a run's --stall-timeout.
STALL_TIMEOUT_S = 60.0
# So many processes tell how many a cell takes: of three Student's t is a third wider still.
FIRST_PROCESSES = 4


@dataclass(frozen=True)
class Places:
    """Where a study, the cache, and a dataset's files by its name are."""

    folder: Path
    cache: Path
    data_dir: Callable[[str], str]


def plan_of(cell: Cell, mode: str, places: Places) -> Plan:
    """Returns the plan of a cell's run."""
    return resolve(
        Asked(
            workload=cell.workload,
            backend=cell.backend,
            scenario=cell.scenario,
            mode=mode,
            profile="quick",
            optimize=cell.recipe,
            end_to_end=cell.end_to_end,
            data_dir=places.data_dir,
            cache_dir=str(places.cache),
            results_dir=str(places.folder / shelf.RESULTS),
            stall_timeout_s=STALL_TIMEOUT_S,
        )
    )


def stream(cell: Cell) -> Stream | None:
    """Returns a stream's queries and the percentile of the round's rules, None for a scenario that is none."""
    if not plugins.load("scenarios", "scenario", cell.scenario).INLINE:
        return None
    held = rules.load("quick").load_rules(cell.scenario, plugins.workload(cell.workload).dataset_name)
    assert held.target_latency_percentile is not None
    return Stream(held.samples_per_query, held.target_latency_percentile)


def answered(subject: dict[str, Any], serving: Serving, title: str) -> dict[str, Any]:
    """Returns what a subject answers to the evaluation set in a process of its own, shown under `title`."""
    return dict(prepare.call("answer", {"subject": subject, "serving": asdict(serving)}, STALL_TIMEOUT_S, title))


def turns(
    cell: Cell, served: tuple[Serving, Serving], terms: Terms, places: Places, title: str, ids: tuple[str, str]
) -> list[dict[str, Any]]:
    """Returns blocks of a cell beside its reference, as each is served, in a process of their own.

    `ids` are those of the reference and of the variant that answered; raises RunFailed where these are others.
    """
    queries = stream(cell)
    pair = [prepare.make(plan_of(one, "accuracy", places)) for one in (cell.reference, cell)]
    for one, made, before in zip((cell.reference, cell), pair, ids, strict=True):
        check_same(one, made.variant.id, before)
    job = {
        "reference": pair[0].subject,
        "variant": pair[1].subject,
        "serving": asdict(served[0]),
        "variant_serving": asdict(served[1]),
        "terms": asdict(terms),
        "stream": asdict(queries) if queries else None,
    }
    return list(prepare.call("turns", job, STALL_TIMEOUT_S, title))


def check_same(cell: Cell, now: str, before: str) -> None:
    """Raises RunFailed where a variant is another than the one that answered, by its id."""
    if now != before:
        raise RunFailed(
            f"{cell.title} was made again since it answered, and is another model now ({before} then, {now} now), as "
            "what trains may be: one row cannot be of both. Begin anew with another --out, and keep the cache."
        )


def blocks(records: Sequence[dict[str, Any]]) -> list[Block]:
    """Returns blocks as they were before they were kept."""
    return [Block(tuple(one["reference"]), tuple(one["variant"]), one["reference_outside"]) for one in records]


def processes(folder: Path, cell: Cell, record: dict[str, Any]) -> list[list[Block]]:
    """Returns the blocks of a cell's record, and those of each process that a budget was left for."""
    found = [blocks(record["blocks"])]
    while (more := shelf.recorded(folder, shelf.MORE, more_name(cell, len(found)))) and more.get("blocks"):
        found.append(blocks(more["blocks"]))
    return found


def enough(turns: list[list[Block]], first_blocks: int) -> list[list[Block]]:
    """Returns the blocks of a cell's processes as far as they make an interval: all, or those of the first alone.

    Two or three have a wider interval than one. Of several the first has no more blocks than the others, so that each
    knows its ratio alike.
    """
    if len(turns) < FIRST_PROCESSES:
        return turns[:1]
    return [own[:first_blocks] for own in turns]


def more_name(cell: Cell, before: int) -> str:
    """Returns the name of the record of the process that follows so many."""
    return f"{cell.id}-{before + 1}"
