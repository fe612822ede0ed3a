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


X86 = """processor\t: 0
cpu family\t: 25
model\t\t: 17
model name\t: AMD EPYC
stepping\t: 1
flags\t\t: fpu sse4_1 rdrand avx2 avx512_vnni nx

processor\t: 1
model\t\t: 18
"""
ARM = """processor\t: 0
Features\t: fp asimd crc32 i8mm
CPU implementer\t: 0x41
CPU part\t: 0xd4f
"""


@pytest.mark.parametrize(
    ("told", "kind", "instructions"),
    [
        (X86, "cpu family 25, model 17, stepping 1", "avx2 avx512_vnni fpu sse4_1"),
        (X86.replace("avx512_vnni ", ""), "cpu family 25, model 17, stepping 1", "avx2 fpu sse4_1"),
        (ARM, "CPU implementer 0x41, CPU part 0xd4f", "asimd fp i8mm"),
        ("", "unknown", "unknown"),
    ],
)
def test_processors_of_one_name_are_told_apart_by_what_they_multiply_with(
    told: str, kind: str, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "read_text", lambda path: told)
    found = environment._processor.__wrapped__()
    assert (found["cpu_kind"], found["cpu_instructions"]) == (kind, instructions)
    assert found["cpu_model"]


def test_results_do_not_belong_among_sources(tmp_path: Path) -> None:
    environment.refuse_within(str(tmp_path / "suite"), {"--results-dir": str(tmp_path / "results")})
    for place in (tmp_path / "suite", tmp_path / "suite" / "results", tmp_path / "x" / ".." / "suite" / "results"):
        with pytest.raises(UsageError, match="--results-dir is .*, inside .*suite"):
            environment.refuse_within(str(tmp_path / "suite"), {"--results-dir": str(place)})
