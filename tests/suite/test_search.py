"""The search: every `auto` becomes the fastest that the scenario allows, hints leave their margins."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import RunFailed
from scenarios.base import SAMPLED_ANSWERS
from suite import plugins, search
from suite.probes import sensitivity as steadiness
from suite.probes import speed, unseen
from suite.probes.sensitivity import sensitivity
from suite.resources import usable_cores
from suite.search import BATCHES, SERVER_CUT, SERVER_CUTS, SERVER_ROUNDS, Terms, as_requested, hint, loaded, resolve
from suite.subject import Subject, warm_up_sizes
from suite.variant import Requested, Serving
from tests.suite.subjects import subject
from tests.zoo.counting import Count

OFFLINE = Terms("offline", 1, None, None, inline=False)
SERVER = Terms("server", 1, 15, 0.5, inline=False)
SERVED = Serving(16, 100, 2, 2, "cpu", pin=(0,))
SINGLE = Terms("single-stream", 1, None, None, inline=True)
MULTI = Terms("multi-stream", 8, None, None, inline=True)
ONE = Requested(batch=32, sessions=1, threads=1)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PROBE_S", 0.05)
    monkeypatch.setattr(search, "HINT_S", 0.2)
    monkeypatch.setattr(search, "SERVER_PROBE_S", 0.2)


@pytest.fixture
def simulated(data_root: Path) -> Subject:
    return subject("simulated", data_root, per_batch_us="2000", per_sample_us="20")


def test_offline_takes_the_fastest_of_all_layouts_and_batches(
    simulated: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = 2
    monkeypatch.setattr(search, "usable_cores", lambda: cores)
    serving, tried = resolve(simulated, Requested(), OFFLINE)
    layouts = {(one["serving"]["sessions"], one["serving"]["threads"]) for one in tried}
    assert layouts == {(cores, 1), (1, cores)}
    assert {one["serving"]["batch"] for one in tried} == set(BATCHES)
    fastest = max(tried[: 2 * len(BATCHES)], key=lambda one: one["samples_per_s"])
    assert serving == Serving(**fastest["serving"])
    # A simulated session sleeps, so more sessions are faster.
    assert serving.sessions == cores


def test_a_layout_that_a_slow_phase_hid_is_asked_again(simulated: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the better layout is asked for the first time something else slows the machine."""
    monkeypatch.setattr(search, "usable_cores", lambda: 2)
    asked = []

    def probe(subject: Subject, sessions: list[Any], serving: Serving, *_: Any) -> float:
        asked.append(serving)
        fast = (1000.0 if serving.sessions == 2 else 900.0) + serving.batch / 1e3
        return fast * (0.7 if serving.sessions == 2 and len(asked) <= 2 * len(BATCHES) else 1.0)

    monkeypatch.setattr(speed, "throughput", probe)
    serving, tried = resolve(simulated, Requested(), OFFLINE)
    assert (serving.sessions, serving.threads, serving.batch) == (2, 1, BATCHES[-1])
    again = [one["serving"]["sessions"] for one in tried[2 * len(BATCHES) :]]
    assert again in ([1, 2] * search.AGAIN, [2, 1] * search.AGAIN)


def test_of_many_layouts_the_two_fastest_are_asked_again_in_whole_rounds_for_a_while(
    simulated: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "usable_cores", lambda: 4)
    monkeypatch.setattr(search, "AGAIN_S", 0.0)
    monkeypatch.setattr(speed, "throughput", lambda *given: 1000.0 + given[2].sessions)
    _, tried = resolve(simulated, Requested(batch=16), OFFLINE)
    assert [one["serving"]["sessions"] for one in tried] == [1, 2, 4, 4, 2]


def test_a_layout_without_hope_is_not_asked_again(simulated: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "usable_cores", lambda: 2)
    monkeypatch.setattr(speed, "throughput", lambda *given: 1000.0 if given[2].sessions == 2 else 400.0)
    assert len(resolve(simulated, Requested(), OFFLINE)[1]) == 2 * len(BATCHES)


def test_server_leaves_room_within_its_limit(simulated: Subject) -> None:
    serving, tried = resolve(simulated, Requested(sessions=1), SERVER)
    # A batch takes 2 ms and 20 µs a sample, and may take a third of 15 ms, or a quarter more than the quickest.
    assert serving.batch in (64, 128)
    chosen = max((one for one in tried if one["serving"] == serving.__dict__), key=lambda one: one["samples_per_s"])
    assert chosen["batch_ms"] <= max(5, 1.25 * min(one["batch_ms"] for one in tried))


