"""The bench of the harness: what an interval says of a bar, and that each kind of measurement really measures."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import RunFailed
from common.flags import run
from scenarios.base import LoadRules
from suite import tune
from suite.resources import usable_cores
from tests.suite.commands import Command
from tools import bench_harness, reference_harness
from tools.bench import machine, null, offline, server, streams, unhindered, upstream
from tools.bench.bench import Bench, child
from tools.bench.measures import MEASURES, Measure
from tools.bench.rows import MET, MISSED, NO_BAR, UNKNOWN, Bar, Row, percent_row, row
from tools.bench.upstream import Column, PeakLoad, Reference
from tools.bench_harness import lines
from tools.reference_harness import HarnessFlags, Upstream

pytestmark = pytest.mark.side_by_side

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
    serving = {"batch": 10, "max_wait_us": 0, "sessions": 2, "threads": 1, "device": "cpu", "prefetch": 0}
    load: dict[str, Any] = {"scenario": "offline", "seconds": 0.3, "hint": 6_000.0}
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
    loads = [unhindered.highest_load([trace], 1, 15e6, 0.99, 1) for trace in (steady, stalled)]
    # 85 ms of a load are late, and those that wait behind them: more than a hundredth of 5 s whatever comes after.
    assert 850 < loads[0] < 1000 and loads[1] == 0.0


@pytest.mark.parametrize("phase", [0.01, 0.5])
def test_it_matters_not_for_it_when_large_batches_end(phase: float) -> None:
    # Two sessions of 3,500 samples a second each, in batches of 256, of which one is ahead of the other.
    ends = np.arange(1, 80) * (256 / 3500 * 1e9)
    traces = [ends.astype(np.int64), (ends * 1.0 - (1 - phase) * ends[0])[1:].astype(np.int64)]
    assert unhindered.highest_load(traces, 256, 15e6, 0.99, 1) > 0.9 * 7000


# Two sessions of the simulated backend, batches of 10: 2 ms each.
TWO = {"batch": 10, "max_wait_us": 0, "sessions": 2, "threads": 1, "device": "cpu", "prefetch": 0}
ONE = {**TWO, "batch": 1, "sessions": 1}
CAPACITY = 10_000


@pytest.mark.parametrize(
    ("task", "job", "is_so"),
    [
        ("raw_rate", {"serving": TWO}, lambda found: 0 < found <= CAPACITY),
        (
            "offline_parts",
            {"serving": TWO, "scenario": "offline", "hint": 3000.0},
            lambda found: (
                min(found["base"], found["suite"]) >= 1e6 / CAPACITY
                and 0 < found["base_outside"] < found["base"] - 1e6 / CAPACITY + 1
                and 0 < found["suite_outside"] < found["suite"] - 1e6 / CAPACITY + 1
            ),
        ),
        *(
            ("outside", {"serving": TWO, "scenario": "offline", "hint": 500.0, **system}, lambda found: 0 < found < 500)
            for system in ({}, {"system": "least"})
        ),
        # What is followed adds to a query, and is seldom: the median of the others is no shorter than the model.
        (
            "followed",
            {"serving": ONE, "scenario": "single-stream", "hint": 1e6},
            lambda found: min(found.values()) >= 1100,
        ),
        (
            "unhindered",
            {"serving": TWO, "limit_ms": 500.0, "seconds": 0.8},
            lambda found: 0 < found["load"] <= CAPACITY and 0 <= found["slow"] <= 1,
        ),
        # Two rounds of three servings, of which none is faster than its sessions are.
        (
            "head_to_head",
            {"servings": [ONE, {**TWO, "sessions": 1}, TWO], "rounds": 2},
            lambda found: (
                len(found) == 2
                and all(
                    0 < speed <= most for one in found for speed, most in zip(one, (910, 5000, 10_000), strict=True)
                )
            ),
        ),
        ("served", {"tune_seconds": 0}, lambda found: found["serving"]["batch"] > 1 and found["samples_per_s"] > 0),
        (
            "sweep",
            {"seconds": 0.02},
            lambda found: {one["serving"]["batch"] for one in found} == set(tune.BATCHES),
        ),
        # Up to eight batches of ten at a time, the model's part among the others.
        (
            "parts",
            {"serving": TWO, "scenario": "offline", "hint": 3000.0},
            lambda found: (
                set(found["parts"]) == {"queue", "take", "gather", "model", "encode", "complete", "look"}
                and all(0 < spent < 1000 for spent in found["parts"].values())
                and 10 <= found["together"] <= 80
                and 0 < found["rate"] <= CAPACITY
            ),
        ),
        # All of the samples are resident: 10,000 of 28 x 28 numbers of four bytes.
        ("raw_memory", {"serving": TWO}, lambda found: found["peak_rss_bytes"] > 10_000 * 28 * 28 * 4),
        (
            "loaded_test",
            {"serving": TWO, "scenario": "server", "system": "bare", "hint": 5000.0, "coalesce": True, "limit_ms": 5e3},
            lambda found: found["valid"] and found["us_a_sample"] is None,
        ),
        # The model's 100 µs a sample are in it.
        (
            "loaded_test",
            {"serving": TWO, "scenario": "offline", "system": "least", "hint": 3000.0},
            lambda found: 0 < found["figure"] <= CAPACITY,
        ),
        (
            "loaded_test",
            {"serving": TWO, "scenario": "server", "system": "least", "hint": 5000.0, "limit_ms": 5e3},
            lambda found: found["valid"],
        ),
        (
            "loaded_test",
            {"serving": TWO, "scenario": "server", "hint": 20_000.0},
            lambda found: not found["valid"],
        ),
    ],
)
def test_each_measurement_is_of_what_it_says(
    data_root: Path, task: str, job: dict[str, Any], is_so: Callable[[Any], bool]
) -> None:
    subject = bench(data_root).subject("fashion-resnet", "simulated")
    if task == "outside":
        # A millisecond a sample inside, which must not be in it.
        subject["options"] = {"per_batch_us": "20000", "per_sample_us": "0"}
    if task in ("served", "sweep"):
        # Large batches, too, in little time.
        subject["options"] = {"per_batch_us": "1000", "per_sample_us": "10"}
    found = child(task, **{"subject": subject, "seconds": 0.2, **job})
    assert is_so(found), found


@pytest.mark.parametrize("start", [300.0, 2000.0])
def test_the_loads_held_are_those_at_the_edge(start: float, monkeypatch: pytest.MonkeyPatch) -> None:
    edges, asked = {"base": 1000.0, "other": 800.0}, dict[str, list[float]](base=[], other=[])

    def trial(task: str, hint: float, side: str, **job: Any) -> dict[str, bool]:
        asked[side].append(hint)
        return {"valid": hint <= edges[side]}

    monkeypatch.setattr(server, "child", trial)
    sides = {True: {"side": "base"}, False: {"side": "other"}}
    pairs = server.loads_held(Bench(24, 1.0, Path(), Path()), "a row", sides, start)
    assert len(pairs) == 6
    for side, values in zip(asked, zip(*pairs, strict=True), strict=True):
        settled = asked[side][len(server.SETTLING_STEPS) :]
        assert len(settled) == 6 * server.TRIALS_A_PAIR
        # A pair is of trials of its own.
        assert values[-1] == pytest.approx(np.exp(np.log(settled[-server.TRIALS_A_PAIR :]).mean()))
        # Once it is there, it goes to and fro over the edge.
        assert values[-1] == pytest.approx(edges[side], rel=server.STEP - 1)


def test_what_fails_of_the_reference_is_left_out_and_said() -> None:
    speeds = iter([50.0, None, 70.0, 120.0])

    def measure(chosen: HarnessFlags) -> float:
        found = next(speeds)
        if found is None:
            raise RunFailed("It was INVALID.")
        return found

    column = Column(measure, HarnessFlags(max_batch=64), times=2)
    for _ in range(5):
        column.take()
    assert column.text(100.0, "", ratio=True) == (
        "reference harness, measured 2 times: default flags 0.6, best flags (max_batch=64) 1.2; 1 of 4 left out, the "
        "last one: best flags: It was INVALID."
    )


def reference_of(prepared: Any, monkeypatch: pytest.MonkeyPatch, measure: Callable[..., dict[str, Any]]) -> Reference:
    """Returns upstream's harness with a measurement of ours in its place: a real one takes seconds a load."""
    monkeypatch.setattr(reference_harness, "prepared_here", lambda *of, null: prepared)
    monkeypatch.setattr(reference_harness, "measure", measure)
    return Reference(Upstream(Path("main.py"), "python"), 1.0, Path(), Path())


