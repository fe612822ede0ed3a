"""A pipeline: a thread for each stage, as many batches under way, and an attestation of what ran in all stages."""

import itertools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from common.errors import UsageError
from suite import plugins
from suite.backends import onnxruntime
from suite.backends._pipeline import Pipeline
from tests.conformance.loading import images, session, variant

pytestmark = pytest.mark.side_by_side


class Stage:
    """Adds one, once it was told that it is asked."""

    def __init__(self, asked: Callable[[], Any] = lambda: None) -> None:
        self.asked, self.threads, self.closed = asked, set[int](), False

    def predict(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        self.asked()
        return samples + 1

    def close(self) -> None:
        self.closed = True


def meets(barrier: threading.Barrier, number: int) -> Callable[[], None]:
    """Returns what waits at a barrier where it is called for the `number`th time."""
    calls = itertools.count(1)

    def call() -> None:
        if next(calls) == number:
            barrier.wait()

    return call


def at_once(pipeline: Pipeline, *batches: list[float]) -> list[list[float]]:
    """Returns what a pipeline answers where so many threads ask it at once."""
    answers: dict[int, list[float]] = {}

    def ask(number: int) -> None:
        answers[number] = pipeline.predict(np.array(batches[number], np.float32)).tolist()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return [answers[number] for number in range(len(batches))]


def test_each_stage_has_a_thread_of_its_own_and_each_batch_its_answers() -> None:
    before = threading.active_count()
    stages = [Stage(), Stage(), Stage()]
    pipeline = Pipeline(stages)
    assert pipeline.callers == 4
    assert pipeline.predict(np.zeros(1, np.float32)).tolist() == [3]
    assert at_once(pipeline, *([float(number)] * number for number in range(1, 9))) == [
        [number + 3.0] * number for number in range(1, 9)
    ]
    used = [one.threads for one in stages]
    assert [len(one) for one in used] == [1, 1, 1] and len(set.union(*used)) == 3
    pipeline.close()
    assert threading.active_count() == before and all(one.closed for one in stages)
    with pytest.raises(RuntimeError, match="closed"):
        pipeline.predict(np.zeros(1, np.float32))


def test_while_a_stage_has_a_batch_the_one_before_has_the_next() -> None:
    both = threading.Barrier(2, timeout=30)
    pipeline = Pipeline([Stage(meets(both, 2)), Stage(meets(both, 1))])
    assert at_once(pipeline, [1], [1]) == [[3], [3]]
    pipeline.close()


def test_what_a_stage_raises_is_raised_and_the_next_batch_is_answered() -> None:
    faults = iter([ValueError("no such layer"), None])

    def fail() -> None:
        if fault := next(faults):
            raise fault

    pipeline = Pipeline([Stage(fail), Stage()])
    with pytest.raises(ValueError, match="no such layer"):
        pipeline.predict(np.zeros(1, np.float32))
    assert pipeline.predict(np.zeros(1, np.float32)).tolist() == [2]
    pipeline.close()


@pytest.mark.parametrize(
    ("workload", "recipe"),
    [
        ("fashion-resnet", ""),
        ("fashion-mobilenet", "quantize:int8,samples=64"),
        ("fashion-resnet", "quantize:int8,samples=64+fuse:level=off"),
    ],
)
def test_the_same_arithmetic_ran_as_in_the_whole(workload: str, recipe: str) -> None:
    opened = plugins.workload(workload)
    chosen = variant("onnxruntime", opened, recipe)
    ran = [
        onnxruntime.arithmetic(
            chosen.model, opened, device="cpu", threads=3, options={**chosen.options, "pipeline": stages}
        )
        for stages in ("1", "3")
    ]
    assert ran[0] == ran[1] != {}


def test_what_cannot_be_shared_out_is_refused() -> None:
    workload = plugins.workload("fashion-resnet")
    with (
        pytest.raises(UsageError, match="2 stages needs as many threads a session, .* and not 3: use --threads 2"),
        session("onnxruntime", workload, "pipeline:2", threads=3),
    ):
        pass


def test_a_stage_may_have_several_threads() -> None:
    workload, samples = plugins.workload("fashion-resnet"), images("fashion-resnet", 64)
    with (
        session("onnxruntime", workload, threads=2) as uncut,
        session("onnxruntime", workload, "pipeline:2", threads=4) as staged,
    ):
        assert np.array_equal(staged.predict(samples), uncut.predict(samples))
