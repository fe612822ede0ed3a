"""The system under test without LoadGen: every sample is answered once, with its own row, whatever happens."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scenarios.harness.sut import BATCHES_A_PART, MAX_BATCH, SystemUnderTest
from scenarios.harness.timeline import Timeline

TOTAL = 1000
# A sample's id is not its index; LoadGen's are addresses.
BASE = 10**12


class Samples:
    """A dataset in which a sample is its own index."""

    total = TOTAL

    def batch(self, indices: list[int]) -> NDArray[np.float32]:
        return np.array(indices, np.float32)[:, None]


class Task:
    """A workload whose answer to a sample is ten times its index."""

    output_shape = (1,)

    @staticmethod
    def encode(outputs: NDArray[Any]) -> NDArray[np.int64]:
        return np.nan_to_num(outputs[:, 0], nan=-1).astype(np.int64)


class TenTimes:
    """A session; `before` is called with each batch, and may change what comes of it."""

    def __init__(self, before: Callable[[NDArray[Any]], NDArray[Any] | None] = lambda batch: None) -> None:
        self.before, self.sizes = before, list[int]()

    def predict(self, batch: NDArray[np.float32]) -> NDArray[Any]:
        self.sizes.append(len(batch))
        instead = self.before(batch)
        return batch * 10 if instead is None else instead

    def close(self) -> None:
        pass


def waits_for(event: threading.Event) -> Callable[[NDArray[Any]], None]:
    def wait(batch: NDArray[Any]) -> None:
        event.wait(30)

    return wait


class Recording:
    """Takes completions as LoadGen would, and keeps them."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.answers: dict[int, int | None] = {}
        self.changed = threading.Condition()

    def __call__(self, ids: list[int], payload: NDArray[Any] | None) -> None:
        rows = [None] * len(ids) if payload is None else payload.tolist()
        assert len(rows) == len(ids)
        with self.changed:
            self.ids += ids
            self.answers |= dict(zip(ids, rows, strict=True))
            self.changed.notify_all()

    def wait(self, count: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.ids) >= count, 30), f"{len(self.ids)} of {count}"


class Rig:
    """A system under test with recording on one side and sessions on the other."""

    def __init__(
        self,
        *sessions: TenTimes,
        max_batch: int = 64,
        task: Any = Task,
        samples: Any = None,
        complete: Any = None,
        **more: Any,
    ) -> None:
        self.sessions, self.done, self.issued = sessions, Recording(), list[int]()
        complete = complete or self.done
        samples = samples or Samples()
        self.sut = SystemUnderTest(task, samples, sessions, complete, max_batch=max_batch, **more)  # type: ignore[arg-type]

    def issue(self, indices: list[int]) -> None:
        """Issues one query of these samples."""
        ids = [BASE + len(self.issued) + number for number in range(len(indices))]
        self.issued += indices
        self.sut.issue(ids, list(indices))

    def check(self, *, answered: bool = True) -> Timeline:
        """Ends it; asserts that all is completed once, each with its row if any, and accounted for."""
        self.done.wait(len(self.issued))
        assert self.sut.close(10)
        assert sorted(self.done.ids) == [BASE + number for number in range(len(self.issued))]
        if answered:
            assert self.sut.faults == []
            assert self.done.answers == {BASE + number: 10 * index for number, index in enumerate(self.issued)}
        timeline = Timeline(**self.sut.timeline())
        assert timeline.problem is None
        assert timeline.issued == timeline.completed == self.sut.issued == self.sut.completed == len(self.issued)
        return timeline


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("way", [{}, {"inline": True}, {"prefetch": 1}, {"prefetch": 3}], ids=str)
@pytest.mark.parametrize("query", [1, 7, 64, 65, 640, 1000])
def test_every_sample_is_answered_once_with_its_own_row(query: int, way: dict[str, int]) -> None:
    rig = Rig(TenTimes(), **way)
    order = np.random.default_rng(query).integers(0, TOTAL, 3 * query).tolist()
    for start in range(0, len(order), query):
        rig.issue(order[start : start + query])
    rig.check()
    assert max(rig.sessions[0].sizes) <= 64