def test_the_reference_s_highest_load_is_sought_with_the_row_s_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, loads = set(), dict[str, list[float]]()

    def measure(_: Any, prepared: Any, scenario: str, load: LoadRules, qps: float, flags: HarnessFlags) -> Any:
        limits.add((scenario, load.target_latency_ms, load.min_duration_ms))
        loads.setdefault(str(flags), []).append(qps)
        return {"valid": qps <= (3000 if flags.intra_op_threads else 1000)}

    reference = reference_of(None, monkeypatch, measure)
    column = reference.peak_column("fashion-resnet", PeakLoad(5.0, 0.5, 900.0, coalesce=False))
    for _ in range(4):
        column.take()
    assert limits == {("server", 5.0, 500)}
    for name, highest in (("default", 1000), ("best", 3000)):
        assert len(column.found[name]) == upstream.SEARCHES
        assert all(highest / 1.05 <= one <= highest for one in column.found[name])
    # Plain as the row is; and the second search begins where the first one ended.
    assert list(loads) == ["default", "intra_op_threads=1"]
    assert loads["default"].count(column.found["default"][0]) == 2


def test_the_reference_that_is_never_valid_has_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    invalid = {"valid": False, "why_not": ["too short"], "samples_per_second": 10.0, "hint": 1.0}
    reference = reference_of(None, monkeypatch, lambda *of: {**invalid, "hint": of[4]})
    column = reference.column("fashion-resnet", "offline", "rate")
    column.take()
    assert "default flags not measured" in column.text(1.0, "", ratio=True)
    assert "INVALID 4 times (too short)" in column.text(1.0, "", ratio=True)
    never = reference.peak_column("fashion-resnet", PeakLoad(5.0, 0.5, 900.0))
    never.take()
    assert f"held none of {upstream.LOADS} loads" in never.text(1.0, "", ratio=True)


