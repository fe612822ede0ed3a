"""`tools.study`: a real study, ended in its midst, goes on where it was; what cannot be is refused in a sentence."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UsageError
from tests.disks import fill
from tests.suite.commands import Command, cache
from tools.study import shelf
from tools.study.plan import Cell
from tools.study.words import unlinked

# The models are made first.
pytestmark = [pytest.mark.side_by_side, pytest.mark.timeout(400)]

PLAN = """
workloads = ["fashion-resnet"]
recipes = ["prune:0.9", "fuse:compile", "fuse:level=off"]
seconds = 0.1
least_blocks = 2
most_blocks = 2
width = 1.0
verdicts = 1
"""


# Where a study has its cells.
KEPT = ("answers", "cells")


def study(folder: Path, *words: str) -> Command:
    plan = folder.with_suffix(".toml")
    plan.write_text(PLAN)
    return Command("tools.study", f"--plan={plan}", f"--out={folder}", f"--cache-dir={cache()}", *words)


def records(folder: Path) -> dict[str, Any]:
    found = (json.loads(path.read_text()) for path in folder.glob("*.json"))
    return {one["cell"]["recipe"]: one for one in found}


@pytest.mark.long
def test_a_study_that_was_killed_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    command = study(folder)
    command.await_line("accuracy 2 of 4", 200)
    command.process.send_signal(signal.SIGKILL)
    assert not command.end(30).left_behind
    kept = {path: path.read_bytes() for kind in KEPT for path in (folder / kind).iterdir()}
    assert {path.suffix for path in kept} == {".json", ".npz"}
    what_no_time_is_left_for_is_named(folder)
    in_its_turns_it_is_killed_too(folder, kept)
    in_its_full_runs_it_is_killed_too(folder, kept)
    ended = study(folder).end(300)
    assert ended.code == 0, ended.stderr
    assert kept and all(path.read_bytes() == content for path, content in kept.items())
    assert "study: accuracy" not in ended.stderr and "study: turns" not in ended.stderr

    cells = records(folder / "cells")
    assert cells[""]["accuracy_percent"] == pytest.approx(93.37)
    # Its speed decides nothing any more.
    assert cells["prune:0.9"]["accuracy_percent"] < 80 and len(cells["prune:0.9"]["blocks"]) == 1
    assert len(cells["fuse:level=off"]["blocks"]) == 2
    assert cells["fuse:compile"]["state"] == "failed" and "no option compile" in cells["fuse:compile"]["reason"]

    verdicts = records(folder / "verdicts")
    assert set(verdicts) == {"", "fuse:level=off"}
    assert json.loads((folder / verdicts[""]["result"] / "verdict.json").read_text()) == verdicts[""]["verdict"]
    report = (folder / "study.md").read_text()
    assert "failed: fuse:mode=compile does not apply" in report and "prune:0.9" in report
    assert "**fashion-resnet on onnxruntime, offline**: " in ended.stdout
    assert len(list(folder.glob("study.*"))) == 4 and len(list(folder.glob("*.png"))) == 1

    again = study(folder).end(60)
    assert again.code == 0 and again.stdout == ended.stdout and "study: turns" not in again.stderr
    # A study takes long: what else there is to do with one is done with this one.
    the_fastest_that_counts_is_sought(folder)
    it_is_merged_with_another_machines(folder)


def in_its_turns_it_is_killed_too(folder: Path, kept: dict[Path, bytes]) -> None:
    """All have answered by then, of which one failed, and one has taken its turns."""
    command = study(folder)
    command.await_line("turns 2 of 4", 200)
    command.process.send_signal(signal.SIGKILL)
    ended = command.end(30)
    assert not ended.left_behind and "accuracy 1 of 4" not in ended.stderr and "accuracy 4 of 4" in ended.stderr
    assert all(path.read_bytes() == content for path, content in kept.items())
    assert len(list((folder / "answers").glob("*.json"))) == 3 and len(list((folder / "cells").glob("*.json"))) == 2
    kept |= {path: path.read_bytes() for kind in KEPT for path in (folder / kind).iterdir()}


def in_its_full_runs_it_is_killed_too(folder: Path, kept: dict[Path, bytes]) -> None:
    """Once LoadGen is at it: cells stay as they are, and the full runs are begun anew."""
    command = study(folder)
    command.await_line("full runs 1 of 2", 200)
    command.await_line("offline performance run: running", 100)
    command.process.send_signal(signal.SIGKILL)
    ended = command.end(30)
    assert not ended.left_behind and "turns 1 of 4" not in ended.stderr
    assert not list((folder / "verdicts").glob("*.json")) and list((folder / "results").glob("*/*/*/*/*/"))
    kept |= {path: path.read_bytes() for kind in KEPT for path in (folder / kind).iterdir()}


def what_no_time_is_left_for_is_named(folder: Path) -> None:
    """The reference alone has answered, and that took nearly all of the budget."""
    clock = folder / "clocks" / "study.json"
    took = json.loads(clock.read_text())
    assert len(took["took_s"]) == 2 and 1 < sum(took["took_s"].values()) < 200
    assert took["took_s"] == took["last_s"]
    steps = dict.fromkeys(took["took_s"], 29.0)
    clock.write_text(json.dumps({**took, "took_s": steps, "last_s": steps}))
    ended = study(folder, "--budget=60s").end(60)
    assert ended.code == 0 and "study: accuracy" not in ended.stderr, ended.stderr
    assert "Time: 58 of 60 s: accuracy 58 s, turns 0 s, full runs 0 s." in ended.stdout
    assert "3 of 4 cells were not measured, for lack of time: a larger --budget goes on." in ended.stdout
    assert "1 of 4 have an accuracy alone, for lack of time: a larger --budget goes on." in ended.stdout
    report = unlinked((folder / "study.md").read_text())
    assert "| `prune:0.9` |" not in report and "| `reference` | not measured |" in report
    assert "- Not measured, for lack of time: `prune:0.9` on fashion-resnet, onnxruntime, offline, " in report
    assert "- The accuracy alone, for lack of time: `reference` on fashion-resnet, onnxruntime" in report
    assert "- Time: 58 of 60 s: accuracy 58 s, turns 0 s, full runs 0 s." in report


def the_fastest_that_counts_is_sought(folder: Path) -> None:
    """Ended in its midst, the search goes on; in the study's own folder the reference has its full runs already."""
    command = study(folder, "--best", "--budget=3m")
    command.await_line("look 2 of 4", 100)
    command.process.send_signal(signal.SIGKILL)
    assert not command.end(30).left_behind
    kept = {path: path.read_bytes() for path in (folder / shelf.LOOKS).iterdir()}
    ended = study(folder, "--best", "--budget=3m").end(170)
    assert ended.code == 0, ended.stderr
    assert len(kept) == 1 and all(path.read_bytes() == content for path, content in kept.items())
    assert "look 1 of 4" not in ended.stderr and "look 4 of 4" in ended.stderr

    record = json.loads((folder / "best.json").read_text())
    found = {one["cell"]["recipe"]: one for one in record["candidates"]}
    assert sum(found[""]["outcomes"][name] for name in ("both", "only_reference")) == 9337
    # A few hundred samples say it.
    assert found["prune:0.9"]["outcome"] == "misses its target, certain after 500 samples"
    assert found["prune:0.9"]["throughput"] is None
    assert found["fuse:compile"]["outcome"].startswith("failed: fuse:mode=compile does not apply")
    assert found["fuse:level=off"]["throughput"]["blocks"] >= 2
    assert f"`{record['winner'] or 'reference'}` through LoadGen: " in ended.stdout
    assert (folder / "best.md").read_text() in ended.stdout

    again = study(folder, "--best", "--budget=3m").end(60)
    assert again.code == 0 and again.stdout == ended.stdout and "best: " not in again.stderr