@pytest.mark.parametrize("max_batch", [1, 5, 1024])
def test_no_batch_is_above_the_maximum_however_queries_come(max_batch: int) -> None:
    gate = threading.Event()
    rig = Rig(TenTimes(waits_for(gate)), max_batch=max_batch)
    for size in (1, 3, 2, 4, 1, 1, 2500, 3):
        rig.issue(list(range(size % TOTAL)) or [0])
    gate.set()
    timeline = rig.check()
    assert max(rig.sessions[0].sizes) <= max_batch
    assert timeline.callback_samples.tolist() == [1, 3, 2, 4, 1, 1, 500, 3]


def test_waiting_queries_share_a_batch_in_order() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(batch: NDArray[Any]) -> None:
        entered.set()
        gate.wait(30)

    rig = Rig(TenTimes(hold), max_batch=10)
    rig.issue([1])
    assert entered.wait(30)
    for index in range(2, 14):
        rig.issue([index])
    rig.issue([14, 15, 16])
    gate.set()
    timeline = rig.check()
    assert rig.sessions[0].sizes == [1, 10, 5]
    assert timeline.batch_first.tolist() == [0, 1, 11]


def test_a_query_that_does_not_fit_waits_for_the_next_batch_whole() -> None:
    gate, entered = threading.Event(), threading.Event()

    def hold(batch: NDArray[Any]) -> None:
        entered.set()
        gate.wait(30)

    rig = Rig(TenTimes(hold), max_batch=10)
    rig.issue([1])
    assert entered.wait(30)
    rig.issue(list(range(8)))
    rig.issue(list(range(8)))
    gate.set()
    rig.check()
    assert rig.sessions[0].sizes == [1, 8, 8]


def test_max_wait_holds_a_batch_open() -> None:
    rig = Rig(TenTimes(), max_batch=3, max_wait_ns=10 * 10**9)
    rig.issue([1])
    time.sleep(0.2)
    assert rig.done.ids == []
    rig.issue([2])
    rig.issue([3])
    rig.check()
    assert rig.sessions[0].sizes == [3]


def test_max_wait_ends() -> None:
    # In any other unit it would be over at once, or beyond the patience of `done.wait`.
    rig = Rig(TenTimes(), max_batch=64, max_wait_ns=60 * 10**6)
    started = time.monotonic()
    rig.issue([1])
    rig.done.wait(1)
    assert time.monotonic() - started >= 0.06
    rig.issue([2])
    rig.check()
    assert rig.sessions[0].sizes == [1, 1]


def test_without_a_wait_nothing_is_held_back() -> None:
    rig = Rig(TenTimes(), max_batch=64)
    for count in range(1, 4):
        rig.issue([count])
        rig.done.wait(count)
    rig.check()
    assert rig.sessions[0].sizes == [1, 1, 1]


def test_close_takes_what_a_wait_holds_back() -> None:
    rig = Rig(TenTimes(), max_batch=64, max_wait_ns=60 * 10**9)
    rig.issue([1, 2, 3])
    assert rig.sut.close(10)
    rig.check()


def test_four_workers_share_twenty_thousand_queries() -> None:
    count, sessions = 20_000, [TenTimes() for _ in range(4)]
    rig = Rig(*sessions, max_batch=16)
    for number in range(count):
        rig.issue([number % TOTAL])
    timeline = rig.check()
    assert sum(sum(session.sizes) for session in sessions) == count
    assert max(max(session.sizes, default=0) for session in sessions) <= 16
    assert len(timeline.callback_ns) == count


def test_every_session_works_while_others_are_busy() -> None:
    together = threading.Barrier(4, timeout=30)

    def meets(batch: NDArray[Any]) -> None:
        together.wait()

    rig = Rig(*(TenTimes(meets) for _ in range(4)), max_batch=1)
    rig.issue([1, 2, 3, 4])
    rig.check()
    assert [session.sizes for session in rig.sessions] == [[1]] * 4


def fails(batch: NDArray[Any]) -> NDArray[Any]:
    raise RuntimeError("out of memory on the device")


FAULTS = {
    "exception": (fails, "RuntimeError: out of memory on the device"),
    "shape": (lambda batch: batch[:-1], "answered shape (0, 1) where (1, 1) was asked"),
    "not-finite": (lambda batch: batch * np.float32(np.nan), "NaN or infinity"),
}


