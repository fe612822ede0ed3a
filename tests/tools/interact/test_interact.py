"""`tools.interact`: a real map with cells that fail, its files, and what is refused."""

import csv
import json
from pathlib import Path

import pytest

from suite.resources import usable_cores
from tests.suite.commands import Command, Ended, cache

pytestmark = pytest.mark.side_by_side


def interact(*words: str) -> Ended:
    ended = Command("tools.interact", f"--cache-dir={cache()}", *words).end(150)
    assert ended.left_behind == [], ended.stderr
    return ended


@pytest.mark.skipif(usable_cores() < 2, reason="a session of two threads wants two cores")
def test_a_map_has_every_cell_and_the_reason_where_one_fails(tmp_path: Path) -> None:
    """Batches of 8 have no room: with one thread the model says so, with two it takes its process with it."""
    folder, axes = tmp_path / "map", ("--batches=2,8,16", "--sessions=1,1024", "--threads=1,2", "--prefetch=0")
    time = ("--seconds=0.1", "--rounds=2")
    ended = interact("--backend=tests.zoo.little_memory", *axes, *time, f"--out={folder}")
    assert ended.code == 0, ended.stderr
    told = ("map: 8 of 16 cells, 0.1 s each: about ", "map: 2 rounds of 4 cells: about ", "map: round 2 of 2")
    assert all(line in ended.stderr for line in told)
    with (folder / "map.csv").open() as file:
        rows = {(row["sessions"], row["threads"], row["batch"]): row for row in csv.DictReader(file)}
    assert len(rows) == 16
    for threads in ("1", "2"):
        for batch in ("1", "2"):
            row = rows["1", threads, batch]
            assert (row["state"], row["rounds"], row["changed_answers"]) == ("measured", "2", "0")
            assert int(row["compared_answers"]) == 1024 and float(row["samples_per_s"]) > 0
        assert rows["1", threads, "16"]["reason"] == "not tried: a batch of 8 failed already"
        assert f"1,024 sessions of {threads} thread" in ended.stdout
    assert float(rows["1", "1", "1"]["relative"]) == 1
    assert "MemoryError: no room for 8 samples" in rows["1", "1", "8"]["reason"]
    assert "killed by SIGKILL" in rows["1", "2", "8"]["reason"]
    assert rows["1024", "1", "1"]["reason"] == f"1,024 cores wanted, {usable_cores():,} can be used"
    assert "Some cells that the cores allow fail: seen here; 2 of 8 did, and 2 were not tried" in ended.stdout
    assert "no answer of 1,024 or more differs in any of 4 cells" in ended.stdout

    found = json.loads((folder / "map.json").read_text())
    assert found["variant"]["backend"] == "tests.zoo.little_memory" and found["fingerprint"]["cores"]
    assert len(found["cells"]) == 16 and found["axes"]["batches"] == [1, 2, 8, 16]
    assert (folder / "map.png").read_bytes()[:4] == b"\x89PNG" and "</svg>" in (folder / "map.svg").read_text()


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        ended = interact(f"--out={tmp_path / 'map'}", *words)
        assert ended.code == 2 and not ended.stdout
        return ended.sentence

    assert "leave batch, parallel, prefetch and pipeline out" in refused("--optimize=batch:16")
    assert "leave pipeline out" in refused("--backend-options=pipeline=2")
    assert "--batches holds '2048'; it takes whole numbers from 1 to 1024" in refused("--batches=2048")
    assert "--pin is auto, and nothing is chosen here" in refused("--pin=auto")
    assert not (tmp_path / "map").exists()
    (tmp_path / "file").touch()
    assert f"The map cannot be kept in {tmp_path / 'file'}" in refused(f"--out={tmp_path / 'file'}")
