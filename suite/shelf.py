"""The cache's folders of models: a file that is named after its format, and an artifact.json that says what it is.

A folder's name is the key of all that went into the model. It appears at once and whole, and is never changed.
Reading one imports no runtime.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import sha256_file, write_json
from reference_models.base import Model

SCHEMA = 1
CARD = "artifact.json"


def folder_of(cache: Path, key: str) -> Path:
    """Returns the folder of a key, below the root of the cache."""
    return cache / "artifacts" / key


def cached(cache: Path, key: str) -> Model | None:
    """Returns the model of a key, None where there is none; raises UsageError as `read` does."""
    folder = folder_of(cache, key)
    return read(folder) if folder.is_dir() else None


def file_of(kind: str) -> str:
    """Returns the name of the file of a model in a format."""
    return f"model.{kind}"


def publish(cache: Path, key: str, card: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]]) -> None:
    """Has `write` write a model to the path that it is given, and puts it into the folder of its key.

    What `write` returns becomes a part of the card, beside the model's digest: its format too, where that is another
    than `card` has. Two processes may do so at the same time: one folder stays.
    """
    folder = folder_of(cache, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key[:16]}."))
    try:
        written = draft / file_of(card["format"])
        said = {**card, **write(written)}
        file = written.rename(draft / file_of(said["format"]))
        write_json(draft / CARD, {"schema": SCHEMA, "key": key, **said, "sha256": sha256_file(file)})
        try:
            os.rename(draft, folder)
        except OSError:
            # A folder that holds something cannot be replaced: another process came first, and its model stays.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read(folder: Path) -> Model:
    """Returns the model of an artifact's folder; raises UsageError where its files are not what was written there."""
    card = _read_card(folder)
    file = folder / file_of(card["format"])
    strangers = sorted({path.name for path in folder.iterdir()} - {file.name, CARD})
    if strangers:
        # An ONNX model may keep its weights in files of their own, of which its digest says nothing.
        raise _bad(folder / strangers[0], "it is no part of an artifact", folder)
    if card["key"] != folder.name:
        raise _bad(folder / CARD, f"it is the card of artifact {card['key']}, not of {folder.name}", folder)
    try:
        found = sha256_file(file)
    except OSError as error:
        raise _bad(file, f"it cannot be read ({error})", folder) from error
    if found != card["sha256"]:
        raise _bad(file, f"expected SHA-256 {card['sha256']}, found {found}", folder)
    return Model(card["format"], file, found, tuple(card["chain"]))


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card: dict[str, Any] = json.loads(path.read_bytes())
        if card["schema"] != SCHEMA:
            raise _bad(path, f"expected schema {SCHEMA}, found {card['schema']}", folder)
        if not all(isinstance(card[name], str) for name in ("key", "format", "sha256")):
            raise _bad(path, "expected texts for key, format and sha256", folder)
        if not all(isinstance(change, str) for change in card["chain"]):
            raise _bad(path, "expected texts in chain", folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _bad(path, f"it is no artifact's card ({error!r})", folder) from error
    return card


def _bad(path: Path, what: str, folder: Path) -> UsageError:
    return UsageError(
        f"The model artifact {path} is corrupt or foreign: {what}. Delete the folder {folder} to have it made again."
    )