def test_one_sample_takes_as_long_as_it_takes(data_root: Path) -> None:
    subject = bench(data_root).subject("fashion-resnet", "simulated")
    serving = {"batch": 1, "max_wait_us": 0, "sessions": 1, "threads": 1, "device": "cpu"}
    load: dict[str, Any] = {"scenario": "single-stream", "seconds": 0.3, "hint": 1e6}
    found = child("single_stream", subject=subject, serving=serving, **load)
    assert min(found.values()) >= 1100


def test_a_large_model_is_one_that_runs(data_root: Path, tmp_path: Path) -> None:
    subject = streams._large(bench(data_root), tmp_path / "large.onnx")
    serving = {"batch": 1, "max_wait_us": 0, "sessions": 1, "threads": 1, "device": "cpu"}
    load: dict[str, Any] = {"scenario": "single-stream", "seconds": 0.3, "hint": 1e7}
    assert child("single_stream", subject=subject, serving=serving, **load)["base"] > 0


def test_a_row_is_measured(data_root: Path) -> None:
    (measure,) = MEASURES["null-offline"]
    (found,) = measure(bench(data_root))
    assert len(found.figures) == 6
    assert found.base > 0 and found.suite > 0


SERVED = {"batch": 16, "max_wait_us": 0, "sessions": 2, "threads": 1, "device": "cpu", "prefetch": 0}
OTHER = {**SERVED, "sessions": 1, "threads": 2}
PARTS = {"parts": {"model": 200.0, "take": 4.0}, "rest": 18.0, "together": 9.0, "rate": 7000.0}


