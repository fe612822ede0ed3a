"""The peak: the highest load that is held is found, confirmed by a full run, and drawn."""

import csv
import dataclasses
import json
import math
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.errors import RunFailed
from scenarios.harness import early_stopping
from scenarios.harness.recording import Position
from suite import curve, execute, peak, prepare, report
from suite.conduct import Ready
from suite.peak import CURVE_SHARES, MOST_PROBES, PRECISION, Peak, Probe
from suite.plan import resolve
from suite.probes import load
from suite.probes.watch import Look, Watch
from suite.seek import _probe, seek
from tests.suite.commands import cache, records, start
from tests.suite.test_plan import ASKED

LIMIT_MS = 15.0
SERVER = ("--scenario=server", "--mode=peak")
TIMES = "--backend-options=per_batch_us=1000,per_sample_us=10"
SIMULATED = ("--backend=simulated", TIMES, *SERVER, "--max-batch=2", "--sessions=2", "--threads=1")


def probe_of(
    capacity: float, *, stalls: Callable[[int], bool] = lambda number: False
) -> Callable[[float, bool], Probe]:
    """Returns a probe of a system that holds all loads up to a capacity, but for those that a stall disturbs."""
    made: list[float] = []

    def probe(qps: float, may_end_early: bool = True) -> Probe:
        made.append(qps)
        stalled = stalls(len(made))
        held = qps <= capacity and not stalled
        p50 = 1.0 if qps <= capacity else 10 * LIMIT_MS
        return Probe(qps, held, "certain" if held else "hopeless", 5000, 0 if held else 900, p50, 2.0, 3.0, 1.6)

    return probe


def find(offline: float, probe: Callable[[float, bool], Probe]) -> Peak:
    return peak.find(offline, probe, LIMIT_MS, lambda found: None)


@pytest.mark.parametrize("capacity", [30.0, 50.0, 799.0, 801.0, 950.0, 5000.0])
def test_the_highest_load_held_is_found_from_afar_and_near(capacity: float) -> None:
    found = find(1000.0, probe_of(capacity))
    assert found.qps is not None
    assert capacity / PRECISION <= found.qps <= capacity
    assert not found.bounded
    assert [one.qps for one in found.probes[-3:]] == pytest.approx([share * found.qps for share in CURVE_SHARES])


def test_one_stall_does_not_decide() -> None:
    for stalled in range(1, 12):
        found = find(1000.0, probe_of(900.0, stalls=lambda number, stalled=stalled: number == stalled))  # type: ignore[misc]
        assert found.qps is not None and 900 / PRECISION <= found.qps <= 900


def test_what_is_far_too_much_is_not_tried_twice() -> None:
    found = find(1000.0, probe_of(100.0))
    loads = [one.qps for one in found.probes]
    assert len(set(loads)) == len(loads)


def test_near_a_load_that_failed_no_probe_is_called_certain_early() -> None:
    asked: list[tuple[float, bool]] = []
    system = probe_of(900.0)

    def probe(qps: float, may_end_early: bool) -> Probe:
        asked.append((qps, may_end_early))
        return system(qps, may_end_early)

    find(1000.0, probe)
    failed = math.inf
    for qps, early in asked:
        assert early is (qps <= 0.9 * failed)
        failed = min(failed, qps) if qps > 900 else failed
    assert {early for _, early in asked} == {True, False}


def test_the_search_has_an_end() -> None:
    found = find(1000.0, probe_of(0.0))
    assert (found.qps, found.bounded) == (None, True)
    # It gives up long before loads of which a full run would take days.
    assert min(one.qps for one in found.probes) >= 20.0
    assert len(found.probes) < MOST_PROBES
    assert find(1000.0, probe_of(math.inf)).bounded


