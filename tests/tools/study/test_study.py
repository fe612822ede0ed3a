"""`tools.study`: a real study, ended in its midst, goes on where it was; what cannot be is refused in a sentence."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from tests.suite.commands import Command, Ended, cache

# The models are made first.
pytestmark = [pytest.mark.side_by_side, pytest.mark.timeout(400)]

PLAN = """
workloads = ["fashion-resnet"]
recipes = ["prune:0.9", "fuse:compile", "fuse:level=basic"]
seconds = 0.1
least_blocks = 2
most_blocks = 2
verdicts = 1
"""


def study(folder: Path, *words: str) -> Command:
    plan = folder.with_suffix(".toml")
    plan.write_text(PLAN)
    return Command("tools.study", f"--plan={plan}", f"--out={folder}", f"--cache-dir={cache()}", *words)


def refused(*words: str) -> str:
    ended = Command("tools.study", *words).end(60)
    assert ended.code == 2 and not ended.stdout and len(ended.stderr.splitlines()) == 1
    return ended.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ended, dict[str, bytes]]:
    """Returns a study that was killed once it had a cell, the command that ended it, and what the first had kept."""
    folder = tmp_path_factory.mktemp("study") / "study"
    command = study(folder)
    command.await_line("cell 2 of 4", 200)
    command.process.send_signal(signal.SIGKILL)
    assert not command.end(30).left_behind
    kept = {path.name: path.read_bytes() for path in (folder / "cells").glob("*.json")}
    return folder, study(folder).end(300), kept


def test_a_study_that_was_killed_goes_on_and_repeats_nothing(finished: tuple[Path, Ended, dict[str, bytes]]) -> None:
    folder, ended, kept = finished
    assert ended.code == 0, ended.stderr
    assert kept and all((folder / "cells" / name).read_bytes() == content for name, content in kept.items())
    assert len(list((folder / "cells").glob("*.json"))) == 4
    assert f"cell {len(kept)} of 4" not in ended.stderr and f"cell {len(kept) + 1} of 4" in ended.stderr


def test_each_cell_has_what_it_came_to(finished: tuple[Path, Ended, dict[str, bytes]]) -> None:
    folder, ended, _ = finished
    cells = {one["cell"]["recipe"]: one for one in map(json.loads, _texts(folder / "cells"))}
    assert cells[""]["accuracy_percent"] == pytest.approx(93.37)
    # Its speed decides nothing any more.
    assert cells["prune:0.9"]["accuracy_percent"] < 80 and len(cells["prune:0.9"]["blocks"]) == 1
    assert len(cells["fuse:level=basic"]["blocks"]) == 2
    assert cells["fuse:compile"]["state"] == "failed" and "no option compile" in cells["fuse:compile"]["reason"]
    assert "**fashion-resnet on onnxruntime, offline**: " in ended.stdout


def test_full_runs_are_of_the_reference_and_the_fastest_that_may_count(
    finished: tuple[Path, Ended, dict[str, bytes]],
) -> None:
    folder, _, _ = finished
    verdicts = {one["cell"]["recipe"]: one for one in map(json.loads, _texts(folder / "verdicts"))}
    assert set(verdicts) == {"", "fuse:level=basic"}
    for one in verdicts.values():
        assert json.loads((folder / one["result"] / "verdict.json").read_text()) == one["verdict"]
    report = (folder / "study.md").read_text()
    assert "failed: fuse:mode=compile does not apply" in report and "prune:0.9" in report
    assert {path.name for path in folder.glob("study.*")} == {"study.csv", "study.html", "study.json", "study.md"}


def test_a_finished_study_is_reported_again_and_nothing_is_measured(
    finished: tuple[Path, Ended, dict[str, bytes]],
) -> None:
    folder, ended, _ = finished
    again = study(folder).end(60)
    assert again.code == 0 and again.stdout == ended.stdout and "cell" not in again.stderr


def test_a_study_of_another_machine_is_not_gone_on_with(
    finished: tuple[Path, Ended, dict[str, bytes]], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "study", ignore=shutil.ignore_patterns("results")))
    about = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**about, "fingerprint": {"cpu_model": "another"}}))
    ended = study(folder).end(60)
    assert ended.code == 2 and "on another machine" in ended.stderr


def test_a_damaged_file_is_named(finished: tuple[Path, Ended, dict[str, bytes]], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished[0], tmp_path / "study", ignore=shutil.ignore_patterns("results")))
    damaged = next((folder / "cells").glob("*.json"))
    damaged.write_text("{")
    ended = study(folder).end(60)
    assert ended.code == 2 and f"{damaged} is no file of a study" in ended.stderr


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert "holds something else than a study" in refused("--quick", f"--out={tmp_path / 'other'}")
    assert "Did you mean 'fashion-resnet'?" in refused("--workloads=fashion-resne", f"--out={tmp_path / 'study'}")
    assert "leave out --quick and --workloads" in refused("--plan=x", "--quick")
    assert not (tmp_path / "study").exists()


def _texts(folder: Path) -> list[str]:
    return [path.read_text() for path in folder.glob("*.json")]