class Faked:
    """What a child would say of a machine on which the suite costs what a row has no more than."""

    held = 6000.0

    def child(self, task: str, **job: Any) -> Any:
        answers: dict[str, Callable[[], Any]] = {
            "served": lambda: {"serving": SERVED, "samples_per_s": 7000.0},
            "offline": lambda: {"base": 5000.0, "suite": 4980.0},
            "offline_parts": lambda: {"base": 200.0, "suite": 200.8, "base_outside": 1.0, "suite_outside": 1.9},
            "outside": lambda: 2.0 if "system" in job else 1.5,
            "single_stream": lambda: {
                "base": 300.0,
                "base_in_place": 298.0,
                "suite": 306.0 if "system" in job else 302.0,
            },
            "followed": lambda: {"base": 300.0, "suite": 300.5},
            "loaded_test": lambda: self.loaded(job),
            "parts": lambda: PARTS,
            "raw_memory": lambda: {"peak_rss_bytes": self.memory(job)},
            "raw_rate": lambda: 5000.0 if job["returns_memory"] else 6000.0,
            "sweep": lambda: [{"serving": one, "samples_per_s": 7000.0} for one in (SERVED, OTHER)],
            "head_to_head": lambda: [[100.0 + number for number in range(len(job["servings"]))]] * job["rounds"],
            "unhindered": lambda: {"load": 6500.0, "slow": 0.01},
        }
        return answers[task]()

    def loaded(self, job: dict[str, Any]) -> dict[str, Any]:
        return {
            "valid": job["hint"] <= self.held,
            "figure": 1000.0 if "system" in job else 990.0,
            "us_a_sample": 100.0,
            "processor_us_a_sample": 250.0,
            "p50_us": 2.0 if "system" in job else 3.0,
            "p99_us": 9.0,
            "peak_rss_bytes": self.memory(job) + 150 * job["hint"],
        }

    def memory(self, job: dict[str, Any]) -> float:
        return 2e8 if job["subject"]["backend"] == "null" else 3e8

    def peak(self, bench: Bench, workload: str) -> dict[str, Any]:
        confirmed = {"qps": self.held, "held": self.held > 0}
        return {"qps": 6200.0, "confirmed": confirmed, "confirmations": [confirmed, {"qps": 6300.0, "held": False}]}


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Faked:
    found = Faked()
    for module in (machine, null, offline, server, streams):
        monkeypatch.setattr(module, "child", found.child)
    monkeypatch.setattr(server, "_peak", found.peak)
    monkeypatch.setattr(streams, "_large", lambda bench, path: {})
    monkeypatch.setattr(Bench, "subject", lambda self, workload, backend: {"backend": backend})
    return found


@pytest.mark.usefixtures("faked")
@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, own in MEASURES.items() for number in range(len(own))]
)
def test_every_row_says_what_was_measured(name: str, number: int) -> None:
    rows = list(MEASURES[name][number](Bench(24, 0.5, Path(), Path())))
    assert rows
    for found in rows:
        assert len(found.figures) >= 6 and found.base > 0 and found.suite > 0
        first, figure, sides, *_ = lines(found)
        assert first == found.name and "95 % " in figure and f"{found.base_name} " in sides


def test_a_servers_efficiency_is_what_was_confirmed_over_offline(faked: Faked) -> None:
    (found,) = server.server_efficiency(Bench(18, 0.5, Path(), Path()), "fashion-resnet")
    assert found.figures == (6000.0 / 990.0,) * 6
    assert "full runs confirmed 6.06" in found.why and "1 of 2 full runs a search did not hold their load" in found.why
    share = usable_cores() * 1e6 / 250 / 990
    assert f"the 250 µs of processor time that a query takes, at which all cores would serve {share:.2f}" in found.bound
    # A load that was not held is no peak; the row is there all the same.
    faked.held = 0.0
    (found,) = server.server_efficiency(Bench(18, 0.5, Path(), Path()), "fashion-resnet")
    assert found.figures == (0.0,) * 6 and found.verdict == MISSED


