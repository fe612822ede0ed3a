import json
import math
from pathlib import Path

import pytest

from common.files import atomic_file, canonical_json, digest_of, tree_digest, write_json

pytestmark = pytest.mark.side_by_side


def test_json_has_one_text_whatever_the_order_of_its_keys() -> None:
    assert canonical_json({"b": 1, "a": "ü"}) == '{\n  "a": "ü",\n  "b": 1\n}\n'
    assert digest_of({"b": 1, "a": 2}) == digest_of({"a": 2, "b": 1}) != digest_of({"a": 2, "b": 3})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_json_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        write_json(tmp_path / "a.json", {"value": value})
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_utf_8_are_written_and_read_back(tmp_path: Path) -> None:
    """Python keeps the bytes of such a file's name as lone surrogates."""
    write_json(tmp_path / "a.json", {"reason": "cannot open 'm\udce4del.bin'"})
    assert json.loads((tmp_path / "a.json").read_bytes()) == {"reason": "cannot open 'm\udce4del.bin'"}


def test_a_file_that_fails_half_way_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as file:
        file.write(b"new")
        raise RuntimeError
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_trees_digest_is_that_of_its_regular_files(tmp_path: Path) -> None:
    (tmp_path / "room" / "__pycache__").mkdir(parents=True)
    (tmp_path / "room" / "a.py").write_text("1")

    def digest() -> str:
        return tree_digest(tmp_path, [tmp_path / "room"], {".py", ".toml"})

    before = digest()
    (tmp_path / "room" / "notes.md").write_text("1")
    (tmp_path / "room" / "__pycache__" / "a.py").write_text("1")
    # As an editor makes them, for a file that is open.
    (tmp_path / "room" / ".#a.py").symlink_to("somebody@somewhere")
    assert digest() == before
    (tmp_path / "room" / "rules.toml").write_text("x = 1")
    assert digest() != before
