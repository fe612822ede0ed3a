"""--pin: what it accepts, how cores are shared out, and that the threads of a real run are where it says."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UsageError
from suite import placement
from suite.variant import Serving
from tests.suite.commands import only_record, start, told
from tests.suite.subjects import subject

pytestmark = pytest.mark.side_by_side

CORES = sorted(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3, 8})


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("auto", "auto"),
        ("OFF", "off"),
        ("0", "0"),
        ("3,1-2,8", "1-3,8"),
        (" 0-1, 1-2 ", "0-2"),
        ("8", "8"),
        ("All", "all"),
    ],
)
def test_a_list_is_kept_in_one_form(asked: str, kept: str) -> None:
    assert placement.requested(asked) == kept


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize("asked", ["", "3-1", "a", "0,", "-1", "0--1", "1.5", "0-3/2", "١"])
def test_what_is_no_list_is_refused(asked: str) -> None:
    with pytest.raises(UsageError, match="write auto, off, all, or cores as the kernel lists them, as in 0-3,8"):
        placement.requested(asked)


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(("asked", "outside"), [("4", "core 4"), ("2-5", "cores 4-5"), ("8-999999", "core 999999")])
def test_cores_that_the_process_may_not_use_are_refused(asked: str, outside: str) -> None:
    with pytest.raises(UsageError, match=f"may not use {outside}; it may use cores 0-3,8"):
        placement.requested(asked)


def test_a_platform_that_cannot_pin_refuses_a_list_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    assert placement.requested("auto") == "auto" and placement.requested("off") == "off"
    for asked in ("0", "all"):
        with pytest.raises(UsageError, match="cannot be pinned on this platform; use --pin off"):
            placement.requested(asked)


@pytest.mark.usefixtures("eight")
def test_all_are_the_cores_of_the_machine_that_it_is_asked_on() -> None:
    assert placement.cores_of("all") == (0, 1, 2, 3, 8)
    assert placement.cores_of("0-1") == (0, 1) and placement.cores_of("auto") == placement.cores_of("off") == ()


@pytest.mark.parametrize(
    ("pin", "sessions", "shares"),
    [
        ((0, 1, 2, 3), 2, [(0, 1), (2, 3)]),
        ((0, 1, 2, 8, 9), 2, [(0, 1), (2, 8, 9)]),
        ((4, 5), 1, [(4, 5)]),
        ((4, 5), 3, [(4,), (5,), (4,)]),
        ((), 2, [(), ()]),
    ],
)
def test_each_session_gets_its_share(pin: tuple[int, ...], sessions: int, shares: list[tuple[int, ...]]) -> None:
    assert placement.shares(pin, sessions) == shares


def test_a_serving_that_was_written_down_is_the_same_again() -> None:
    serving = Serving(8, 0, 1, 1, "cpu", pin=(0, 1))
    assert Serving(**json.loads(json.dumps(serving.__dict__))) == serving
    older = {name: value for name, value in serving.__dict__.items() if name != "pin"}
    assert Serving(**older).pin == ()


def test_a_thread_is_where_it_was_once_the_pin_is_over() -> None:
    before = os.sched_getaffinity(0)
    inside: list[set[int]] = []
    with placement.pinned(CORES[:1]):
        maker = threading.Thread(target=lambda: inside.append(os.sched_getaffinity(0)))
        maker.start()
        maker.join()
    assert inside == [set(CORES[:1])] and os.sched_getaffinity(0) == before


@two_cores
def test_an_ahead_worker_and_its_sessions_thread_are_pinned(data_root: Path, tmp_path: Path) -> None:
    from scenarios.harness.sut import SystemUnderTest

    opened = subject("null", data_root)
    seen: list[set[int]] = []

    class Session:
        def predict(self, samples: Any) -> Any:
            seen.append(os.sched_getaffinity(0))
            return np.zeros((len(samples), *opened.workload.output_shape), np.float32)

        def close(self) -> None: ...

    done: list[set[int]] = []
    sut = SystemUnderTest(
        opened.workload,
        opened.dataset,
        [Session()],
        lambda ids, payload: done.append(os.sched_getaffinity(0)),
        max_batch=4,
        prefetch=1,
        cores=[CORES[1:2]],
    )
    sut.issue([0, 1], [0, 1])
    assert sut.close(10.0) and not sut.faults
    assert seen == done == [{CORES[1]}]


@two_cores
@pytest.mark.parametrize("scenario", ["offline", "single-stream"])
def test_a_real_run_keeps_to_its_core(tmp_path: Path, scenario: str) -> None:
    results, core = tmp_path / "results", CORES[0]
    seen, printed = told(results, scenario, f"--pin={core}")
    assert f"pinned to core {core}\n" in printed
    assert {one["what"] for one in seen} == {"load", "predict"}
    assert all(one["cores"] == [core] for one in seen)
    assert any(one["issuing"] == [core] for one in seen if one["what"] == "predict")
    # Before LoadGen runs, the first thread is nowhere else than it was.
    assert all(one["issuing"] == CORES for one in seen if one["what"] == "load")
    _, record = only_record(results)
    assert record["serving"]["pin"] == [core] and record["asked"]["requested"]["pin"] == str(core)


@two_cores
def test_two_sessions_have_a_core_each_and_the_issuing_thread_has_both(tmp_path: Path) -> None:
    first, second = CORES[:2]
    seen, _ = told(tmp_path / "results", "offline", f"--pin={first},{second}", "--sessions=2")
    assert {(one["session"], *one["cores"]) for one in seen if one["what"] == "load"} == {(0, first), (1, second)}
    at_work = [one for one in seen if one["thread"] == "worker"]
    assert at_work and all(one["cores"] == [(first, second)[one["session"]]] for one in at_work)
    assert all(one["issuing"] == [first, second] for one in at_work)


@pytest.mark.parametrize("pin", ["auto", "off"])
def test_without_a_list_nothing_is_pinned(tmp_path: Path, pin: str) -> None:
    seen, _ = told(tmp_path / "results", "offline", f"--pin={pin}")
    assert seen and all(one["cores"] == CORES == one["issuing"] for one in seen)
    _, record = only_record(tmp_path / "results")
    assert record["serving"]["pin"] == [] and record["asked"]["requested"]["pin"] == pin
    assert set(record["machine_during"]) == {
        "duration_s",
        "frequency_mhz",
        "load_average_1min",
        "nr_throttled",
        "other_work_cores",
        "steal_share",
        "thermal_throttles",
        "throttled_usec",
    }
    assert record["machine_during"]["duration_s"] > 0 and record["machine_during"]["other_work_cores"] is not None


def test_a_core_that_is_not_there_is_a_wrong_command(tmp_path: Path) -> None:
    beyond = max(CORES) + 1
    ended = start(f"--pin={beyond}", f"--results-dir={tmp_path / 'results'}").end(60)
    assert ended.code == 2 and f"may not use core {beyond}; it may use" in ended.sentence
    assert not (tmp_path / "results").exists()
