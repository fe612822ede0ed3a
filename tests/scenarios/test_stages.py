"""Stages: what is followed is answered as everything else, and each stage's time is its own."""

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scenarios.harness.stages import Stages
from tests.scenarios.test_sut import Rig, Samples, TenTimes

MS = 1_000_000
# What sleeps as long sleeps no less, however busy the machine is.
SLEEP_S = 0.02


class Slow(Samples):
    """A dataset that decodes slowly, and marks it."""

    def batch_marked(self, indices: list[int], mark: Any) -> NDArray[np.float32]:
        mark("gather")
        time.sleep(SLEEP_S)
        mark("decode")
        return self.batch(indices)


class Copying(TenTimes):
    """A session that says how long it copies."""

    def predict_marked(self, batch: NDArray[np.float32], mark: Any) -> NDArray[Any]:
        time.sleep(SLEEP_S)
        mark("copy in")
        outputs = self.predict(batch)
        mark("execute")
        mark("copy out")
        return outputs


@pytest.mark.parametrize("way", [{}, {"inline": True}, {"prefetch": 1}, {"prefetch": 3}], ids=str)
def test_what_is_followed_is_answered_and_each_stage_has_its_time(way: dict[str, int]) -> None:
    stages = Stages(period_ns=0)
    rig = Rig(Copying(), max_batch=4, samples=Slow(), stages=stages, **way)
    for start in range(0, 12, 4):
        rig.issue(list(range(start, start + 4)))
    found = stages.record(rig.check())
    assert found["samples"] == 12
    assert found["parts"] == 3
    spent = found["stages_ns"]
    sleep_ns = SLEEP_S * 1000 * MS
    assert spent["decode"] >= 3 * sleep_ns <= spent["copy in"]
    # Neither has the other's.
    assert max(spent[stage] for stage in ("gather", "preprocess", "copy out", "postprocess")) < sleep_ns


def test_a_large_query_is_followed_batch_by_batch() -> None:
    stages = Stages(period_ns=0)
    rig = Rig(Copying(), max_batch=4, samples=Slow(), stages=stages)
    rig.issue(list(range(16)))
    found = stages.record(rig.check())
    assert found["samples"] == 16
    assert found["stages_ns"]["decode"] >= 4 * SLEEP_S * 1000 * MS


def test_the_wait_in_the_queue_is_from_arrival_until_a_worker_begins() -> None:
    def sleep(batch: NDArray[Any]) -> None:
        time.sleep(SLEEP_S)

    stages = Stages(period_ns=0)
    rig = Rig(TenTimes(sleep), max_batch=1, samples=Slow(), stages=stages)
    rig.issue([1])
    rig.issue([2])
    rig.issue([3])
    found = stages.record(rig.check())
    # Both of the first decode and compute while the third waits, and the first while the second does.
    assert found["queue_ns"] >= 3 * SLEEP_S * 1000 * MS


def test_few_are_followed_where_there_are_many() -> None:
    stages = Stages(period_ns=3600 * 1000 * MS)
    rig = Rig(TenTimes(), max_batch=4, inline=True, samples=Slow(), stages=stages)
    for number in range(100):
        rig.issue([number])
    assert stages.record(rig.check())["parts"] == 1


@pytest.mark.parametrize("way", [{}, {"inline": True}, {"prefetch": 1}, {"prefetch": 3}], ids=str)
def test_a_fault_where_it_is_followed_is_a_fault(way: dict[str, int]) -> None:
    def fall(batch: NDArray[Any]) -> None:
        raise ValueError("the model fell over")

    rig = Rig(Copying(fall), max_batch=4, samples=Slow(), stages=Stages(period_ns=0), **way)
    rig.issue([1, 2, 3])
    rig.issue([4])
    rig.check(answered=False)
    assert [fault.detail for fault in rig.sut.faults] == ["ValueError: the model fell over"]
    assert set(rig.done.answers.values()) == {None}
