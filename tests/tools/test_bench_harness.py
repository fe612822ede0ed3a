"""The bench of the harness: what an interval says of a bar, and that each kind of measurement really measures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.suite.commands import Command
from tools.bench import unhindered
from tools.bench.bench import Bench, child
from tools.bench.measures import MEASURES
from tools.bench.rows import MET, MISSED, UNKNOWN, Bar, row

AT_MOST_3 = Bar(True, 3.0, "µs")
AT_LEAST = Bar(False, 0.8, "")


def differences(*values: float, bar: Bar = AT_MOST_3) -> Any:
    return row("a row", "raw loop", "µs", [(10.0, 10.0 + value) for value in values], bar, ratio=False)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.0] * 20, MET),
        ([5.0] * 20, MISSED),
        ([1.0, 5.0] * 10, UNKNOWN),
        # What a stall does to five pairs of twenty decides nothing.
        ([1.0] * 15 + [500.0] * 5, MET),
        ([3.0] * 20, MET),
        # Of five pairs there is no interval, whatever they say.
        ([1.0] * 5, UNKNOWN),
    ],
)
def test_a_bar_is_met_or_missed_where_the_whole_interval_says_so(values: list[float], verdict: str) -> None:
    assert differences(*values).verdict == verdict


def test_at_least_is_the_other_way_round() -> None:
    pairs = [(100.0, 90.0)] * 20
    assert row("a row", "bare", "samples/s", pairs, AT_LEAST, ratio=True).verdict == MET
    assert row("a row", "bare", "samples/s", [(100.0, 70.0)] * 20, AT_LEAST, ratio=True).verdict == MISSED
    mixed = [(100.0, 70.0), (100.0, 95.0)] * 10
    assert row("a row", "bare", "samples/s", mixed, AT_LEAST, ratio=True).verdict == UNKNOWN


def test_what_cannot_be_told_says_how_many_more_pairs_would() -> None:
    spread = [1.9, 2.2, 2.4, 2.5, 2.6, 2.8, 3.1, 3.4, 3.6, 3.9]
    found = differences(*(spread * 2))
    assert found.verdict == UNKNOWN
    low, high = found.interval
    # Four times as many narrow it to half.
    expected = 20 * (((high - low) / 2 / (3.0 - found.figure)) ** 2 - 1)
    assert expected <= found.more_pairs <= expected + 1
    assert differences(*[1.0] * 20).more_pairs == 0
    assert differences(*[1.0] * 4).more_pairs == 2
    assert json.loads(json.dumps(differences(*[1.0] * 4).record()))["low_95"] is None


def bench(data_root: Path) -> Bench:
    from tests.suite.commands import cache

    return Bench(6, 0.2, data_root / "fashion-mnist", cache())


def test_the_raw_loop_and_the_suite_are_timed_on_the_same_sessions(data_root: Path) -> None:
    subject = bench(data_root).subject("fashion-resnet", "simulated")
    serving = {"batch": 10, "max_wait_us": 0, "sessions": 2, "threads": 1, "device": "cpu", "ahead": False}
    load = {"scenario": "offline", "seconds": 0.3, "hint": 6_000.0}
    for raw_first in (True, False):
        found = child("offline", subject=subject, serving=serving, raw_first=raw_first, **load)
        # 1 ms a batch and 0.1 ms a sample: two sessions cannot answer more than 10,000 a second.
        assert 0 < found["base"] <= 10_000 and 0 < found["suite"] <= 10_000


def test_a_server_without_cost_is_late_only_where_the_machine_is() -> None:
    # A sample a millisecond; the second trace stalls for 100 ms in its midst.
    steady = np.arange(1, 5001) * 1_000_000
    stalled = np.where(np.arange(5000) < 2500, steady, steady + 100_000_000)
    arrivals = np.array([0.0, 0.1e6, 0.2e6, 50e6])
    latencies = unhindered.latencies_ns(arrivals, *unhindered.progress([steady], 1))
    assert latencies.tolist() == pytest.approx([1e6, 1.9e6, 2.8e6, 1e6])
    shares = [unhindered.highest_share([trace], 1, 15e6, 0.99, 1) for trace in (steady, stalled)]
    # 85 ms of a load are late, and those that wait behind them: more than a hundredth of 5 s whatever comes after.
    assert 0.85 < shares[0] < 1.0 and shares[1] == 0.0


@pytest.mark.parametrize("phase", [0.01, 0.5])
def test_it_matters_not_for_it_when_large_batches_end(phase: float) -> None:
    # Two sessions of 3,500 samples a second each, in batches of 256, of which one is ahead of the other.
    ends = np.arange(1, 80) * (256 / 3500 * 1e9)
    traces = [ends.astype(np.int64), (ends * 1.0 - (1 - phase) * ends[0])[1:].astype(np.int64)]
    assert unhindered.highest_share(traces, 256, 15e6, 0.99, 1) > 0.9


def test_one_sample_takes_as_long_as_it_takes(data_root: Path) -> None:
    subject = bench(data_root).subject("fashion-resnet", "simulated")
    serving = {"batch": 1, "max_wait_us": 0, "sessions": 1, "threads": 1, "device": "cpu"}
    load = {"scenario": "single-stream", "seconds": 0.3, "hint": 1e6}
    found = child("single_stream", subject=subject, serving=serving, least=False, **load)
    assert min(found.values()) >= 1100


def test_a_large_model_is_one_that_runs(data_root: Path, tmp_path: Path) -> None:
    from tools.bench.streams import _large

    subject = _large(bench(data_root), tmp_path / "large.onnx")
    serving = {"batch": 1, "max_wait_us": 0, "sessions": 1, "threads": 1, "device": "cpu"}
    load = {"scenario": "single-stream", "seconds": 0.3, "hint": 1e7}
    assert child("single_stream", subject=subject, serving=serving, least=False, **load)["base"] > 0


def test_a_row_is_measured(data_root: Path) -> None:
    (found,) = MEASURES["null-offline"](bench(data_root))
    assert len(found.figures) == 6
    assert found.base > 0 and found.suite > 0


def test_a_measurement_that_fails_says_why(data_root: Path) -> None:
    from common.errors import RunFailed

    with pytest.raises(RunFailed, match="ended with code 1; it said .*KeyError"):
        child("offline", subject={})


def test_a_row_that_does_not_exist_is_refused() -> None:
    ended = Command("tools.bench_harness", "--only=null-ofline").end()
    assert ended.code == 2
    assert "unknown row 'null-ofline'" in ended.sentence.lower() and "null-offline" in ended.sentence
