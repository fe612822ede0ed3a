"""What tests of several rooms share."""

from pathlib import Path

import pytest

from tools.fetch_data import cache_root


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Returns the folder of the datasets, filled by `make data`."""
    return cache_root() / "data"