def test_server_tries_smaller_batches_where_a_small_one_takes_too_long_and_no_larger_ones(data_root: Path) -> None:
    """A sample takes 1 ms, and a batch may take 5 ms."""
    slow = subject("simulated", data_root, per_batch_us="0", per_sample_us="1000")
    serving, tried = resolve(slow, Requested(sessions=1), SERVER)
    assert serving.batch == 4
    assert [one["serving"]["batch"] for one in tried] == [16, 8, 4] * SERVER_ROUNDS


def test_a_serving_that_a_slow_phase_hid_once_is_judged_by_its_better_round() -> None:
    def probe(batch: int, rate: float) -> dict[str, object]:
        return {"serving": {"sessions": 2, "batch": batch}, "samples_per_s": rate, "batch_ms": 2000 * batch / rate}

    slow, fast = probe(16, 4000), probe(16, 7000)
    assert search._best([slow, probe(8, 6500), probe(8, 3000), fast], SERVER) == fast


def test_server_takes_the_largest_batch_of_those_that_are_as_fast(data_root: Path) -> None:
    """Whatever the batch, a sample takes 0.1 ms; one of 32 is the largest that takes no longer than a third of 15."""
    steady = subject("simulated", data_root, per_batch_us="10", per_sample_us="100")
    serving, tried = resolve(steady, Requested(sessions=1), SERVER)
    within = [one for one in tried if one["batch_ms"] <= 5]
    fastest = max(one["samples_per_s"] for one in within)
    as_fast = [one for one in within if one["samples_per_s"] >= 0.9 * fastest]
    assert serving.batch == max(one["serving"]["batch"] for one in as_fast) <= 32


def test_server_takes_the_most_sessions_of_those_that_are_as_fast() -> None:
    def probe(sessions: int, batch: int, rate: float, batch_ms: float = 4.0) -> dict[str, object]:
        return {"serving": {"sessions": sessions, "batch": batch}, "samples_per_s": rate, "batch_ms": batch_ms}

    as_fast = [probe(1, 32, 1000), probe(2, 8, 980), probe(2, 16, 950), probe(2, 64, 990, batch_ms=6)]
    assert search._best(as_fast, SERVER) == probe(2, 16, 950)
    assert search._best([*as_fast, probe(1, 16, 1200)], SERVER) == probe(1, 16, 1200)
    assert search._best(as_fast, OFFLINE) == probe(1, 32, 1000)


def test_server_takes_the_fastest_of_the_quickest_where_nothing_fits(data_root: Path) -> None:
    """Batches of 16 take 9.6 ms and of 32 11.2 ms, which is much the same; of 64 14.4 ms."""
    slow = subject("simulated", data_root, per_batch_us="8000", per_sample_us="100")
    serving, tried = resolve(slow, Requested(sessions=1), SERVER)
    quickest = min(one["batch_ms"] for one in tried)
    assert quickest > 6
    near = [one for one in tried if one["batch_ms"] <= 1.25 * quickest]
    assert serving.batch == max(near, key=lambda one: one["samples_per_s"])["serving"]["batch"] <= 32


@pytest.mark.parametrize(("terms", "batch"), [(SINGLE, 1), (MULTI, 8)])
def test_a_stream_has_one_session_and_its_query_for_a_batch(simulated: Subject, terms: Terms, batch: int) -> None:
    serving, tried = resolve(simulated, Requested(), terms)
    assert (serving.sessions, serving.batch) == (1, batch)
    assert {one["serving"]["threads"] for one in tried} == {1, usable_cores()}


@pytest.mark.parametrize("terms", [OFFLINE, SERVER])
def test_what_is_requested_is_not_searched(simulated: Subject, terms: Terms) -> None:
    serving, tried = resolve(simulated, Requested(48, 700, 3, 2, "cpu", awake="off"), terms)
    assert serving == Serving(48, 700, 3, 2, "cpu")
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("requested", "inline", "expected"),
    [
        (Requested(), False, SERVED),
        (Requested(batch=4, max_wait_us=0), False, replace(SERVED, batch=4, max_wait_us=0)),
        (Requested(sessions=3, threads=1), False, replace(SERVED, sessions=3, threads=1)),
        (Requested(threads=usable_cores()), False, replace(SERVED, sessions=1, threads=usable_cores())),
        (Requested(pin="off"), False, replace(SERVED, pin=())),
        (Requested(batch=99, sessions=3, threads=3), True, replace(SERVED, threads=3)),
    ],
)
def test_a_serving_of_another_is_changed_as_requested(requested: Requested, inline: bool, expected: Serving) -> None:
    assert as_requested(SERVED, requested, inline=inline) == expected


