"""What tests of several rooms share."""

import os
from pathlib import Path

import pytest

from suite.places import cache_dir


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Returns the folder of the datasets, filled by `make data`."""
    return cache_dir("", os.environ) / "data"
