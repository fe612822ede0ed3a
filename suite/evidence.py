"""One run's folder: the manifest over its files, and what they say, frozen.

A folder without a manifest is no run. Whatever else is wrong with one is kept in `problems` and `altered`, so that a
damaged run can still be judged, and be told what is wrong with it. Nothing that evidence names is imported or opened,
and nothing but a regular file is: a link may lead anywhere, and a pipe may never end.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from accuracy_scripts.answers import AnswerLog, read_log
from common.errors import TandemError, UsageError
from common.files import sha256_file, write_json
from scenarios.harness import logs, timeline
from scenarios.harness.logs import RunResult
from scenarios.harness.timeline import Timeline

SCHEMA = 1
MANIFEST = "manifest.json"
RECORD = "run.json"
ENVIRONMENT = "environment.json"
PREPARATION = "preparation.json"
# A performance run alone has these: the repeat probe again, after the test and in its process, with the answers to
# unseen inputs; and the reference's answers to the same.
PROBE_AFTER = "probe_after.json"
REFERENCE_AFTER = "reference_after.json"

IRREGULAR = "not a regular file"


@dataclass(frozen=True)
class Evidence:
    """What one run left behind.

    The mappings are empty where their file is missing or unreadable; `result`, `answers` and `timeline` are None then.
    `problems` says what could not be read; `altered` names each file that is not what the manifest says, and how.
    `manifest_sha256`, of the manifest itself, names the evidence; it is empty where the manifest is no regular file.
    """

    folder: Path
    record: Mapping[str, Any]
    environment: Mapping[str, Any]
    preparation: Mapping[str, Any]
    probe_after: Mapping[str, Any]
    reference_after: Mapping[str, Any]
    result: RunResult | None
    answers: AnswerLog | None
    timeline: Timeline | None
    problems: tuple[str, ...]
    altered: tuple[str, ...]
    manifest_sha256: str

    def get(self, *path: str) -> Any:
        """Returns what the record says under these keys, one inside the other, or None."""
        return lookup(self.record, *path)

    @property
    def mode(self) -> str:
        """performance, accuracy, or what else the record says."""
        return str(self.get("mode"))

    @property
    def scenario(self) -> str:
        """The scenario's name, as the record has it."""
        return str(self.get("scenario"))


def lookup(value: Any, *path: str) -> Any:
    """Returns what stands under these keys, one inside the other, or None where one is missing."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def write_manifest(folder: Path) -> None:
    """Writes the SHA-256 of every regular file of a run but the manifest; from then on the folder is a run."""
    files = {name: sha256_file(folder / name) for name in _files(folder) if _regular(folder / name)}
    write_json(folder / MANIFEST, {"schema": SCHEMA, "files": files})


def check_manifest(folder: Path) -> tuple[str, ...]:
    """Returns each file that is not what the manifest says, with how it differs; raises UsageError without manifest."""
    _require_run(folder)
    if not _regular(folder / MANIFEST):
        return (f"{MANIFEST}: {IRREGULAR}",)
    try:
        listed = _read_json(folder / MANIFEST).get("files")
    except TandemError as error:
        return (str(error),)
    if not isinstance(listed, dict):
        return (f"{MANIFEST}: lists no files",)
    found = _files(folder)
    irregular = {name for name in found if not _regular(folder / name)}
    known = [name for name in found if name in listed and name not in irregular]
    return (
        *(fault for name in known if (fault := _altered(folder / name, name, listed[name]))),
        *(f"{name}: {IRREGULAR}" for name in sorted(irregular)),
        *(f"{name}: missing" for name in sorted(set(listed) - set(found))),
        *(f"{name}: not in the manifest" for name in found if name not in listed and name not in irregular),
    )


def _altered(path: Path, name: str, listed: Any) -> str | None:
    try:
        return None if sha256_file(path) == listed else f"{name}: altered"
    except OSError as error:
        return f"{name}: cannot be read ({error.strerror})"


def read(folder: Path) -> Evidence:
    """Returns a run's evidence; raises UsageError for a folder that is no run."""
    altered = check_manifest(folder)
    problems: list[str] = []

    def attempt(reader: Callable[[], Any], otherwise: Any, *names: str) -> Any:
        irregular = [name for name in names if os.path.lexists(folder / name) and not _regular(folder / name)]
        problems.extend(f"{name}: {IRREGULAR}" for name in irregular)
        if irregular:
            return otherwise
        try:
            return reader()
        except TandemError as error:
            problems.append(str(error))
            return otherwise

    def record(name: str) -> Any:
        return attempt(lambda: _read_json(folder / name), {}, name)

    def record_if_any(name: str) -> Any:
        return record(name) if os.path.lexists(folder / name) else {}

    return Evidence(
        folder=folder,
        record=record(RECORD),
        environment=record(ENVIRONMENT),
        preparation=record(PREPARATION),
        probe_after=record_if_any(PROBE_AFTER),
        reference_after=record_if_any(REFERENCE_AFTER),
        result=attempt(lambda: logs.read(folder), None, logs.DETAIL, logs.SUMMARY),
        answers=attempt(lambda: read_log(folder / logs.ANSWERS), None, logs.ANSWERS),
        timeline=attempt(lambda: Timeline.load(folder / timeline.FILE), None, timeline.FILE),
        problems=tuple(problems),
        altered=altered,
        manifest_sha256=sha256_file(folder / MANIFEST) if _regular(folder / MANIFEST) else "",
    )


def _require_run(folder: Path) -> None:
    if os.path.lexists(folder / MANIFEST):
        return
    inside = [name for name in ("performance", "accuracy") if os.path.lexists(folder / name / MANIFEST)]
    hint = f" Its runs are inside: {', '.join(str(folder / name) for name in inside)}." if inside else ""
    what = f"holds no {MANIFEST}" if folder.is_dir() else "is no folder"
    raise UsageError(f"{folder} is no run: it {what}.{hint}")


def _files(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) != MANIFEST)


def _regular(path: Path) -> bool:
    return not path.is_symlink() and path.is_file()


def _read_json(path: Path) -> dict[str, Any]:
    """Returns a file's object; raises TandemError where it is missing, no object, or of another schema."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"it holds {name}")

    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise TandemError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise TandemError(f"{path.name} cannot be read: it is no object of schema {SCHEMA}.")
    return value
