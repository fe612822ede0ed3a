"""The stages as people read them: shares, bounds, and what a run with `--stages` leaves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import RunFailed
from scenarios.harness.stages import STAGES
from suite import stages
from suite.stages import Breakdown, breakdown
from tests.suite.commands import FIXED, start

pytestmark = pytest.mark.side_by_side

US = 1000
SEEN = {
    "parts": 5,
    "samples": 10,
    "queue_ns": 10 * 7 * US,
    "stages_ns": {
        **dict.fromkeys(STAGES, 0),
        "decode": 10 * 20 * US,
        "execute": 10 * 60 * US,
        "completion": 10 * 10 * US,
    },
}


def found(*, prefetch: int = 0) -> Breakdown:
    # Two sessions, 20,000 samples a second: each has 100 µs for a sample, and needs 90 of them.
    one = breakdown(SEEN, 20_000, 2, prefetch=prefetch)
    assert one is not None
    return one


def test_what_sessions_do_not_need_is_idle() -> None:
    one = found()
    assert one.pace_us == pytest.approx(90)
    assert one.idle_us == pytest.approx(10)
    assert one.queue_us == pytest.approx(7)
    assert one.execute_only_per_s == pytest.approx(2e6 / 60)
    assert one.throughput_per_s == pytest.approx(20_000)


def test_the_bound_is_amdahls() -> None:
    assert found().bound("decode") == pytest.approx(90 / 70)
    assert found().bound("execute") == pytest.approx(90 / 30)
    assert found().bound("gather") == 1


def test_what_goes_on_beside_the_session_gains_nothing() -> None:
    one = found(prefetch=1)
    assert one.pace_us == pytest.approx(60)
    assert one.bound("decode") == 1
    # Without execution, the 20 µs of the thread that gathers are what is left, or the 10 that two of them take.
    assert one.bound("execute") == pytest.approx(3)
    assert found(prefetch=2).bound("execute") == pytest.approx(6)


def test_a_followed_part_that_was_slower_is_said_to_be() -> None:
    slow = replace(found(), elapsed_us=40.0)
    assert slow.idle_us == 0
    assert "longer than the rest" in slow.lines()[-1]
    assert "longer than the rest" not in "".join(found().lines())


def test_nothing_followed_is_no_breakdown() -> None:
    assert breakdown({**SEEN, "samples": 0}, 20_000, 2, prefetch=0) is None


def test_the_record_leads_back(tmp_path: Path) -> None:
    (tmp_path / stages.FILE).write_text(json.dumps(found().record(), sort_keys=True))
    again = stages.read(tmp_path)
    assert again == found()
    assert list(again.stages_us) == list(STAGES)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"stages_us": {"execute": "much"}}'])
def test_damaged_stages_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / stages.FILE).write_text(content)
    with pytest.raises(RunFailed, match="holds no stages"):
        stages.read(tmp_path)


def test_a_submission_end_to_end_counts_and_shows_its_stages(tmp_path: Path) -> None:
    words = ("--mode=submission", "--scenario=offline", "--backend=onnxruntime", *FIXED["offline"])
    ended = start(*words, "--stages", "--end-to-end", f"--results-dir={tmp_path}").end(180)
    assert ended.code == 0, ended.stderr
    assert "end to end: decode and preprocessing inside the measured region" in ended.stdout
    rows = {line.split("  ")[1].strip(): line for line in ended.stdout.splitlines() if line.startswith("  ")}
    assert {"load and decode", "preprocess", "execute", "idle"} <= set(rows)
    (performance,) = tmp_path.glob("*/*/*/*/performance")
    assert stages.FILE in json.loads((performance / "manifest.json").read_text())["files"]
    read = stages.read(performance)
    assert read is not None and read.stages_us["decode"] > 0 < read.stages_us["execute"]
    assert (performance.parent / "stages.png").read_bytes()[:4] == b"\x89PNG"
    assert "execute" in (performance.parent / "stages.svg").read_text()


def test_the_same_stages_are_the_same_picture(tmp_path: Path) -> None:
    stages.draw([tmp_path / "one.svg", tmp_path / "two.svg"], found(), "a title")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