class Served:
    """A system whose timeline is told: arrivals in ms, and batches of (first sample, samples, ms)."""

    def __init__(self) -> None:
        self.arrivals_ms: list[float] = []
        self.batches: list[tuple[int, int, float]] = []

    def timeline_since(self, position: Position) -> tuple[dict[str, np.ndarray], Position]:
        entries = position.entries[0] if position.entries else 0
        arrivals, batches = self.arrivals_ms[position.callbacks :], self.batches[entries:]
        first, count, done = zip(*batches, strict=True) if batches else ((), (), ())
        return {
            "callback_ns": np.array([round(one * 1e6) for one in arrivals], np.int64),
            "callback_samples": np.ones(len(arrivals), np.int64),
            "batch_first": np.array(first, np.int64),
            "batch_samples": np.array(count, np.int64),
            "batch_ns": np.array([round(one * 1e6) for one in done], np.int64),
        }, Position(len(self.arrivals_ms), (len(self.batches),))


def test_a_look_counts_what_is_late_and_what_is_open_for_too_long() -> None:
    served = Served()
    watch = Watch(served, 15e6)  # type: ignore[arg-type]
    served.arrivals_ms = [0, 0]
    assert watch.look(14_000_000) == Look(2, 0, 0, 0, 0.0)
    assert (watch.look(16_000_000).overdue, watch.percentile_ms(99)) == (2, None)
    # Sample 1 took 20 ms, sample 2 is open for 25 and sample 4 for 5; the second worker was first to be done.
    served.arrivals_ms += [0, 10, 20]
    served.batches = [(3, 1, 11.0), (0, 1, 10.0), (1, 1, 20.0)]
    seen = watch.look(25_000_000)
    assert seen == Look(arrived=5, completed=3, late=1, overdue=1, tail_ns=1e6)
    assert watch.elapsed_s == 0.025 and watch.percentile_ms(50) == 10.0
    served.batches.append((2, 1, 26.0))
    assert watch.look(27_000_000) == Look(arrived=5, completed=4, late=2, overdue=0, tail_ns=1e6)


def test_looks_that_add_up_see_what_one_sees() -> None:
    """Of thousands of queries, whose batches end in another order than they begin."""
    draw = np.random.default_rng(5)
    whole = Served()
    whole.arrivals_ms = np.cumsum(draw.exponential(0.1, 40_000)).tolist()
    starts = list(range(0, 40_000 - 80, 8))
    whole.batches = [(one, 8, whole.arrivals_ms[one + 7] + draw.exponential(6)) for one in starts]
    whole.batches.sort(key=lambda one: one[2])
    part, now_ns = Served(), round(whole.arrivals_ms[-1] * 1e6)
    watch, once = Watch(part, 15e6), Watch(whole, 15e6)  # type: ignore[arg-type]
    for moment in np.linspace(0, whole.arrivals_ms[-1], 40):
        part.arrivals_ms = [one for one in whole.arrivals_ms if one <= moment]
        part.batches = [one for one in whole.batches if one[2] <= moment]
        watch.look(round(moment * 1e6))
    part.arrivals_ms, part.batches = whole.arrivals_ms, whole.batches
    found = watch.look(now_ns)
    assert found == once.look(now_ns) and found.completed == len(starts) * 8 and found.late > 100
    assert watch.percentile_ms(99) == once.percentile_ms(99)


@pytest.mark.parametrize(
    ("late", "completed", "elapsed_s", "tail_ms", "decided"),
    [
        (0, 1600, 1.6, 1.0, "certain"),
        # Too early, a queue that grows, LoadGen behind its schedule.
        (0, 1600, 1.4, 1.0, None),
        (0, 1600, 1.6, 9.0, None),
        (0, 1600, 2.5, 1.0, None),
        # Of 5,000 queries 33 may be late: more cannot be mended, fewer are not yet few of those that were seen.
        (33, 1600, 1.6, 1.0, None),
        (34, 1600, 1.6, 1.0, "hopeless"),
        (34, 200, 0.2, 1.0, "hopeless"),
    ],
)
def test_a_probe_ends_when_it_is_plain_what_comes_of_it(
    late: int, completed: int, elapsed_s: float, tail_ms: float, decided: str | None
) -> None:
    assert early_stopping.met(5000, 33, 0.99) and not early_stopping.met(5000, 34, 0.99)
    seen = Look(completed, completed, late, 0, tail_ms * 1e6)
    assert load.decision(seen, elapsed_s, 1000.0, 5000, LIMIT_MS * 1e6, 0.99) == decided


def test_a_backend_that_completes_nothing_more_leaves_it_undecided() -> None:
    assert load.decision(Look(4943, 54, 0, 4889, 1e6), 4.9, 1000.0, 5000, LIMIT_MS * 1e6, 0.99) is None


