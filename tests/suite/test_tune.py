"""Tuning: the best of the likeliest servings is found in a bounded time, kept, and used by every run."""

import json
import math
import statistics
import time
from dataclasses import replace
from pathlib import Path

import pytest

from suite import awake, search, tune
from suite.placement import usable
from suite.search import Terms
from suite.variant import Requested, Serving
from tests.suite.commands import only_record, records, start
from tests.suite.subjects import subject

OFFLINE = Terms("offline", 1, None, None, inline=False)
SERVER = Terms("server", 1, 15, 0.5, inline=False)
SERVINGS = [Serving(batch, 0, 1, 1, "cpu") for batch in range(1, 9)]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PROBE_S", 0.05)
    monkeypatch.setattr(tune, "ROUND_S", 0.05)
    monkeypatch.setattr(tune, "SERVER_ROUND_S", 0.2)


def test_the_best_wins_though_its_first_rounds_were_disturbed() -> None:
    asked = dict.fromkeys(SERVINGS, 0)

    def measure(serving: Serving) -> float:
        asked[serving] += 1
        # Of any three rounds of one serving a stall takes half of one.
        return serving.batch * (0.5 if asked[serving] % 3 == 1 else 1.0)

    found = tune.race(SERVINGS, measure, math.inf)
    assert tune._ranked(SERVINGS, found)[0] == SERVINGS[-1]
    assert asked[SERVINGS[-1]] == asked[SERVINGS[-2]] == tune.ROUNDS_AT_MOST
    assert asked[SERVINGS[0]] == tune.ROUNDS_A_HALF


def test_a_race_that_has_no_time_asks_the_likeliest_alone() -> None:
    found = tune.race(SERVINGS, lambda serving: float(serving.batch), time.perf_counter())
    assert [serving for serving, _ in found] == SERVINGS[:1]


def test_a_round_that_was_cut_off_does_not_decide() -> None:
    found = [(SERVINGS[0], 5.0), (SERVINGS[1], 9.0), (SERVINGS[0], 5.0)]
    assert tune._ranked(SERVINGS[:2], found)[0] == SERVINGS[1]


def test_who_left_does_not_come_back() -> None:
    found = [(SERVINGS[0], 9.0), *[(SERVINGS[1], 8.0)] * 5]
    assert tune._ranked(SERVINGS[:2], found)[0] == SERVINGS[1]


def test_offline_also_races_gathering_ahead(data_root: Path) -> None:
    simulated = subject("simulated", data_root, per_batch_us="2000", per_sample_us="20")
    serving, probes, tuned = tune.tune(simulated, Requested(sessions=1, threads=1), OFFLINE, 3)
    best = max((one for one in probes[: len(tune.BATCHES)]), key=lambda one: one["samples_per_s"])["serving"]
    assert {**best, "prefetch": 1} in [one["serving"] for one in probes]
    # 2 ms a batch are 2 µs a sample in the largest batches, and 125 in the smallest.
    assert serving.batch >= 256
    assert tuned["asked_s"] == 3


def test_no_layout_is_left_out_for_want_of_time(data_root: Path) -> None:
    slow = subject("simulated", data_root, per_batch_us="100000", per_sample_us="0")
    _, probes, _ = tune.tune(slow, Requested(), OFFLINE, 1)
    asked = {(one["serving"]["sessions"], one["serving"]["threads"]) for one in probes}
    assert asked == set(search._layouts(Requested(), inline=False))


def test_server_races_waits_by_their_latency(data_root: Path) -> None:
    simulated = subject("simulated", data_root, per_batch_us="500", per_sample_us="50")
    serving, probes, _ = tune.tune(simulated, Requested(sessions=1, threads=1, batch=16), SERVER, 3)
    raced: dict[Serving, list[float]] = {}
    for one in probes:
        if "p99_s" in one:
            raced.setdefault(Serving(**one["serving"]), []).append(one["p99_s"])
    assert {one.max_wait_us for one in raced} == {0, *tune.WAITS_US}
    assert serving == replace(serving, batch=16, sessions=1, threads=1)
    # Of those that stayed longest the one that was quickest most of the time.
    most = max(map(len, raced.values()))
    stayed = [one for one, times in raced.items() if len(times) >= most - 1]
    assert serving == min(stayed, key=lambda one: statistics.median(raced[one]))


@pytest.mark.skipif(len(usable()) < 2, reason="threads can be pinned to a choice of cores only where there are two")
@pytest.mark.parametrize(("pin", "raced"), [("auto", {(), usable()}), ("off", {()}), ("0", {(0,)})])
def test_sessions_that_keep_to_their_cores_race_where_pinning_is_auto(
    pin: str, raced: set[tuple[int, ...]], data_root: Path
) -> None:
    simulated = subject("simulated", data_root, per_batch_us="500", per_sample_us="50")
    requested = Requested(sessions=1, threads=1, batch=16, max_wait_us=0, pin=pin)
    _, probes, _ = tune.tune(simulated, requested, SERVER, 1)
    assert {tuple(one["serving"]["pin"]) for one in probes} == raced


@pytest.mark.parametrize(("asked", "raced"), [("auto", {True, False}), ("on", {True}), ("off", {False})])
def test_cores_that_may_halt_race_where_it_is_auto(
    asked: str, raced: set[bool], data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file takes what the kernel's device would, whoever runs this.
    monkeypatch.setattr(awake, "DEVICE", tmp_path / "latency")
    awake.DEVICE.touch()
    simulated = subject("simulated", data_root, per_batch_us="500", per_sample_us="50")
    requested = Requested(sessions=1, threads=1, batch=16, max_wait_us=0, pin="off", awake=asked)
    _, probes, _ = tune.tune(simulated, requested, SERVER, 1)
    assert {one["serving"]["awake"] for one in probes} == raced


def test_what_is_requested_is_not_tuned(data_root: Path) -> None:
    simulated = subject("simulated", data_root, per_batch_us="500", per_sample_us="50")
    serving, _, _ = tune.tune(simulated, Requested(16, 300, 2, 1, "cpu", pin="off", awake="off"), SERVER, 2)
    assert serving == Serving(16, 300, 2, 1, "cpu")


@pytest.mark.side_by_side
def test_what_was_tuned_serves_the_runs_that_follow(tmp_path: Path) -> None:
    words = ("--backend=null", "--scenario=offline", f"--results-dir={tmp_path / 'results'}", "--sessions=1")
    cache = f"--cache-dir={tmp_path / 'cache'}"
    data = f"--data-dir={_data()}"
    tuned = start(*words, cache, data, "--mode=performance", "--tune-seconds=3").end(120)
    assert tuned.code == 0, tuned.stderr
    assert "tuning how to serve it, for up to 3 s" in tuned.stderr
    folder, record = only_record(tmp_path / "results")
    assert json.loads((folder / "preparation.json").read_text())["tuned"]["asked_s"] == 3
    after = start(*words, cache, data, "--mode=accuracy").end(120)
    assert after.code in (0, 1), after.stderr
    assert "tuning" not in after.stderr and "finding how" not in after.stderr
    assert [one["serving"] for _, one in records(tmp_path / "results")] == [record["serving"]] * 2
    # Less than what was asked for once is there already, more is not.
    for asked_s, again in ((2, False), (4, True)):
        ended = start(*words, cache, data, "--mode=accuracy", f"--tune-seconds={asked_s}").end(120)
        assert ("tuning how to serve it" in ended.stderr) == again


def _data() -> Path:
    import os

    from suite.places import cache_dir, data_dir

    return data_dir("", os.environ, cache_dir("", os.environ), "fashion-mnist")
