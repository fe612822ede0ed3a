"""Digests and atomic writes."""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import IO, Any


def sha256_bytes(data: bytes) -> str:
    """Returns the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal; raises OSError when it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """Returns the one JSON text of `value`: sorted keys, two spaces, a final newline; raises ValueError on NaN."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    # Names of files and variables may hold bytes that are no UTF-8, which Python keeps as lone surrogates.
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def tree_digest(root: Path, folders: Iterable[Path], suffixes: Container[str]) -> str:
    """Returns the SHA-256 over the files with these suffixes below folders of `root`, by path and content."""
    files = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in suffixes and "__pycache__" not in path.parts and path.is_file()
    )
    return digest_of([[path.relative_to(root).as_posix(), sha256_file(path)] for path in files])


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of a JSON-like value, whatever the order of its keys."""
    return sha256_bytes(canonical_json(value).encode())


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Yields a binary file that becomes `path` when the block ends, and leaves nothing behind if it raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Has the disk keep a new name too, where the file system can do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes `data` to `path` so that a reader sees the old content or the new, never a part."""
    with atomic_file(path) as file:
        file.write(data)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as canonical JSON, atomically."""
    write_atomically(path, canonical_json(value).encode())
