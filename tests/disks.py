"""Disks that are full."""

from pathlib import Path

import pytest


def fill(folder: Path) -> Path:
    """Returns the file that takes all that is left of a folder's file system."""
    path = folder / "rubbish"
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return path