def ready(tmp_path: Path, data_root: Path, limit_ms: float, sessions: int, **options: str) -> Ready:
    asked = dataclasses.replace(
        ASKED,
        backend="simulated",
        scenario="server",
        mode="peak",
        backend_options=",".join(f"{name}={value}" for name, value in options.items()),
        batch=1,
        sessions=sessions,
        threads=1,
        data_dir=lambda name: str(data_root / name),
        # What was found of the same system is not sought again.
        cache_dir=str(cache()),
        results_dir=str(tmp_path / "results"),
    )
    found = prepare.ready(resolve(asked))
    return dataclasses.replace(found, rules=dataclasses.replace(found.rules, target_latency_ms=limit_ms))


def known_peak(sessions: int, service_s: float, limit_s: float, seconds: float) -> float:
    """Returns the load that a queue of `sessions` servers of one service time holds in half of all draws.

    Served in order of arrival, a query begins when it has come and the one `sessions` before it has gone. It is held
    where early stopping accepts how many are late.
    """
    draw = np.random.default_rng(5)

    def held(qps: float) -> bool:
        passed = 0
        for _ in range(9):
            arrivals = np.cumsum(draw.exponential(1 / qps, round(qps * seconds))).tolist()
            gone: list[float] = []
            for number, arrival in enumerate(arrivals):
                before = gone[number - sessions] if number >= sessions else 0.0
                gone.append(max(arrival, before) + service_s)
            late = sum(end - begun > limit_s for begun, end in zip(arrivals, gone, strict=True))
            passed += early_stopping.met(len(arrivals), late, 0.99)
        return passed > 4

    low, high = 0.1 * sessions / service_s, sessions / service_s
    while high / low > 1.005:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if held(middle) else (low, middle)
    return low


def test_the_peak_of_a_known_queue_is_found_through_loadgen(tmp_path: Path, data_root: Path) -> None:
    """32 sessions that take 20 ms a query, within 80 ms: a stall of the machine is a small part of either."""
    at = ready(tmp_path, data_root, 80.0, 32, per_batch_us="20000", per_sample_us="0")
    _ends_early(at)
    at = dataclasses.replace(at, rules=dataclasses.replace(at.rules, min_duration_ms=2500))
    known = known_peak(32, 0.020, 0.080, 2.5)
    assert 1500 < known < 1600
    # A machine that others use may be slow for a while, and a lower load is what it then holds.
    searches = (seek(at) for _ in range(2))
    found = next((one for one in searches if one.qps and 0.95 * known <= one.qps <= 1.05 * known), None)
    assert found is not None, known
    assert {one.decided_by for one in found.probes} >= {"certain"}
    below = [one for one in found.probes if one.qps <= 0.75 * known]
    assert below and all(one.held for one in below)


def _ends_early(at: Ready) -> None:
    """Asserts that a load far above is given up, that one far below is taken early, and that neither leaves a file."""
    before = probe_folders()
    hopeless, certain = (_probe(at, qps, may_end_early=True) for qps in (4000.0, 300.0))
    assert (hopeless.held, hopeless.decided_by) == (False, "hopeless")
    assert (certain.held, certain.decided_by) == (True, "certain")
    # Neither took the 5 s that a whole test would.
    assert max(hopeless.queries / 4000, certain.queries / 300) < 4.5
    assert hopeless.late > 0 and certain.p99_ms is not None and certain.p99_ms >= 20.0
    assert probe_folders() <= before
    whole = _probe(at, 300.0, may_end_early=False)
    assert (whole.held, whole.decided_by) == (True, "LoadGen") and whole.queries >= 1000


def probe_folders() -> set[Path]:
    """Returns what probes have left; a command that was killed may have left some before."""
    return set(Path(tempfile.gettempdir()).glob("tandem-probe-*"))


@pytest.mark.side_by_side
def test_a_backend_that_fails_in_a_probe_fails_the_search(tmp_path: Path) -> None:
    words = ("--backend=tests.zoo.raises_on_nth_batch", *SERVER, "--max-batch=64", "--sessions=1", "--threads=1")
    ended = start(*words, f"--results-dir={tmp_path}").end(120)
    assert ended.code == 3, ended.stderr
    assert records(tmp_path) == []


