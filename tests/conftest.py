"""What tests of several rooms share."""

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.places import cache_dir


def _own_cache() -> str:
    """Returns a cache for this session: with the user's data and artifacts, and searches of its own."""
    folder = tempfile.TemporaryDirectory(prefix="tandem-cache-")
    atexit.register(folder.cleanup)
    users = cache_dir("", os.environ)
    for name in ("data", "artifacts"):
        (users / name).mkdir(parents=True, exist_ok=True)
        (Path(folder.name) / name).symlink_to(users / name)
    return folder.name


# Before any test module asks where the cache is; what tests start has it from the environment.
os.environ["TANDEM_CACHE"] = _own_cache()
# A shell has what it starts in the background ignore Ctrl-C, and what tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(os.environ["TANDEM_CACHE"]) / "torchinductor")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has those that take longest begin first."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Returns the folder of the datasets, filled by `make data`."""
    return cache_dir("", os.environ) / "data"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yields a folder on a file system of 400 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount here")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