@pytest.mark.parametrize(
    ("count", "most", "workers", "sizes"),
    [
        (10_000, 1024, 2, [1024] * 8 + [904] * 2),
        (130, 64, 1, [64, 64, 2]),
        (131, 64, 2, [64, 64, 2, 1]),
        (5060, 64, 2, [64] * 78 + [34] * 2),
        (129, 64, 2, [64, 64, 1]),
        (65, 64, 4, [17, 16, 16, 16]),
        (128, 64, 2, [64, 64]),
        (3, 2, 8, [1, 1, 1]),
        (64, 64, 2, [64]),
    ],
)
def test_a_large_query_becomes_full_batches_and_equal_last_ones_for_each_session(
    count: int, most: int, workers: int, sizes: list[int]
) -> None:
    rig = Rig(*(TenTimes() for _ in range(workers)), max_batch=most)
    rig.issue([number % TOTAL for number in range(count)])
    rig.check()
    assert sorted(size for session in rig.sessions for size in session.sizes) == sorted(sizes)
    assert rig.sut.batch_sizes(count) == sorted(set(sizes))


@pytest.mark.parametrize("count", [1000, 1001, 17, 7])
def test_a_large_query_is_completed_in_parts_that_become_smaller(count: int) -> None:
    rig = Rig(TenTimes(), TenTimes(), max_batch=4)
    rig.issue([number % TOTAL for number in range(count)])
    timeline = rig.check()
    order = np.argsort(timeline.batch_first)
    assert max(size for session in rig.sessions for size in session.sizes) <= 4
    parts = timeline.batch_samples[order].tolist()
    assert max(parts) <= BATCHES_A_PART * 4
    assert parts[-1] <= 4, "workers could not end together"
    assert len(parts) <= 1000 / (BATCHES_A_PART * 4) + 20
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(parts)), parts


def test_each_batch_of_a_part_is_a_sign_of_life() -> None:
    seen: list[tuple[int, int]] = []
    rig = Rig(TenTimes(lambda batch: seen.append((rig.sut.answered, rig.sut.completed))), max_batch=4)
    rig.issue(list(range(64)))
    rig.check()
    assert [answered for answered, _ in seen] == list(range(0, 64, 4))
    assert [completed for _, completed in seen][:8] == [0] * 8, "the first part was of one batch"
    assert rig.sut.answered == 64


def test_a_part_of_many_samples_is_no_more_than_loadgens_log_holds() -> None:
    rig = Rig(TenTimes(), max_batch=1000)
    rig.issue([number % TOTAL for number in range(20_000)])
    assert max(rig.check().batch_samples) <= MAX_BATCH


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_session_may_use_the_memory_of_its_outputs_again(prefetch: int) -> None:
    memory = np.empty((4, 1), np.float32)

    def same(batch: NDArray[Any]) -> NDArray[Any]:
        return np.multiply(batch, 10, out=memory[: len(batch)])

    rig = Rig(TenTimes(same), max_batch=4, prefetch=prefetch)
    rig.issue(list(range(400)))
    rig.check()


@pytest.mark.parametrize("wrong", [(1, 0), (0, 1)], ids=["one more, one less", "one less, one more"])
def test_rows_that_one_batch_of_a_part_lacks_are_not_taken_from_another(wrong: tuple[int, int]) -> None:
    taken = iter([4 + wrong[0] - wrong[1], 4 + wrong[1] - wrong[0]] * 1000)

    def answer(batch: NDArray[Any]) -> NDArray[Any]:
        return np.zeros((next(taken), 1), np.float32)

    rig = Rig(TenTimes(answer), max_batch=4)
    rig.issue(list(range(400)))
    rig.check(answered=False)
    assert rig.sut.faults[0].kind == "shape"


@pytest.mark.parametrize("prefetch", [1, 3])
def test_so_many_batches_are_gathered_while_a_session_answers(prefetch: int) -> None:
    gate, gathered = threading.Event(), threading.Semaphore(0)

    class Watched(Samples):
        def batch(self, indices: list[int]) -> NDArray[np.float32]:
            gathered.release()
            return super().batch(indices)

    rig = Rig(TenTimes(waits_for(gate)), max_batch=2, prefetch=prefetch, samples=Watched())
    rig.issue(list(range(20)))
    assert all(gathered.acquire(timeout=30) for _ in range(1 + prefetch))
    assert rig.done.ids == [] and not gathered.acquire(timeout=0.1)
    gate.set()
    rig.check()


