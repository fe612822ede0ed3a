"""The cache's folders of models: a model.onnx, and an artifact.json that says what it is.

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
FILE = "model.onnx"
CARD = "artifact.json"


def folder_of(cache: Path, key: str) -> Path:
    """Returns the folder of a key, below the root of the cache."""
    return cache / "artifacts" / key


def cached(cache: Path, key: str) -> Model | None:
    """Returns the model of a key, None where there is none; raises UsageError as `read` does."""
    folder = folder_of(cache, key)
    return read(folder) if folder.is_dir() else None


def publish(cache: Path, key: str, card: Mapping[str, Any], write: Callable[[Path], Mapping[str, Any]]) -> None:
    """Has `write` write a model to the path that it is given, and puts it into the folder of its key.

    What `write` returns becomes a part of the card, beside the model's digest. Two processes may do so at the same
    time: one folder stays.
    """
    folder = folder_of(cache, key)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key[:16]}."))
    try:
        facts = write(draft / FILE)
        write_json(draft / CARD, {"schema": SCHEMA, "key": key, **card, **facts, "sha256": sha256_file(draft / FILE)})
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
    strangers = sorted({path.name for path in folder.iterdir()} - {FILE, CARD})
    if strangers:
        # An ONNX model may keep its weights in files of their own, of which its digest says nothing.
        raise _bad(folder / strangers[0], "it is no part of an artifact", folder)
    if card["key"] != folder.name:
        raise _bad(folder / CARD, f"it is the card of artifact {card['key']}, not of {folder.name}", folder)
    try:
        found = sha256_file(folder / FILE)
    except OSError as error:
        raise _bad(folder / FILE, f"it cannot be read ({error})", folder) from error
    if found != card["sha256"]:
        raise _bad(folder / FILE, f"expected SHA-256 {card['sha256']}, found {found}", folder)
    return Model(card["format"], folder / FILE, found, tuple(card["chain"]))


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