def test_what_is_left_open_follows_from_what_is_requested(simulated: Subject) -> None:
    cores = usable_cores()
    assert resolve(simulated, Requested(batch=16, threads=1), OFFLINE)[0].sessions == cores
    assert resolve(simulated, Requested(batch=16, sessions=1), OFFLINE)[0].threads == cores
    assert resolve(simulated, Requested(batch=4, threads=1), MULTI)[0] == Serving(4, 0, 1, 1, "cpu")


@pytest.mark.parametrize(
    ("terms", "measured", "factor"),
    [
        (OFFLINE, "measured_samples_per_s", 1.4),
        (SERVER, "measured_samples_per_s", 0.5),
        (SINGLE, "measured_latency_ns", 0.75),
    ],
)
def test_a_hint_is_what_was_measured_with_its_margin(
    simulated: Subject, terms: Terms, measured: str, factor: float
) -> None:
    serving, _ = resolve(simulated, ONE, terms)
    with loaded(simulated, serving) as sessions:
        found = hint(simulated, sessions, serving, terms)
    # Server's load is cut where a probe on this machine, now, does not hold it.
    cuts = range(SERVER_CUTS + 1 if terms is SERVER else 1)
    assert any(found["value"] == pytest.approx(found[measured] * factor * SERVER_CUT**cut) for cut in cuts)
    # A batch of 32 takes 2.64 ms, one sample 2.02 ms; a busy machine is slower, never faster.
    if terms.inline:
        assert found[measured] >= 2.02e6
    else:
        assert found[measured] <= 32 / 2.64e-3 * 1.05


@pytest.mark.side_by_side
def test_steady_answers_have_no_differences(simulated: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steadiness, "PASS_S", 0.5)
    with loaded(simulated, Serving(64, 0, 1, 1, "cpu")) as sessions:
        found = sensitivity(simulated, sessions, 64, seed=1)
    assert found["differences"] == 0
    assert [one["batch"] for one in found["passes"]] == ["maximum", "1", "mixed"]
    assert min(one["samples"] for one in found["passes"]) >= steadiness.LEAST == SAMPLED_ANSWERS


@pytest.mark.side_by_side
def test_answers_that_depend_on_the_batch_are_counted(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steadiness, "PASS_S", 0.5)
    unsteady = subject("tests.zoo.dynamic_int8", data_root)
    with loaded(unsteady, Serving(64, 0, 1, 1, "cpu")) as sessions:
        found = sensitivity(unsteady, sessions, 64, seed=1)
    assert 0 < found["differences"] < 0.05 * found["samples"]
    worst = max(found["passes"], key=lambda one: one["differences"] / one["samples"])
    assert (found["samples"], found["differences"]) == (worst["samples"], worst["differences"])


def test_a_memory_is_seen_and_an_honest_model_is_not_taken_for_one(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ratios = {}
    for backend in ("tests.zoo.memoising", "simulated"):
        opened = subject(backend, data_root)
        with loaded(opened, Serving(16, 0, 1, 1, "cpu")) as sessions:
            ratios[backend] = unseen.repeat_probe(opened, sessions[0], 16, seed=1)
    assert ratios["tests.zoo.memoising"]["ratio_low_95"] > 1.1
    assert ratios["simulated"]["ratio_low_95"] < 1.1
    assert all(found["pairs"] >= 5 and found["ratio_low_95"] < found["ratio"] for found in ratios.values())


@pytest.mark.parametrize("backend", ["raises_on_nth_batch", "wrong_rows", "not_finite"])
@pytest.mark.parametrize("terms", [OFFLINE, SINGLE])
def test_a_backend_that_fails_while_it_is_probed_fails_the_search(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, backend: str, terms: Terms
) -> None:
    # The process counts batches over all its sessions; the warm-up has six of them.
    monkeypatch.setattr(plugins.backend(f"tests.zoo.{backend}"), "_batches", Count())
    faulty = subject(f"tests.zoo.{backend}", data_root, when="always", n="8")
    with pytest.raises(RunFailed, match="The backend failed while it was being probed: "):
        resolve(faulty, ONE, terms)


@pytest.mark.parametrize(
    ("batch", "sizes"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (1024, [2**power for power in range(11)])]
)
def test_every_kind_of_batch_is_warmed_up(batch: int, sizes: list[int]) -> None:
    assert warm_up_sizes(batch) == sizes


def test_cores_are_those_that_may_be_used() -> None:
    assert 1 <= usable_cores() <= len(os.sched_getaffinity(0))


def test_a_load_that_the_limit_does_not_allow_is_cut_as_far_as_it_goes(data_root: Path) -> None:
    """A batch takes 20 ms, beyond the limit of 15 ms at any load."""
    slow = subject("simulated", data_root, per_batch_us="20000", per_sample_us="100")
    serving = Serving(32, 0, 1, 1, "cpu")
    with loaded(slow, serving) as sessions:
        found = hint(slow, sessions, serving, SERVER)
    assert found["value"] == pytest.approx(found["measured_samples_per_s"] * 0.5 * 0.7**6)
    assert found["probed_p99_ms"] >= 20


def test_a_layout_follows_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "usable_cores", lambda: 12)
    assert search._layouts(Requested(), inline=False) == [(1, 12), (3, 4), (6, 2), (12, 1)]
    assert search._layouts(Requested(threads=2), inline=False) == [(6, 2)]
    assert search._layouts(Requested(), inline=True) == [(1, 1), (1, 2), (1, 4), (1, 8), (1, 12)]