@pytest.mark.side_by_side
def test_a_backend_that_hangs_in_a_probe_is_no_load_too_high(tmp_path: Path) -> None:
    words = ("--backend=tests.zoo.hangs", "--backend-options=n=30,when=loadgen", *SERVER)
    layout = ("--max-batch=64", "--sessions=1", "--threads=1", "--stall-timeout=3")
    ended = start(*words, *layout, f"--results-dir={tmp_path}").end(120)
    assert ended.code == 3, ended.stderr
    assert "made no progress for 3" in ended.sentence
    assert records(tmp_path) == []


def test_the_same_curve_is_the_same_picture(tmp_path: Path) -> None:
    seen = [probe_of(900.0)(qps) for qps in (100.0, 500.0, 850.0, 950.0)]
    for name in ("one.svg", "two.svg"):
        curve.draw([tmp_path / name], seen, 850.0, LIMIT_MS, "a title")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.side_by_side
def test_nothing_is_left_of_a_search_that_was_interrupted(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    own = {"TMPDIR": str(temporary)}
    command = start(*SIMULATED, f"--results-dir={tmp_path / 'results'}", environment=own)
    command.await_line("seeking the peak: probing", 120)
    command.process.send_signal(signal.SIGINT)
    ended = command.end()
    assert ended.code == 130, ended.stderr
    assert ended.left_behind == []
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--scenario=offline", "--mode=peak"), "--mode peak is for the server scenario"),
        ((*SERVER, "--target-qps=100"), "leave out the target_qps of flag"),
        ((*SERVER, "--retry=1"), "--retry has no effect with --mode peak"),
    ],
)
def test_what_would_decide_the_peak_is_refused(words: tuple[str, ...], said: str) -> None:
    ended = start(*words).end()
    assert ended.code == 2
    assert said in ended.sentence


def full_runs(capacity: float, p50_ms: float = 3.0) -> list[Probe]:
    """Returns the full runs by which a peak of 1,000 is confirmed on a system that holds so much."""
    tried: list[Probe] = []
    while (qps := peak.confirming(1000.0, tried, LIMIT_MS)) is not None:
        assert len(tried) < 20
        tried.append(Probe(qps, qps <= capacity, "LoadGen", 5000, 0, p50_ms if qps > capacity else 1.0, 9.0, 9.0, 5.0))
    return tried


def test_a_peak_is_confirmed_by_two_tries_a_load_before_it_steps_back() -> None:
    assert [one.qps for one in full_runs(1000.0)] == [1000]
    assert [one.qps for one in full_runs(980.0)] == [1000, 1000, 970]
    never = [one.qps for one in full_runs(0.0)]
    assert never == sorted(never, reverse=True) and len(never) == 14 and 450 < never[-1] < 500


def test_a_wide_step_back_is_made_up_for() -> None:
    tried = full_runs(915.0)
    # 1,000, 970 and 921.5 twice each; 829.4 is held, and then the middle between it and what was not.
    assert [round(one.qps) for one in tried][6:] == [829, 874, 898]
    assert [one.held for one in tried][6:] == [True, True, True]
    assert [round(one.qps) for one in full_runs(850.0)][6:] == [829, 874, 851]
    # Where the machine is half as fast for a while, a peak is still found.
    slow = full_runs(590.0)
    assert round(slow[-1].qps) == 567 and [one.held for one in slow][-3:] == [True, True, True]


def test_a_load_that_is_far_too_much_is_left_after_one_full_run() -> None:
    assert [one.qps for one in full_runs(980.0, p50_ms=20.0)] == [1000, 970]


@pytest.mark.parametrize(("p50_ms", "overloaded"), [(3.0, False), (20.0, True), (None, False)])
def test_a_load_that_made_half_of_the_queries_late_is_not_tried_again(p50_ms: float | None, overloaded: bool) -> None:
    seen = Probe(1000.0, False, "LoadGen", 5000, 3000, p50_ms, 30.0, 40.0, 5.0)
    assert peak.overloaded(seen, LIMIT_MS) is overloaded


