import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import UsageError
from common.files import sha256_file, write_json
from suite.evidence import Evidence, check_manifest, read, write_manifest
from tests.evidence_factory import assert_refused, case, folder

pytestmark = pytest.mark.side_by_side


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder("offline", "performance"), tmp_path / "run"))


def test_an_honest_run_is_as_it_was_written(run: Path) -> None:
    assert check_manifest(run) == ()
    before = (run / "manifest.json").read_bytes()
    write_manifest(run)
    assert (run / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("name", ["run.json", "timeline.npz", "mlperf_log_detail.txt", "mlperf_log_accuracy.json"])
def test_one_changed_byte_is_found_in_its_file(run: Path, name: str) -> None:
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    assert check_manifest(run) == (f"{name}: altered",)


def test_a_missing_and_an_extra_file_are_named(run: Path) -> None:
    (run / "environment.json").unlink()
    (run / "more").mkdir()
    (run / "more" / "notes.txt").write_text("hello")
    assert check_manifest(run) == ("environment.json: missing", "more/notes.txt: not in the manifest")


def test_a_link_is_no_evidence(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "run.json", tmp_path / "elsewhere.json")
    (run / "run.json").symlink_to(tmp_path / "elsewhere.json")
    assert check_manifest(run) == ("run.json: not a regular file",)


@pytest.mark.parametrize("name", ["run.json", "mlperf_log_summary.txt", "timeline.npz", "probe_after.json", "more"])
def test_what_is_no_regular_file_is_named_and_never_opened(run: Path, name: str) -> None:
    """Whoever opened a pipe that nobody writes to would wait for ever."""
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    evidence = read(run)
    assert f"{name}: not a regular file" in evidence.altered
    assert (f"{name}: not a regular file" in evidence.problems) == (name != "more")
    assert_refused_at_least(evidence, "manifest")
    write_manifest(run)
    # A new manifest does not vouch for it either.
    assert_refused_at_least(read(run), "manifest")


def test_a_link_to_a_log_is_never_followed(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "mlperf_log_detail.txt", tmp_path / "elsewhere.txt")
    (run / "mlperf_log_detail.txt").symlink_to(tmp_path / "elsewhere.txt")
    evidence = read(run)
    assert evidence.result is None
    assert_refused_at_least(evidence, "manifest", "finished", "valid")


def test_a_manifest_that_is_no_regular_file_vouches_for_nothing(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "manifest.json", tmp_path / "elsewhere.json")
    (run / "manifest.json").symlink_to(tmp_path / "elsewhere.json")
    assert check_manifest(run) == ("manifest.json: not a regular file",)
    assert read(run).manifest_sha256 == ""
    (run / "manifest.json").unlink()
    os.mkfifo(run / "manifest.json")
    assert read(run).altered == ("manifest.json: not a regular file",)


def assert_refused_at_least(evidence: Evidence, *codes: str) -> None:
    assert set(codes) <= replace(case("offline"), performance=evidence).failed()


def test_the_manifest_names_the_evidence(run: Path) -> None:
    assert read(run).manifest_sha256 == sha256_file(run / "manifest.json")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"schema": 1}', '{"schema": 1, "files": []}', '{"schema": 2, "files": {}}']
)
def test_a_damaged_manifest_vouches_for_nothing(run: Path, content: str) -> None:
    (run / "manifest.json").write_text(content)
    assert len(check_manifest(run)) == 1


def test_a_manifest_cannot_point_outside(run: Path) -> None:
    write_json(run / "manifest.json", {"schema": 1, "files": {"../../etc/passwd": "0" * 64}})
    assert "../../etc/passwd: missing" in check_manifest(run)


def test_a_folder_without_manifest_is_no_run(run: Path) -> None:
    (run / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"is no run: it holds no manifest\.json"):
        read(run)
    with pytest.raises(UsageError, match="is no run: it is no folder"):
        read(run / "nothing")
    with pytest.raises(UsageError, match="Its runs are inside"):
        read(folder("offline", "performance").parent if (folder("offline", "accuracy")) else run)


def test_an_altered_file_keeps_a_figure_from_counting() -> None:
    honest = case("offline")
    altered = replace(honest.accuracy, altered=("run.json: altered",))
    assert "accuracy run: run.json: altered" in assert_refused(replace(honest, accuracy=altered), "manifest")


@pytest.mark.parametrize("name", ["run.json", "preparation.json", "environment.json"])
@pytest.mark.parametrize("content", ["", "[1]", '{"schema": 1, "x": NaN}', '{"schema": 9}', "[" * 100_000])
def test_a_damaged_record_is_read_as_damaged(run: Path, name: str, content: str) -> None:
    (run / name).write_text(content)
    write_manifest(run)
    evidence = read(run)
    assert any(problem.startswith(name) for problem in evidence.problems)
    assert "finished" in replace(case("offline"), performance=evidence).failed()


@pytest.mark.parametrize("name", ["timeline.npz", "mlperf_log_accuracy.json", "mlperf_log_detail.txt"])
def test_a_missing_file_is_read_as_missing(run: Path, name: str) -> None:
    (run / name).unlink()
    write_manifest(run)
    evidence = read(run)
    assert any(name in problem for problem in evidence.problems)
    assert "finished" in replace(case("offline"), performance=evidence).failed()