class Pipelined(TenTimes):
    """A session that works at two batches at a time: the first waits for the second."""

    callers = 2

    def __init__(self) -> None:
        super().__init__(self.meet)
        self.both = threading.Barrier(2, timeout=30)

    def meet(self, batch: NDArray[Any]) -> None:
        if len(self.sizes) <= self.callers:
            self.both.wait()


@pytest.mark.parametrize("prefetch", [0, 1, 2])
def test_a_session_with_several_callers_has_as_many_batches_at_a_time(prefetch: int) -> None:
    rig = Rig(Pipelined(), max_batch=2, prefetch=prefetch)
    assert rig.sut.side_by_side == 2
    rig.issue(list(range(24)))
    for number in range(5):
        rig.issue([number])
    rig.check()
    assert sum(rig.sessions[0].sizes) == 29
    # Single queries are put together, as far as they wait.
    assert rig.sut.batch_sizes(24) == [2] and rig.sessions[0].sizes.count(2) >= 12


def test_single_queries_enter_a_session_with_several_callers_one_behind_the_other() -> None:
    rig = Rig(Pipelined(), max_batch=1)
    rig.issue([1])
    rig.issue([2])
    rig.check()


def test_ahead_a_batch_is_completed_when_nothing_follows() -> None:
    rig = Rig(TenTimes(), TenTimes(), prefetch=1)
    for number in range(5):
        rig.issue([number])
        rig.done.wait(number + 1)
    rig.check()


@pytest.mark.parametrize("kind", FAULTS)
def test_ahead_a_fault_leaves_what_follows_unanswered(kind: str) -> None:
    action, detail = FAULTS[kind]
    batches = iter(range(100))
    rig = Rig(TenTimes(lambda batch: action(batch) if next(batches) == 5 else None), max_batch=1, prefetch=1)
    rig.issue(list(range(20)))
    rig.check(answered=False)
    assert {fault.kind for fault in rig.sut.faults} == {kind}
    assert detail in rig.sut.faults[0].detail
    assert [rig.done.answers[BASE + number] for number in range(5)] == [10 * number for number in range(5)]
    assert all(rig.done.answers[BASE + number] is None for number in range(8, 20))


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("kind", FAULTS)
def test_after_a_fault_nothing_is_answered_but_all_is_completed(kind: str, inline: bool) -> None:
    action, detail = FAULTS[kind]
    batches = iter(range(100))
    rig = Rig(TenTimes(lambda batch: action(batch) if next(batches) == 5 else None), max_batch=1, inline=inline)
    for number in range(20):
        rig.issue([number])
    rig.check(answered=False)
    assert [(fault.kind, detail in fault.detail) for fault in rig.sut.faults] == [(kind, True)]
    expected = [10 * number if number < 5 else None for number in range(20)]
    if kind == "not-finite":
        # Outputs are looked at when LoadGen has the answer: that time is not the system's.
        expected[5] = -1
    assert rig.done.answers == {BASE + number: answer for number, answer in enumerate(expected)}
    assert len(rig.sessions[0].sizes) == 6, "the model was asked again"


def test_a_backend_that_exits_is_a_fault() -> None:
    def leave(batch: NDArray[Any]) -> None:
        raise SystemExit("no licence")

    rig = Rig(TenTimes(leave))
    rig.issue([1])
    rig.check(answered=False)
    assert [fault.detail for fault in rig.sut.faults] == ["SystemExit: no licence"]


def test_a_worker_that_cannot_go_on_leaves_a_fault() -> None:
    def refuse(ids: list[int], payload: NDArray[Any] | None) -> None:
        raise ValueError("more ids than rows")

    sut = SystemUnderTest(Task, Samples(), [TenTimes()], refuse, max_batch=4)  # type: ignore[arg-type]
    sut.issue([1], [1])
    assert sut.close(10)
    assert [fault.detail for fault in sut.faults] == ["ValueError: more ids than rows"]