def test_a_batch_of_a_stream_is_no_larger_than_its_query(simulated: Subject) -> None:
    assert resolve(simulated, Requested(batch=32, threads=1), SINGLE)[0].batch == 1
    assert resolve(simulated, Requested(batch=32, threads=1), MULTI)[0].batch == 8


def test_a_batchs_time_is_that_of_one_session_while_all_are_busy(simulated: Subject) -> None:
    _, (tried,) = resolve(simulated, Requested(batch=32, sessions=2, threads=1), OFFLINE)
    assert tried["batch_ms"] >= 2.64 * 0.95


def test_no_larger_batch_is_tried_where_one_takes_long(simulated: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "LONGEST_BATCH_S", 1e-9)
    _, tried = resolve(simulated, Requested(sessions=1, threads=1), OFFLINE)
    assert [one["serving"]["batch"] for one in tried] == [16]


def test_sessions_are_closed(simulated: Subject) -> None:
    with loaded(simulated, Serving(8, 0, 2, 1, "cpu")) as sessions:
        closed: list[object] = []
        for session in sessions:
            session.close = lambda session=session: closed.append(session)  # type: ignore[method-assign, misc]
    assert closed == sessions


def test_a_throughput_is_near_what_the_simulation_can(simulated: Subject) -> None:
    """A batch of 64 takes 3.28 ms; a busy machine is slower, and hardly five times."""
    with loaded(simulated, Serving(64, 0, 1, 1, "cpu")) as sessions:
        rate = speed.throughput(simulated, sessions, Serving(64, 0, 1, 1, "cpu"), 0.1)
    assert 64 / 3.28e-3 / 5 < rate < 64 / 3.28e-3 * 1.05


def test_a_throughput_that_is_known_is_asked_for_once(simulated: Subject) -> None:
    answered: list[int] = []
    counting = replace(simulated, beat=answered.append)
    with loaded(counting, Serving(64, 0, 1, 1, "cpu")) as sessions:
        answered.clear()
        speed.throughput(counting, sessions, Serving(64, 0, 1, 1, "cpu"), 0.1, known=10_000.0)
    assert sum(answered) == 1000


class Session:
    """Notes what it is asked, and answers with the last digit of a sample's index; `slow` batches take longer."""

    def __init__(self, slow: int = 0) -> None:
        self.asked: list[list[int]] = []
        self.slow = slow

    def predict(self, samples: np.ndarray) -> np.ndarray:
        if self.slow:
            self.slow -= 1
            time.sleep(0.05)
        self.asked.append(samples[:, 0, 0, 0].astype(int).tolist())
        outputs = np.zeros((len(samples), 10), np.float32)
        outputs[np.arange(len(samples)), np.array(self.asked[-1]) % 10] = 1
        return outputs

    def close(self) -> None:
        pass


class Numbered:
    """A dataset in which a sample is made of its own index alone."""

    total = 5000

    def batch(self, indices: object) -> np.ndarray:
        return np.broadcast_to(np.asarray(indices, np.float32)[:, None, None, None], (len(indices), 1, 1, 4))  # type: ignore[arg-type]