@pytest.mark.usefixtures("faked")
def test_what_single_stream_adds_is_set_beside_what_the_least_callback_adds() -> None:
    suite, in_place, over = streams.single_stream_overhead(Bench(6, 0.5, Path(), Path()), "torch")
    assert suite.figures == (2.0,) * 6 and over.figures == (-4.0,) * 6 and over.bar is None
    assert in_place.figures == (4.0,) * 6 and in_place.bar is None


def test_a_figure_that_is_only_shown_has_no_bar() -> None:
    found = row("a row", "one", "samples/s", [(100.0, 107.0)] * 20, None, ratio=True)
    assert (found.verdict, found.more_pairs) == (NO_BAR, 0)
    assert "bar" not in "".join(lines(found))


def test_percent_is_of_the_base() -> None:
    found = percent_row("a row", "raw", "µs", [(200.0, 201.0)] * 20, 0.4)
    assert (found.figure, found.base, found.suite, found.verdict) == (0.5, 200.0, 201.0, MISSED)


def command(words: list[str]) -> int:
    return run(bench_harness.main, bench_harness.FLAGS, words, arguments=bench_harness.ARGUMENTS)


def test_a_row_that_fails_says_why_and_the_others_are_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(bench: Bench, *of: str) -> Iterator[Row]:
        if of:
            raise RunFailed("It did not end.")
        yield differences(*[1.9, 2.2, 2.4, 2.5, 2.6, 2.8, 3.1, 3.4, 3.6, 3.9] * 2)

    monkeypatch.setitem(MEASURES, "offline", [Measure(measure, ("one",)), Measure(measure)])
    first, second = str(tmp_path / "first.json"), str(tmp_path / "second.json")
    assert command(["--only=offline", f"--out={first}"]) == 1
    monkeypatch.setitem(MEASURES, "offline", [Measure(measure)])
    assert command(["--only=offline", f"--out={second}"]) == 0
    assert "offline, one\n    not measured: It did not end.\na row\n" in capsys.readouterr().out
    assert command(["--markdown", first, second]) == 0
    printed = capsys.readouterr().out.splitlines()
    # The machine stands there twice where its load changed in between.
    machines, (_, heads, _, *found) = printed[: printed.index("")], printed[printed.index("") :]
    assert {line[:2] for line in machines} == {"- "} and heads.startswith("| what | measured | bar | verdict |")
    # The row that both files have stands there once.
    assert found == [
        "| offline, one |  |  | not measured: It did not end. |  |",
        "| a row | 2.7 µs (2.4 to 3.4, 20 pairs) on 10 µs | at most 3 µs | cannot tell; about 36 more pairs would |  |",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--markdown", "/dev/null"], "/dev/null is no file that --out wrote"),
        (["--markdown", "/no/such.json"], "/no/such.json cannot be read: No such file or directory"),
        (["--markdown"], "--markdown needs the files that --out wrote"),
        (["table.json"], "'table.json' is no flag; files are read with --markdown alone"),
    ],
)
def test_what_cannot_be_made_a_table_is_refused(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(words) == 2
    assert sentence in capsys.readouterr().err


def test_a_measurement_that_fails_says_why(data_root: Path) -> None:
    with pytest.raises(RunFailed, match="ended with code 1; it said .*KeyError"):
        child("offline", subject={})


def test_a_row_that_does_not_exist_is_refused() -> None:
    ended = Command("tools.bench_harness", "--only=null-ofline").end()
    assert ended.code == 2
    assert "unknown row 'null-ofline'" in ended.sentence.lower() and "null-offline" in ended.sentence