@pytest.fixture
def probed(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Ready]:
    """Returns what makes a plan ready whose search is of a system that holds so much."""

    def prepared(capacity: float) -> Ready:
        at = ready(tmp_path, data_root, 15.0, 1, per_batch_us="500", per_sample_us="0")
        monkeypatch.setattr(execute.prepare, "ready", lambda plan: at)
        monkeypatch.setattr(execute, "seek", lambda ready: find(1000.0, probe_of(capacity)))
        return at

    return prepared


def test_the_curve_of_a_search_in_which_no_load_was_held_is_kept(probed: Callable[[float], Ready]) -> None:
    at = probed(0.0)
    with pytest.raises(RunFailed, match=r"No load was held within 15 ms, .*The curve is (.*)/peak\.svg\.") as caught:
        execute.execute(at.plan)
    folder = Path(str(caught.value).rpartition("The curve is ")[2].removesuffix("/peak.svg."))
    told = json.loads((folder / "peak.json").read_text())
    assert told["confirmed"] is None and not told["confirmations"] and len(told["probes"]) > 3
    assert (folder / "peak.csv").read_text().count("\n") == 1 + len(told["probes"])
    assert (folder / "peak.png").read_bytes().startswith(b"\x89PNG")


def test_a_full_run_that_fails_leaves_the_curve(
    probed: Callable[[float], Ready], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = probed(500.0)

    def fail(*given: object) -> None:
        raise RunFailed("The backend fell over.")

    monkeypatch.setattr(execute, "_run", fail)
    with pytest.raises(RunFailed, match="fell over"):
        execute.execute(at.plan)
    (kept,) = (tmp_path / "results").rglob("peak.json")
    assert json.loads(kept.read_text())["qps"] > 400


def test_a_peak_is_stepped_back_from_confirmed_judged_and_drawn(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The probes are said to have found more than the system can do: 32 sessions of 20 ms hold no 1,600 queries/s."""
    at = ready(tmp_path, data_root, 80.0, 32, per_batch_us="20000", per_sample_us="0")
    at = dataclasses.replace(at, rules=dataclasses.replace(at.rules, min_duration_ms=1500, min_query_count=700))
    probes = tuple(probe_of(3000.0)(qps) for qps in (3000.0, 3200.0))
    monkeypatch.setattr(prepare, "ready", lambda plan: at)
    monkeypatch.setattr(execute, "seek", lambda found: Peak(1600.0, probes, 3000.0, False))
    monkeypatch.setattr(peak, "BACK_OFF", (0.4,))
    monkeypatch.setattr(peak, "HALVINGS", 1)
    outcome = execute.execute(at.plan)
    sought = outcome.sought
    assert sought and [(round(one.qps), one.held) for one in sought.confirmations] == [
        (3000, False),
        (1200, True),
        (1897, False),
    ]
    # Probes are no attempts, full runs are; the highest that was held is judged, and its evidence says what led to it.
    performance, accuracy = outcome.runs
    made = records(tmp_path / "results")
    assert outcome.attempts == 3 == sum(record["mode"] == "performance" for _, record in made)
    assert (performance.get("hint", "source"), performance.get("hint", "value")) == ("peak", 1200)
    folder = performance.folder.parent
    assert accuracy.folder.parent == folder and accuracy.mode == "accuracy"
    kept = json.loads((folder / "peak.json").read_text())
    assert kept["confirmed"] in kept["confirmations"] and kept["confirmed"]["qps"] == 1200
    assert json.loads((performance.folder / "preparation.json").read_text())["peak"]["probes"] == kept["probes"]
    lines = list(csv.DictReader((folder / "peak.csv").read_text().splitlines()))
    assert [float(line["qps"]) for line in lines] == sorted(one.qps for one in sought.seen)
    assert (folder / "peak.svg").read_text().startswith("<?xml")
    assert (folder / "peak.png").read_bytes().startswith(b"\x89PNG")
    # A simulated backend never counts, whatever it holds; and these rules are shorter than the profile's.
    assert {"eligible", "settings"} <= set(outcome.verdict.failed) and "prepared" not in outcome.verdict.failed
    assert "1,200.0 queries/s within 80 ms at p99" in report.report(outcome, as_json=False)
