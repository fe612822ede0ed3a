"""Where results are kept: results/<workload>/<variant>/<scenario>/<time>/<mode>/. The tree is the truth."""

import contextlib
import datetime
import json
import tempfile
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import canonical_json, write_atomically
from suite.evidence import RECORD

# Written when a run starts and deleted before its record is, so that a full disk still takes the record.
BALLAST = ".ballast"
BALLAST_BYTES = 256 * 1024


def now() -> str:
    """Returns the time in UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def check_results(results: Path) -> None:
    """Makes the folder of all results; raises UsageError where it cannot be made or written."""
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise _unwritable(results, error) from error


def _unwritable(results: Path, error: OSError) -> UsageError:
    return UsageError(
        f"The results directory {results} cannot be written ({error.strerror or error}). "
        "Give another with --results-dir."
    )


def new_result(results: Path, workload: str, variant: str, scenario: str) -> Path:
    """Returns a fresh folder for one result; raises UsageError where it cannot be made."""
    parent = results / workload / variant / scenario
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return _fresh(parent)
    except OSError as error:
        raise _unwritable(results, error) from error


def _fresh(parent: Path) -> Path:
    while True:
        folder = parent / datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder


def new_run(result: Path, mode: str) -> Path:
    """Returns a fresh run folder, with its ballast; raises UsageError where it cannot be made."""
    folder = result / mode
    try:
        folder.mkdir()
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be made ({error.strerror or error}).") from error
    with contextlib.suppress(OSError):
        (folder / BALLAST).write_bytes(b"\0" * BALLAST_BYTES)
    return folder


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes a run's record."""
    write_atomically(folder / RECORD, canonical_json(record).encode())


def drop_ballast(folder: Path) -> None:
    """Makes room for what must be written last."""
    (folder / BALLAST).unlink(missing_ok=True)


def attempts(
    results: Path, workload: str, variant: str, scenario: str, profile: str
) -> list[tuple[Path, dict[str, Any]]]:
    """Returns every performance test that was started for this variant, scenario and profile, the oldest first.

    Each with its record, which is empty where there is none: a test that was killed before it could write one.
    """
    folders = sorted((results / workload / variant / scenario).glob("*/performance"))
    found = ((folder, _record(folder)) for folder in folders)
    return [(folder, record) for folder, record in found if record.get("profile", profile) == profile]


def _record(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
