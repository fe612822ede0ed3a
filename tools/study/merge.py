"""Several studies beside one another, of one machine each: what holds on all of them, and what does not.

A row's throughput is against the reference on its own machine, so that rows of two machines can be compared although
their samples a second cannot. Studies are read, and nothing in them is changed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from common.files import digest_of
from suite import plugins
from suite.environment import source_digest
from tools.study import findings, shelf
from tools.study.findings import COUNTS, FAILED, WORTHLESS, Row
from tools.study.plan import Cell, Study

LEAST = 2

# What is said of a machine; what else its fingerprint holds is told where it differs.
DESCRIBED = ("cpu_model", "cores", "kernel")


@dataclass(frozen=True)
class Member:
    """One study: a letter for its machine, and its rows; `models` and `answers` are those of its measured cells.

    The evidence of its rows is named by a path from the folder of the merged report; `digest` is that of all that was
    measured, and of what.
    """

    label: str
    folder: Path
    fingerprint: dict[str, Any]
    source_sha256: str
    rows: list[Row]
    models: dict[Cell, str]
    answers: dict[Cell, NDArray[Any]]
    digest: str


@dataclass(frozen=True)
class Side:
    """A recipe on one machine."""

    label: str
    row: Row
    model: str
    answers: NDArray[Any]


@dataclass(frozen=True)
class Shared:
    """A recipe that was measured on more than one machine."""

    cell: Cell
    sides: tuple[Side, ...]

    @property
    def apart(self) -> list[tuple[Side, Side]]:
        """The pairs whose throughput differs: their 95 % intervals do not meet."""
        return [
            (one, other)
            for one, other in combinations(self.sides, 2)
            if one.row.known_ends[0] > other.row.known_ends[1] or other.row.known_ends[0] > one.row.known_ends[1]
        ]

    @property
    def disputed(self) -> bool:
        """Whether it counts on one machine and is worth nothing on another."""
        states = {side.row.state for side in self.sides}
        return COUNTS in states and bool(states & set(WORTHLESS))

    def _agree(self, one: Side, other: Side) -> NDArray[np.bool_]:
        return plugins.workload(self.cell.workload).judge.agree(one.answers, other.answers)

    @property
    def changed(self) -> list[tuple[Side, Side, int]]:
        """The pairs that answer differently, and on how many samples."""
        pairs = [
            (one, other, int(np.count_nonzero(~self._agree(one, other)))) for one, other in combinations(self.sides, 2)
        ]
        return [pair for pair in pairs if pair[2]]

    @property
    def agrees(self) -> bool:
        """Whether nothing of all that differs."""
        return not (self.apart or self.disputed or self.changed)


def read(folders: Sequence[Path], out: Path, data_dir: Callable[[str], str]) -> list[Member]:
    """Returns the studies in these folders, for a report in `out`.

    Raises UsageError where one is none or was altered, is given twice or as a copy, or has other sources than the
    others: what differs between two machines could then be the sources' doing.
    """
    if len(folders) < LEAST:
        raise UsageError("--merge wants two studies or more: give --merge once for each of their folders.")
    places = [folder.resolve() for folder in folders]
    if len(set(places)) < len(places):
        raise UsageError("--merge was given the same study twice.")
    if any(out.resolve().is_relative_to(place) for place in places):
        raise UsageError(f"--out is {out}, inside a study that is merged, which is not changed. Give another folder.")
    members = [
        _member(label, folder, out, data_dir) for label, folder in zip(_labels(len(folders)), folders, strict=True)
    ]
    for one, other in combinations(members, 2):
        if one.digest == other.digest:
            raise UsageError(f"{other.folder} is a copy of {one.folder}, which agrees with itself. Give another study.")
    strangers = [one for one in members if one.source_sha256 != members[0].source_sha256]
    if strangers:
        first, other = members[0], strangers[0]
        raise UsageError(
            f"{first.folder} was made with sources {first.source_sha256[:12]}, {other.folder} with "
            f"{other.source_sha256[:12]}: what differs could be the sources' doing. Make both with the same version."
        )
    return members


def _labels(count: int) -> list[str]:
    return [chr(ord("A") + number) if number < 26 else f"M{number + 1}" for number in range(count)]


def _member(label: str, folder: Path, out: Path, data_dir: Callable[[str], str]) -> Member:
    about = shelf.read(folder / "study.json")
    records = {path: shelf.read(path) for path in (folder / shelf.CELLS).glob("*.json")}
    if not records:
        raise UsageError(f"{folder} is a study without a finished cell: there is nothing to merge.")
    try:
        # In the order in which they were measured, which is that of their plan.
        ordered = sorted(records.items(), key=lambda one: (str(one[1]["started_at"]), one[0].name))
        cells = tuple(_cell(path, record) for path, record in ordered)
        _check_references(folder, cells)
        rows = findings.rows(Study(cells), folder, data_dir)
        measured = [row for row in rows if row.state != FAILED]
        known = {row.cell: records[folder / row.record] for row in measured}
        for row in measured:
            _check(folder, row)
        return Member(
            label=label,
            folder=folder,
            fingerprint=dict(about["fingerprint"]),
            source_sha256=str(about["source_sha256"]),
            rows=[_relocated(row, folder, out) for row in rows],
            models={cell: str(record["variant"]["model"]["sha256"]) for cell, record in known.items()},
            answers={cell: shelf.answers(folder, _measured(record), record).labels for cell, record in known.items()},
            digest=digest_of([about, *(record for _, record in ordered)]),
        )
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        # Whoever wrote these files is not known here.
        raise UsageError(f"{folder} is no whole study: {type(error).__name__}: {error}.") from error


def _cell(path: Path, record: dict[str, Any]) -> Cell:
    cell = Cell(**record["cell"])
    if path.stem != cell.id:
        raise UsageError(f"{path} is not the file of the cell that it holds.")
    return cell


def _measured(record: dict[str, Any]) -> Cell:
    """Returns the cell of a record, which of repetitions is the first that was measured."""
    return Cell(**record["cell"])


def _check_references(folder: Path, cells: Sequence[Cell]) -> None:
    """Raises UsageError where what was measured beside a reference has none."""
    for cell in cells:
        reference = cell.first.reference
        record, base = shelf.measured(folder, cell), shelf.answered(folder, reference)
        if record and record["state"] == "measured" and not (base and "answers_sha256" in base):
            raise UsageError(f"{folder} lacks the reference of {cell.title}: {shelf.CELLS}/{reference.id}.json.")


def _check(folder: Path, row: Row) -> None:
    """Raises UsageError where a row's accuracy is not that of its answers, or its verdict not that of its runs."""
    assert row.outcomes is not None
    if abs(row.accuracy - 100 * row.outcomes.variant_share) > 1e-6:
        raise UsageError(
            f"{folder} says that {row.cell.title} has {row.accuracy:.2f} %, and its answers have "
            f"{100 * row.outcomes.variant_share:.2f} %: it was altered."
        )
    judged = shelf.verdict(folder, row.cell)
    kept = folder / str(judged["result"]) / "verdict.json" if judged and judged["state"] == "judged" else None
    # A study may be brought here without its results.
    if judged and kept and kept.exists() and shelf.read(kept) != judged["verdict"]:
        raise UsageError(f"{folder} has another verdict on {row.cell.title} than {kept}: it was altered.")