@pytest.fixture
def numbered(simulated: Subject) -> Subject:
    return replace(simulated, dataset=Numbered())  # type: ignore[arg-type]


def test_a_percentile_of_arrivals_sees_the_slowest_few(numbered: Subject) -> None:
    session = Session(slow=2)
    assert speed.arrival_latency(numbered, [session], Serving(1, 0, 1, 1, "cpu"), 100.0, 0.5, 15) >= 0.05  # type: ignore[list-item]
    assert speed.query_latency(numbered, [Session(slow=2)], 1, 1, 0.1) < 0.05  # type: ignore[list-item]


def test_arrivals_are_issued_as_loadgen_issues_them(numbered: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    policies = set()
    issue = speed.SystemUnderTest._issue_queued

    def tells(self: Any, ids: list[int], indices: list[int]) -> None:
        policies.add(os.sched_getscheduler(0))
        issue(self, ids, indices)

    monkeypatch.setattr(speed.SystemUnderTest, "_issue_queued", tells)
    speed.arrival_latency(numbered, [Session()], Serving(1, 0, 1, 1, "cpu"), 1000.0, 0.1, 15)  # type: ignore[list-item]
    assert policies == {os.SCHED_BATCH}


def test_the_evaluation_set_is_answered_again_in_other_orders_and_batches(numbered: Subject) -> None:
    session = Session()
    found = sensitivity(numbered, [session], 100, seed=5)  # type: ignore[list-item]
    flat = [index for batch in session.asked for index in batch]
    baseline, maximum, single, mixed = (flat[start : start + 5000] for start in range(0, 20_000, 5000))
    assert baseline == list(range(5000)) and sorted(maximum) == sorted(single) == sorted(mixed) == baseline
    assert len({tuple(order) for order in (baseline, maximum, single, mixed)}) == 4
    sizes = [len(batch) for batch in session.asked]
    assert sizes[:100] == [100] * 100 and sizes[100:5100] == [1] * 5000
    assert len(set(sizes[5100:])) > 10 and max(sizes[5100:-1]) <= 100
    assert [one["batch"] for one in found["passes"]] == ["maximum", "1", "mixed"]
    assert sensitivity(numbered, [Session()], 1, seed=5)["passes"] == [  # type: ignore[list-item]
        {"order": "shuffled", "batch": "maximum", "samples": 5000, "differences": 0}
    ]


def test_a_backend_that_fails_while_the_set_is_answered_again_fails_it(numbered: Subject) -> None:
    class Failing(Session):
        def predict(self, samples: np.ndarray) -> np.ndarray:
            raise RuntimeError("the model fell over")

    with pytest.raises(RunFailed, match="the model fell over"):
        sensitivity(numbered, [Session(), Failing()], 100, seed=5)  # type: ignore[list-item]


def test_unseen_inputs_are_in_range_and_are_no_sample(data_root: Path) -> None:
    opened = subject("simulated", data_root)
    inputs = unseen.drawn(opened.dataset, seed=3)
    every = opened.dataset.batch(range(opened.dataset.total))
    assert inputs.shape == (256, 1, 28, 28) and inputs.dtype == np.float32
    assert inputs.min() >= every.min() - 1e-5 and inputs.max() <= every.max() + 1e-5
    # One grey level is 1/255 of the range: rounding goes half as far.
    level = (every.max() - every.min()) / 255
    for one in inputs[:20]:
        assert np.abs(every - one).max(axis=(1, 2, 3)).min() > 10 * level
    assert np.array_equal(inputs, unseen.drawn(opened.dataset, seed=3))
    assert not np.array_equal(inputs, unseen.drawn(opened.dataset, seed=4))


def test_every_probe_gives_signs_of_life(simulated: Subject) -> None:
    beats: list[int] = []
    alive = replace(simulated, beat=beats.append)
    serving = Serving(8, 0, 1, 1, "cpu")
    with loaded(alive, serving) as sessions:
        assert sum(beats) == 1 + 2 + 4 + 8, "the warm-up"
        for probe in (
            lambda: speed.throughput(alive, sessions, serving, 0.05),
            lambda: speed.query_latency(alive, sessions, 8, 8, 0.05),
            lambda: speed.arrival_latency(alive, sessions, serving, 1000, 0.05, 15),
            lambda: unseen.repeat_probe(alive, sessions[0], 8, 1),
            lambda: unseen.answers(alive, sessions[0], 8, 1),
        ):
            beats.clear()
            probe()
            assert sum(beats) > 0