def it_is_merged_with_another_machines(folder: Path) -> None:
    other, out = folder.with_name("other"), folder.with_name("merged")
    shutil.copytree(folder, other)
    about = json.loads((other / "study.json").read_text())
    about["fingerprint"]["cpu_model"] = "Another processor"
    (other / "study.json").write_text(json.dumps(about))
    words = (f"--merge={folder}", f"--merge={other}", f"--out={out}", f"--cache-dir={cache()}")
    ended = Command("tools.study", *words).end(60)
    assert ended.code == 0, ended.stderr
    assert "**B**: Another processor" in ended.stdout and "3 agree in all that was measured" in ended.stdout
    assert sorted(path.name for path in out.iterdir()) == ["merged.csv", "merged.md"]


def test_a_study_of_another_machine_is_not_gone_on_with(tmp_path: Path) -> None:
    about = {**shelf.claim(tmp_path / "study"), "fingerprint": {"cpu_model": "another"}}
    (tmp_path / "study" / "study.json").write_text(json.dumps(about))
    assert "begun on another machine" in study(tmp_path / "study").end(60).sentence


def test_two_are_never_at_one_study(tmp_path: Path) -> None:
    """Not even to forget what failed."""
    cell, folder = Cell("fashion-resnet", "onnxruntime", "offline", ""), tmp_path / "study"
    with shelf.claimed(folder):
        shelf.keep_measured(folder, cell, {"cell": {}, "state": "failed", "reason": "it was so"})
        ended = study(folder, "--retry-failed").end(60)
    assert ended.code == 2 and f"Another process is at the study in {folder}" in ended.sentence
    assert (shelf.measured(folder, cell) or {})["reason"] == "it was so"


