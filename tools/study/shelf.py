"""A study on disk: one file a finished cell, written whole or not at all, so that it goes on wherever it was ended.

study.json         the machine and the sources that all of it is of; lock: held while a process is at it
answers/ID.json    how accurate a cell is and with which arithmetic: what is known before it takes turns
cells/ID.json      all that was measured of it, or why it could not be; ID.npz: its answers and its confidence in each,
                   in index order
processes/ID-N.json  blocks of a cell's N-th process, for which a budget had time left
verdicts/ID.json   the verdict of its full runs, which lie in results/
clocks/study.json  how long each step took; best-ID.json: likewise of the search for what is faster than a reference
looks/, turns/     what that search has seen of a cell
"""

import contextlib
import fcntl
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import UsageError
from common.files import sha256_bytes, write_atomically, write_json
from suite import environment
from tools.study.plan import Cell

SCHEMA = 1
ABOUT, CELLS, VERDICTS, RESULTS, LOCK = "study.json", "cells", "verdicts", "results", "lock"
LOOKS, TURNS, CLOCKS, MORE, ANSWERS = "looks", "turns", "clocks", "processes", "answers"


class Answers(NamedTuple):
    """What a variant answered to each sample, in index order, (n,) or (n, k), and how sure it was of each, (n,)."""

    labels: NDArray[Any]
    confidence: NDArray[Any]


def claim(folder: Path) -> dict[str, Any]:
    """Returns what the study is of, written on its first start; raises UsageError where it is of something else."""
    ours = {
        "schema": SCHEMA,
        "fingerprint": environment.fingerprint("cpu"),
        "source_sha256": environment.source_digest(),
    }
    path = folder / ABOUT
    if not path.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} holds something else than a study. Give another folder with --out.")
        _kept(lambda: write_json(path, ours), folder)
        return ours
    theirs = read(path)
    changed = [name for name in ("fingerprint", "source_sha256") if theirs.get(name) != ours[name]]
    if changed:
        what = {"fingerprint": "on another machine, or with other packages", "source_sha256": "with other sources"}
        raise UsageError(
            f"The study in {folder} was begun {' and '.join(what[name] for name in changed)}: its figures cannot be "
            "compared with new ones. Give another folder with --out."
        )
    return theirs


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Claims a study for this process alone; raises UsageError where another one is at it, or `claim` does."""
    claim(folder)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Another process is at the study in {folder}, and two would spoil each other's figures. Wait for it, "
                "or end it."
            ) from None
        yield


def machine(folder: Path) -> dict[str, Any]:
    """Returns the fingerprint of the machine that a study is of."""
    return dict(read(folder / ABOUT)["fingerprint"])


def measured(folder: Path, cell: Cell) -> dict[str, Any] | None:
    """Returns what is known of a cell that is finished, None where it is not."""
    return recorded(folder, CELLS, cell.id)


def answered(folder: Path, cell: Cell) -> dict[str, Any] | None:
    """Returns what is known of a cell, though it has yet to take turns with its reference; None where nothing is."""
    return measured(folder, cell) or recorded(folder, ANSWERS, cell.id)


def keep_answered(
    folder: Path, cell: Cell, record: dict[str, Any], answers: Answers, *, finished: bool = False
) -> None:
    """Keeps what a cell answered, the answers first; where it takes no turns it is finished with that."""
    content = io.BytesIO()
    np.savez(content, **answers._asdict())
    _kept(lambda: write_atomically(folder / CELLS / f"{cell.id}.npz", content.getvalue()), folder)
    kept = {**record, "answers_sha256": sha256_bytes(content.getvalue())}
    keep(folder, CELLS if finished else ANSWERS, cell.id, kept)


def keep_measured(folder: Path, cell: Cell, record: dict[str, Any]) -> None:
    """Keeps all that was measured of a cell: it is finished."""
    keep(folder, CELLS, cell.id, record)


def answers(folder: Path, cell: Cell, record: dict[str, Any]) -> Answers:
    """Returns a cell's answers; raises UsageError where they are not those of its record."""
    path = folder / CELLS / f"{cell.id}.npz"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The answers {path} cannot be read ({error.strerror}). {_again(folder, cell)}") from None
    if sha256_bytes(content) != record.get("answers_sha256"):
        raise UsageError(f"The answers {path} are not those of their record. {_again(folder, cell)}")
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return Answers(found["labels"], found["confidence"])


def verdict(folder: Path, cell: Cell) -> dict[str, Any] | None:
    """Returns what came of a cell's full runs, None where there were none."""
    return recorded(folder, VERDICTS, cell.id)


def keep_verdict(folder: Path, cell: Cell, found: dict[str, Any]) -> None:
    """Keeps what came of a cell's full runs."""
    keep(folder, VERDICTS, cell.id, found)


def recorded(folder: Path, kind: str, name: str) -> dict[str, Any] | None:
    """Returns a record of a kind (LOOKS, ...), None where there is none."""
    path = folder / kind / f"{name}.json"
    return read(path) if path.exists() else None


def keep(folder: Path, kind: str, name: str, found: dict[str, Any]) -> None:
    """Keeps a record of a kind."""
    _kept(lambda: write_json(folder / kind / f"{name}.json", {"schema": SCHEMA, **found}), folder)


def invalid(judged: dict[str, Any]) -> bool:
    """Tells whether full runs do not count for the sole reason that LoadGen does not call them valid.

    That is of the load that was asked for and of what the machine did meanwhile, and not of what was answered.
    """
    if judged["state"] != "judged":
        return False
    failed = [one for one in judged["verdict"]["checks"] if not one["passed"]]
    # Where LoadGen says VALID and the timeline contradicts it, something is wrong.
    return [one["name"] for one in failed] == ["valid"] and failed[0]["detail"].startswith("LoadGen says INVALID")


def forget_failures(folder: Path, cells: tuple[Cell, ...]) -> None:
    """Forgets the cells that failed and full runs that were not valid, so that they are tried again."""
    for cell in cells:
        for kind in (CELLS, VERDICTS, MORE, LOOKS, TURNS):
            for path in (folder / kind).glob(f"{cell.id}*.json"):
                found = read(path)
                if found["state"] == "failed" or (kind == VERDICTS and invalid(found)):
                    path.unlink()


def read(path: Path) -> dict[str, Any]:
    """Returns a file of a study; raises UsageError where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(damaged(path, error)) from None
    return dict(found)


def damaged(path: Path, what: object) -> str:
    """Returns the sentence for a file that is none of a study's."""
    return f"{path} is no file of a study ({what}). Delete it, and it is made again."


def _again(folder: Path, cell: Cell) -> str:
    records = " and ".join(str(folder / kind / f"{cell.id}.json") for kind in (ANSWERS, CELLS))
    return f"Delete {records}, and the cell is measured again."


def _kept(write: Callable[[], None], folder: Path) -> None:
    try:
        write()
    except OSError as error:
        raise UsageError(
            f"The study cannot be kept in {folder} ({error.strerror or error}). What is finished stays: make room, and "
            "start it again."
        ) from error
