"""What sessions have answered before load is put on them."""

from pathlib import Path

import pytest

from tests.suite.commands import told

pytestmark = pytest.mark.side_by_side


def test_in_offline_every_session_has_met_the_sizes_of_all_batches(tmp_path: Path) -> None:
    """A runtime makes a new size ready; that the last batches are of one nobody chose must not cost the run that."""
    seen, _ = told(tmp_path / "results", "offline", "--sessions=2", "--max-batch=48")
    under_load = [one for one in seen if one["what"] == "predict" and one["thread"] == "worker"]
    assert {one["samples"] for one in under_load} > {48}, "all batches are full: the load leaves nothing to see"
    for one in under_load:
        before = [other for other in seen[: seen.index(one)] if other["thread"] != "worker"]
        assert (one["session"], one["samples"]) in {(other["session"], other["samples"]) for other in before}