def test_a_full_disk_takes_nothing_of_what_is_finished(small_disk: Path) -> None:
    folder, finished = small_disk / "study", Cell("fashion-resnet", "onnxruntime", "offline", "")
    other, answers = replace(finished, recipe="prune:0.1"), shelf.Answers(np.arange(10_000), np.ones(10_000))
    shelf.claim(folder)
    shelf.keep_answered(folder, finished, {"state": "answered"}, answers)
    rubbish = fill(small_disk)
    with pytest.raises(UsageError, match=r"No space left .* What is finished stays: make room, and start it again"):
        shelf.keep_answered(folder, other, {"state": "answered"}, answers)
    assert shelf.answered(folder, other) is None
    record = shelf.answered(folder, finished)
    assert record and np.array_equal(shelf.answers(folder, finished, record).labels, answers.labels)
    rubbish.unlink()
    shelf.keep_answered(folder, other, {"state": "answered"}, answers)
    assert shelf.answered(folder, other)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    shelf.claim(tmp_path / "study")
    damaged = tmp_path / "study" / shelf.CELLS / f"{Cell('fashion-resnet', 'onnxruntime', 'offline', '').id}.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    assert f"{damaged} is no file of a study" in study(tmp_path / "study").end(60).sentence


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    def refused(*words: str) -> str:
        ended = Command("tools.study", *words).end(60)
        assert ended.code == 2 and not ended.stdout
        return ended.sentence

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    assert "holds something else than a study" in refused("--quick", f"--out={tmp_path / 'other'}")
    assert "Did you mean 'fashion-resnet'?" in refused("--workloads=fashion-resne", f"--out={tmp_path / 'study'}")
    assert "--plan says what is studied: leave out --quick" in refused("--plan=x", "--quick")
    assert "leave out --end-to-end" in refused("--plan=x", "--best", "--end-to-end")
    assert "--scenario is for --best. Which ones a study is of" in refused("--scenario=server")
    assert "Unknown scenario 'servr'" in refused("--best", "--scenario=servr", "--workload=fashion-resnet")
    assert "Give --workload, one of: fashion-fcos, f" in refused("--best", f"--out={tmp_path / 'study'}")
    assert "--budget is '5'; give a time" in refused("--best", "--budget=5", "--workload=fashion-resnet")
    assert "--merge measures nothing: leave out --budget" in refused("--merge=a", "--budget=5m")
    assert "leave out --quick" in refused("--merge=x", "--merge=y", "--quick")
    assert "x/study.json cannot be read" in refused("--merge=x", "--merge=y")
    nothing = (f"--data-dir={tmp_path / 'none'}", "--quick", f"--out={tmp_path / 'study'}")
    assert "python -m tools.fetch_data fashion-mnist" in refused(*nothing)
    assert not (tmp_path / "study").exists()
