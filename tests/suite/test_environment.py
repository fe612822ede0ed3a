"""What machine this is, and what our sources are: facts by which runs are told apart."""

import platform
import shutil
from pathlib import Path

import pytest

from common.errors import UsageError
from suite import environment


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a copy of our sources, which are those that are digested."""
    for room in environment.ROOMS:
        shutil.copytree(environment.ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "file", ["suite/law/valid.py", "suite/rules/quick.toml", "reference_models/fashion_resnet/reference.json"]
)
def test_the_digest_of_our_sources_changes_with_each(sources: Path, file: str) -> None:
    before = environment.source_digest()
    assert environment.source_digest() == before
    (sources / file).write_text((sources / file).read_text() + "\n")
    assert environment.source_digest() != before


@pytest.mark.parametrize("file", ["reference_models/fashion_resnet/CARD.md", "suite/.#plan.py"])
def test_what_decides_nothing_is_not_in_it(sources: Path, file: str) -> None:
    before = environment.source_digest()
    (sources / file).unlink(missing_ok=True)
    # The second is what an editor makes of a file that is open.
    (sources / file).symlink_to("somebody@somewhere")
    assert environment.source_digest() == before


def test_a_fingerprint_names_the_machine_by_its_traits_and_not_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("LD_PRELOAD", "/lib/fast\udcff.so")
    found = environment.fingerprint("cpu")
    assert found["variables"]["OMP_NUM_THREADS"] == "3"
    assert found["cores"] >= 1 and found["memory_bytes"] > 1e8 and found["packages"]["mlcommons-loadgen"] == "6.0.17"
    assert platform.node() not in found.values()


def test_results_do_not_belong_among_sources(tmp_path: Path) -> None:
    environment.refuse_within(str(tmp_path / "suite"), {"--results-dir": str(tmp_path / "results")})
    for place in (tmp_path / "suite", tmp_path / "suite" / "results", tmp_path / "x" / ".." / "suite" / "results"):
        with pytest.raises(UsageError, match="--results-dir is .*, inside .*suite"):
            environment.refuse_within(str(tmp_path / "suite"), {"--results-dir": str(place)})