def _relocated(row: Row, folder: Path, out: Path) -> Row:
    """Returns the row with its files as they are named from the merged report."""
    record, evidence = (relpath(folder / path, out) if path else "" for path in (row.record, row.evidence))
    return replace(row, record=record, evidence=evidence)


def shared(members: Sequence[Member]) -> list[Shared]:
    """Returns what was measured on more than one machine, in the order of the first that has it."""
    sides: dict[Cell, list[Side]] = {}
    for member in members:
        for row in member.rows:
            if row.state != FAILED:
                side = Side(member.label, row, member.models[row.cell], member.answers[row.cell])
                sides.setdefault(row.cell, []).append(side)
    return [Shared(cell, tuple(own)) for cell, own in sides.items() if len(own) >= LEAST]


def told_apart(members: Sequence[Member]) -> dict[str, list[str]]:
    """Returns what else differs between the machines' fingerprints: names, and a value for each machine."""
    flat = [_flat(member.fingerprint) for member in members]
    names = dict.fromkeys(name for one in flat for name in one if name not in DESCRIBED)
    values = {name: [one.get(name, "none") for one in flat] for name in names}
    return {name: own for name, own in values.items() if len(set(own)) > 1}


def _flat(fingerprint: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in fingerprint.items():
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": str(one) for inner, one in value.items()}
        else:
            found[name] = str(value)
    return found


def ours(members: Sequence[Member]) -> bool:
    """Tells whether the studies were made with the sources that report them now."""
    return members[0].source_sha256 == source_digest()
