"""The policy of the thread that issues: yielding in Server alone, and never where somebody chose one."""

import os
import threading

import pytest

from scenarios.harness.yielding import LEAST_LIMIT_NS, yielding

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has SCHED_BATCH")


@pytest.mark.parametrize(
    ("limit_ns", "policy"), [(15e6, "SCHED_BATCH"), (LEAST_LIMIT_NS / 2, "SCHED_OTHER"), (None, "SCHED_OTHER")]
)
def test_the_thread_that_issues_yields_where_the_limit_has_room(limit_ns: float | None, policy: str) -> None:
    elsewhere = []
    with yielding(limit_ns):
        assert os.sched_getscheduler(0) == getattr(os, policy)
    other = threading.Thread(target=lambda: elsewhere.append(os.sched_getscheduler(0)))
    other.start()
    other.join()
    assert os.sched_getscheduler(0) == elsewhere[0] == os.SCHED_OTHER


def test_a_policy_that_somebody_chose_stays() -> None:
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        with yielding(15e6):
            assert os.sched_getscheduler(0) == os.SCHED_BATCH
        assert os.sched_getscheduler(0) == os.SCHED_BATCH
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