def test_close_says_when_a_worker_does_not_come_back() -> None:
    gate = threading.Event()
    rig = Rig(TenTimes(waits_for(gate)))
    rig.issue([1])
    assert not rig.sut.close(0.1)
    gate.set()
    rig.check()


def test_outputs_are_kept_by_index() -> None:
    outputs = np.full((TOTAL, 1), np.nan, np.float32)
    rig = Rig(TenTimes(), TenTimes(), max_batch=7, outputs=outputs)
    rig.issue(list(range(TOTAL - 1, -1, -1)))
    rig.check()
    assert outputs[:, 0].tolist() == [10 * index for index in range(TOTAL)]


def test_the_timeline_stamps_before_loadgen_is_told() -> None:
    told: list[tuple[int, int]] = []

    def complete(ids: list[int], payload: NDArray[Any] | None) -> None:
        told.extend((number, time.perf_counter_ns()) for number in ids)

    sut = SystemUnderTest(Task, Samples(), [TenTimes()], complete, max_batch=2, inline=True)  # type: ignore[arg-type]
    entered = time.perf_counter_ns()
    sut.issue([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    timeline = Timeline(**sut.timeline())
    assert timeline.batch_samples.tolist() == [2, 2, 1]
    assert entered <= timeline.callback_ns[0] <= timeline.completion_ns[0]
    assert all(timeline.completion_ns[number] <= stamp for number, stamp in told)
    assert Counter(number for number, _ in told) == Counter(range(5))


@pytest.mark.parametrize("inline", [False, True])
def test_an_encoding_that_loses_a_row_is_a_fault(inline: bool) -> None:
    class Losing(Task):
        @staticmethod
        def encode(outputs: NDArray[Any]) -> NDArray[np.int64]:
            return Task.encode(outputs)[:-1]

    rig = Rig(TenTimes(), inline=inline, task=Losing)
    rig.issue([1, 2, 3])
    rig.check(answered=False)
    assert [fault.kind for fault in rig.sut.faults] == ["shape"]
    assert "encoded 2 answers of 3 samples" in rig.sut.faults[0].detail


@pytest.mark.parametrize("way", [{}, {"inline": True}, {"prefetch": 1}, {"prefetch": 3}], ids=str)
def test_outputs_that_are_no_numbers_at_all_are_a_fault_and_end_no_worker(way: dict[str, int]) -> None:
    class Anything(Task):
        @staticmethod
        def encode(outputs: NDArray[Any]) -> NDArray[np.int64]:
            return np.zeros(len(outputs), np.int64)

    rig = Rig(TenTimes(lambda batch: batch.astype(str)), task=Anything, **way)
    rig.issue([1, 2, 3])
    rig.issue([4])
    rig.check(answered=False)
    assert "TypeError" in rig.sut.faults[0].detail


def test_what_fails_while_loadgen_is_told_is_a_fault_and_not_an_exception_of_loadgens() -> None:
    def refuse(ids: list[int], payload: NDArray[Any] | None) -> None:
        raise ValueError("no such id")

    rig = Rig(TenTimes(), inline=True, complete=refuse)
    rig.sut.issue([BASE], [1])
    assert [fault.detail for fault in rig.sut.faults] == ["ValueError: no such id"]
    assert rig.sut.close(10)


def test_where_a_backend_failed_is_for_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    def fall(batch: NDArray[Any]) -> None:
        raise ValueError("the model fell over")

    rig = Rig(TenTimes(fall))
    rig.issue([1])
    rig.check(answered=False)
    assert "in fall" in capsys.readouterr().err


def test_an_arrival_is_noted_before_anybody_can_answer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[int] = []

    class Noting(SimpleQueue):  # type: ignore[type-arg]
        def put(self, item: Any, *rest: Any, **more: Any) -> None:
            noted.append(rig.sut.issued)
            super().put(item, *rest, **more)

    monkeypatch.setattr("scenarios.harness.waiting.SimpleQueue", Noting)
    rig = Rig(TenTimes(), max_batch=1)
    for number in range(20):
        rig.issue([number])
    assert noted == list(range(1, 21))
    rig.check()
