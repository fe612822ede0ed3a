"""The search: every `auto` becomes the fastest that the scenario allows, hints leave their margins."""

import os
from pathlib import Path

import pytest

from common.errors import RunFailed
from suite import plugins, search
from suite.probes import sensitivity as steadiness
from suite.probes import unseen
from suite.probes.sensitivity import sensitivity
from suite.resources import usable_cores
from suite.search import BATCHES, OFFLINE_MARGIN, STREAM_MARGIN, Terms, hint, loaded, resolve
from suite.subject import Subject, describe, warm_up_sizes
from suite.variant import Requested, Serving
from tests.conformance.loading import variant
from tests.zoo.counting import Count

OFFLINE = Terms("offline", 1, None, None, inline=False)
SERVER = Terms("server", 1, 15, 0.5, inline=False)
SINGLE = Terms("single-stream", 1, None, None, inline=True)
MULTI = Terms("multi-stream", 8, None, None, inline=True)
ONE = Requested(batch=32, sessions=1, threads=1)


def subject(backend: str, data_root: Path, **options: str) -> Subject:
    workload = plugins.workload("fashion-resnet")
    chosen = variant(backend, workload, **options)
    opened = Subject.open(
        describe(workload.name, backend, chosen.model, dict(chosen.options), data_root / workload.dataset_name)
    )
    opened.dataset.load(range(opened.dataset.total))
    return opened


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PROBE_S", 0.05)
    monkeypatch.setattr(search, "HINT_S", 0.2)


@pytest.fixture
def simulated(data_root: Path) -> Subject:
    return subject("simulated", data_root, per_batch_us="2000", per_sample_us="20")


def test_offline_takes_the_fastest_of_all_layouts_and_batches(simulated: Subject) -> None:
    serving, tried = resolve(simulated, Requested(), OFFLINE)
    cores = usable_cores()
    layouts = {(one["serving"]["sessions"], one["serving"]["threads"]) for one in tried}
    assert layouts == {(cores, 1), (1, cores)}
    assert {one["serving"]["batch"] for one in tried} == set(BATCHES)
    fastest = max(tried, key=lambda one: one["samples_per_s"])
    assert serving == Serving(**fastest["serving"])
    # A simulated session sleeps, so more sessions and larger batches are faster.
    assert serving.sessions == cores and serving.batch >= 128


def test_server_leaves_room_within_its_limit(simulated: Subject) -> None:
    serving, tried = resolve(simulated, Requested(sessions=1), SERVER)
    # A batch takes 2 ms and 20 µs a sample, and may take a fifth of 15 ms.
    assert serving.batch in (16, 32)
    chosen = next(one for one in tried if one["serving"] == serving.__dict__)
    assert chosen["batch_ms"] <= 3 or chosen == min(tried, key=lambda one: one["batch_ms"])


def test_server_takes_the_quickest_where_nothing_fits(data_root: Path) -> None:
    slow = subject("simulated", data_root, per_batch_us="8000", per_sample_us="100")
    serving, tried = resolve(slow, Requested(sessions=1), SERVER)
    assert all(one["batch_ms"] > 3 for one in tried)
    assert serving.batch == min(tried, key=lambda one: one["batch_ms"])["serving"]["batch"]


@pytest.mark.parametrize(("terms", "batch"), [(SINGLE, 1), (MULTI, 8)])
def test_a_stream_has_one_session_and_its_query_for_a_batch(simulated: Subject, terms: Terms, batch: int) -> None:
    serving, tried = resolve(simulated, Requested(), terms)
    assert (serving.sessions, serving.batch) == (1, batch)
    assert {one["serving"]["threads"] for one in tried} == {1, usable_cores()}


@pytest.mark.parametrize("terms", [OFFLINE, SERVER])
def test_what_is_requested_is_not_searched(simulated: Subject, terms: Terms) -> None:
    serving, tried = resolve(simulated, Requested(48, 700, 3, 2, "cpu"), terms)
    assert serving == Serving(48, 700, 3, 2, "cpu")
    assert len(tried) == 1


def test_what_is_left_open_follows_from_what_is_requested(simulated: Subject) -> None:
    cores = usable_cores()
    assert resolve(simulated, Requested(batch=16, threads=1), OFFLINE)[0].sessions == cores
    assert resolve(simulated, Requested(batch=16, sessions=1), OFFLINE)[0].threads == cores
    assert resolve(simulated, Requested(batch=4, threads=1), MULTI)[0] == Serving(4, 0, 1, 1, "cpu")


@pytest.mark.parametrize(
    ("terms", "measured", "factor"),
    [
        (OFFLINE, "measured_samples_per_s", OFFLINE_MARGIN),
        (SERVER, "measured_samples_per_s", 0.5),
        (SINGLE, "measured_latency_ns", STREAM_MARGIN),
    ],
)
def test_a_hint_is_what_was_measured_with_its_margin(
    simulated: Subject, terms: Terms, measured: str, factor: float
) -> None:
    serving, _ = resolve(simulated, ONE, terms)
    with loaded(simulated, serving) as sessions:
        found = hint(simulated, sessions, serving, terms)
    assert found["value"] == pytest.approx(found[measured] * factor)
    # A batch of 32 takes 2.64 ms, one sample 2.02 ms; a busy machine is slower, never faster.
    if terms.inline:
        assert found[measured] >= 2.02e6
    else:
        assert found[measured] <= 32 / 2.64e-3 * 1.05


def test_steady_answers_have_no_differences(simulated: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steadiness, "PASS_S", 0.5)
    with loaded(simulated, Serving(64, 0, 1, 1, "cpu")) as sessions:
        found = sensitivity(simulated, sessions, 64)
    assert found["differences"] == 0
    assert [one["batch"] for one in found["passes"]] == ["maximum", "1", "mixed"]
    assert min(one["samples"] for one in found["passes"]) >= steadiness.LEAST


def test_answers_that_depend_on_the_batch_are_counted(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steadiness, "PASS_S", 0.5)
    unsteady = subject("tests.zoo.dynamic_int8", data_root)
    with loaded(unsteady, Serving(64, 0, 1, 1, "cpu")) as sessions:
        found = sensitivity(unsteady, sessions, 64)
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
            ratios[backend] = unseen.repeat_probe(opened, sessions[0], 16)
    assert ratios["tests.zoo.memoising"]["ratio_low_95"] > 1.1
    assert ratios["simulated"]["ratio_low_95"] < 1.1
    assert all(found["pairs"] >= 5 and found["ratio_low_95"] <= found["ratio"] for found in ratios.values())


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
