"""The policy of the thread that issues: yielding in Server alone, and never where somebody chose one."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scenarios.harness.yielding import LEAST_LIMIT_NS, pays, yielding
from tests.scenarios.loadgen_process import run

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has SCHED_BATCH")


@contextmanager
def another() -> Iterator[Callable[[], int]]:
    """Yields what tells the policy of another thread, made here."""
    asked, told, found = threading.Event(), threading.Event(), list[int]()

    def tell() -> None:
        asked.wait(10)
        found.append(os.sched_getscheduler(0))
        told.set()

    def policy() -> int:
        asked.set()
        assert told.wait(10)
        return found[0]

    thread = threading.Thread(target=tell)
    thread.start()
    yield policy
    asked.set()
    thread.join()


@pytest.mark.parametrize(
    ("limit_ns", "yields"), [(15e6, True), (LEAST_LIMIT_NS, True), (LEAST_LIMIT_NS / 2, False), (None, False)]
)
def test_the_thread_that_issues_yields_where_the_limit_has_room(limit_ns: float | None, yields: bool) -> None:
    policy = os.SCHED_BATCH if yields else os.SCHED_OTHER
    with another() as worker, yielding(limit_ns) as said, another() as started:
        assert said == yields
        assert os.sched_getscheduler(0) == started() == policy
        # A session's thread was there before, and is as it was.
        assert worker() == os.SCHED_OTHER
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_it_does_not_beside_sessions_of_several_threads() -> None:
    assert pays(1) and not pays(2)


def test_it_ends_with_an_exception_too() -> None:
    with pytest.raises(ValueError), yielding(15e6):
        raise ValueError
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_policy_that_somebody_chose_stays() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with yielding(15e6) as yields:
            assert not yields and os.sched_getscheduler(0) == os.SCHED_BATCH
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def test_where_the_system_does_not_allow_it_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refused)
    with yielding(15e6) as yields:
        assert not yields


@pytest.mark.parametrize(("scenario", "yields"), [("Server", True), ("Offline", False), ("SingleStream", False)])
def test_loadgens_thread_yields_in_server_alone(tmp_path: Path, scenario: str, yields: bool) -> None:
    seen = run(tmp_path, scenario, fault="issue tells policy").seen
    assert seen["policies"] == [os.SCHED_BATCH if yields else os.SCHED_OTHER]
    assert seen["yielded"] is yields
