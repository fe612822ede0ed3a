"""The rows of tools.bench_harness: what is measured for each, in which processes, and against which bar."""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from common.errors import RunFailed
from common.files import sha256_file
from reference_models.base import Model
from scenarios.base import Generated
from suite import artifacts, plugins
from suite.memory import predicted_bytes
from suite.progress import say
from suite.subject import describe
from suite.variant import Serving
from tools.bench import large_model
from tools.bench.rows import Bar, Row, row
from tools.bench.upstream import Column, Reference

WORKLOADS = ("fashion-resnet", "fashion-mobilenet")
BACKENDS = ("onnxruntime", "torch")
CHILD_TIMEOUT_S = 300
PEAK_TIMEOUT_S = 600
# The fewest of which a median has a 95 % interval.
LEAST_SEARCHES = 6

# What takes 10 ms and more a sample, for the bar on slow models: so many convolutions of random weights.
LARGE_LAYERS = 14
# The step of the up-and-down method, and trials that find the level.
LOAD_STEP = 1.07
SETTLING = 6
# The first trial: null, queries a second; and a model, of its Offline throughput.
NULL_START = {False: 120_000.0, True: 300_000.0}
SERVER_START = 0.7
SERVER_LIMIT_MS = 15.0
# As long as a test of the quick profile, in which stalls come as they may.
EFFICIENCY_S = 5.0
NULL_LIMIT_MS = 5.0
# Plain, a session that answers at once is asked for every query; waiting a moment for more spares most of that.
NULL_SERVING = {False: Serving(256, 100, 1, 1, "cpu"), True: Serving(256, 0, 1, 1, "cpu")}
NULL_OFFLINE_SERVING = Serving(512, 0, 2, 1, "cpu")
TUNE_SECONDS = 20.0


@dataclass(frozen=True)
class Bench:
    """How much is measured: pairs a row, and seconds a side of a pair."""

    pairs: int
    seconds: float
    data_dir: Path
    cache_dir: Path
    reference: Reference | None = None

    def subject(self, workload: str, backend: str) -> dict[str, Any]:
        """Returns what `Subject.open` needs for a workload's reference on a backend."""
        loaded, module = plugins.workload(workload), plugins.backend(backend)
        model = artifacts.prepare(loaded, module.FORMATS, self.data_dir, self.cache_dir)
        options = {name: value[0] if isinstance(value, tuple) else str(value) for name, value in module.OPTIONS.items()}
        return describe(workload, backend, model, options, self.data_dir)

    def column(self, workload: str, scenario: str, value: str, *, null: bool = False) -> Column | None:
        """Returns the reference column of a row, where there is a reference."""
        return None if self.reference is None else self.reference.column(workload, scenario, value, null=null)

    def in_turn(
        self, name: str, measure: Callable[[bool], tuple[float, float]], column: Column | None = None
    ) -> list[tuple[float, float]]:
        """Returns pairs (base, suite), saying how far it is; `measure` is told which side goes first."""
        # Each order as often as the other, in an order of its own.
        orders = random.sample([number % 2 == 0 for number in range(self.pairs)], self.pairs)
        found = []
        for number, base_first in enumerate(orders, 1):
            found.append(measure(base_first))
            if column:
                column.take()
            if number in (1, self.pairs) or number % 5 == 0:
                say(f"{name}: pair {number} of {self.pairs}")
        return found


def child(task: str, **job: Any) -> Any:
    """Returns what a measurement in a process of its own says; raises RunFailed where it says nothing."""
    words = [sys.executable, "-m", "tools.bench.child", json.dumps({"task": task, **job})]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=CHILD_TIMEOUT_S)
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise RunFailed(f"The measurement {task} did not end within {CHILD_TIMEOUT_S} s.") from None
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise RunFailed(f"The measurement {task} ended with code {done.returncode}; it said {last[0]!r}.") from None


def _raw_and_suite(task: str, job: dict[str, Any]) -> Callable[[bool], tuple[float, float]]:
    def measure(raw_first: bool) -> tuple[float, float]:
        found = child(task, raw_first=raw_first, **job)
        return found["base"], found["suite"]

    return measure


def _beside(column: Column | None, pairs: list[tuple[float, float]], unit: str, *, ratio: bool = False) -> str:
    """Returns what upstream's harness reached in place of the suite; nothing where it was not measured."""
    return "" if column is None else column.text(median(base for base, _ in pairs), unit, ratio=ratio)


def offline_overhead(bench: Bench) -> Iterator[Row]:
    """Yields, by workload and backend, what the suite adds to a sample in Offline, in µs of the whole machine."""
    for workload in WORKLOADS:
        for backend in BACKENDS:
            subject = bench.subject(workload, backend)
            found = child("served", subject=subject, tune_seconds=0)
            job = {"subject": subject, "serving": found["serving"], **_offline_load(bench, found["samples_per_s"])}
            name = f"Offline overhead, {workload}, {backend}"
            column = bench.column(workload, "offline", "us_a_sample") if backend == "onnxruntime" else None
            measure = _raw_and_suite("offline", job)
            rates = bench.in_turn(name, measure, column)
            costs = [(1e6 / raw, 1e6 / suite) for raw, suite in rates]
            ratio = median(suite / raw for raw, suite in rates)
            yield row(
                name,
                "raw loop",
                "µs a sample",
                costs,
                Bar(True, 1.0, "µs"),
                ratio=False,
                extra={"throughput_ratio": ratio, "serving": found["serving"]},
                why=f"throughput {ratio:.3f} of the raw loop's",
                reference=_beside(column, costs, "µs"),
            )


def offline_parts(bench: Bench) -> Iterator[Row]:
    """Yields the same without what LoadGen does before its first sample, the suite and the raw loop part by part.

    A machine that others use changes its speed from second to second by more than is to be measured.
    """
    for workload in WORKLOADS:
        for backend in BACKENDS:
            subject = bench.subject(workload, backend)
            found = child("served", subject=subject, tune_seconds=0)
            job = {"subject": subject, "serving": found["serving"], **_offline_load(bench, found["samples_per_s"] / 2)}
            name = f"Offline overhead part by part, {workload}, {backend}"

            def measure(_: bool, job: dict[str, Any] = job) -> tuple[float, float]:
                seen = child("offline_parts", **job)
                return seen["base"], seen["suite"]

            pairs = bench.in_turn(name, measure)
            ratio = median(raw / suite for raw, suite in pairs)
            why = f"{ratio:.3f} of the raw loop's speed, {_shown(found['serving'])}"
            yield row(name, "raw loop", "µs a sample", pairs, Bar(True, 1.0, "µs"), ratio=False, why=why)


def _offline_load(bench: Bench, samples_per_s: float) -> dict[str, Any]:
    """Returns the job of an Offline test that takes about `bench.seconds`: LoadGen sends 1.1 times what it expects."""
    return {"scenario": "offline", "seconds": bench.seconds, "hint": samples_per_s / 1.1}


def single_stream_overhead(bench: Bench) -> Iterator[Row]:
    """Yields what the suite adds to the median single-stream query, by backend, and for a model of 10 ms and more."""
    for backend in BACKENDS:
        column = bench.column(WORKLOADS[0], "single-stream", "p50_us") if backend == "onnxruntime" else None
        name = f"SingleStream overhead, {WORKLOADS[0]}, {backend}"
        pairs, why = _streams(bench, name, bench.subject(WORKLOADS[0], backend), 50e3, column)
        beside = _beside(column, pairs, "µs")
        yield row(name, "raw loop", "µs, p50", pairs, Bar(True, 3.0, "µs"), ratio=False, why=why, reference=beside)
    with tempfile.TemporaryDirectory() as folder:
        subject = _large(bench, Path(folder) / "large.onnx")
        name = "SingleStream overhead, a large model, onnxruntime"
        pairs, why = _streams(bench, name, subject, 5e6, None)
        parts = [(raw, raw + 100 * (suite - raw) / raw) for raw, suite in pairs]
        figures = row(name, "raw loop", "µs, p50", parts, Bar(True, 0.5, "%"), ratio=False, why=why)
        yield replace(figures, suite=median(suite for _, suite in pairs))


def _streams(
    bench: Bench, name: str, subject: dict[str, Any], latency_ns: float, column: Column | None
) -> tuple[list[tuple[float, float]], str]:
    """Returns pairs (raw, suite) of median latencies, and what the least possible callback adds in their place."""
    job = {"subject": subject, "serving": Serving(1, 0, 1, 1, "cpu").__dict__, **_stream_load(bench, latency_ns)}
    least: list[float] = []

    def measure(least_first: bool) -> tuple[float, float]:
        found = {one: child("single_stream", least=one, **job) for one in (least_first, not least_first)}
        least.append(found[True]["suite"] - found[True]["base"])
        return found[False]["base"], found[False]["suite"]

    pairs = bench.in_turn(name, measure, column)
    return pairs, f"the least that a callback in Python can do adds {median(least):.3g} µs"


def _stream_load(bench: Bench, latency_ns: float) -> dict[str, Any]:
    return {"scenario": "single-stream", "seconds": bench.seconds, "hint": latency_ns}


def _large(bench: Bench, path: Path) -> dict[str, Any]:
    """Returns the subject of a model whose sample takes 10 ms and more, written to `path`."""
    large_model.write(path, LARGE_LAYERS)
    model = Model("onnx", path, sha256_file(path), ("random weights",))
    return describe("fashion-resnet", "onnxruntime", model, {"graph_level": "all"}, bench.data_dir)


def null_offline(bench: Bench) -> Iterator[Row]:
    """Yields the throughput of a session that does nothing over that of a callback that does nothing."""
    name = "null Offline"
    job = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": NULL_OFFLINE_SERVING.__dict__}
    job |= _offline_load(bench, 1.2e6)
    column = bench.column(WORKLOADS[0], "offline", "rate", null=True)
    yield _against_bare(bench, name, job, "figure", "samples/s", Bar(False, 0.7, ""), column, ratio=True)


def null_single_stream(bench: Bench) -> Iterator[Row]:
    """Yields the median latency of a session that does nothing minus that of a callback that does nothing."""
    job = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": Serving(1, 0, 1, 1, "cpu").__dict__}
    job |= _stream_load(bench, 1500)
    column = bench.column(WORKLOADS[0], "single-stream", "p50_us", null=True)
    yield _against_bare(bench, "null SingleStream", job, "p50_us", "µs, p50", Bar(True, 2.0, "µs"), column, ratio=False)


def _against_bare(
    bench: Bench,
    name: str,
    job: dict[str, Any],
    key: str,
    sides: str,
    bar: Bar,
    column: Column | None,
    *,
    ratio: bool,
) -> Row:
    def measure(bare_first: bool) -> tuple[float, float]:
        found = {bare: child("loaded_test", bare=bare, **job)[key] for bare in (bare_first, not bare_first)}
        return found[True], found[False]

    pairs = bench.in_turn(name, measure, column)
    beside = _beside(column, pairs, bar.unit, ratio=ratio)
    return row(name, "bare callback", sides, pairs, bar, ratio=ratio, reference=beside)


def server_efficiency(bench: Bench) -> Iterator[Row]:
    """Yields the peak that `suite.run --mode peak` confirmed over the throughput of Offline runs around it.

    Offline is served as is best for it, which may be another layout than Server's.
    """
    for workload in WORKLOADS:
        yield _efficiency(bench, workload)


def _efficiency(bench: Bench, workload: str) -> Row:
    subject = bench.subject(workload, "onnxruntime")
    served = child("served", subject=subject, tune_seconds=0)
    job = {"subject": subject, "serving": served["serving"], "seconds": EFFICIENCY_S, "limit_ms": SERVER_LIMIT_MS}
    load = {"scenario": "offline", "hint": served["samples_per_s"] / 1.1, "bare": False}
    allowed: list[float] = []

    def measure(_: bool) -> tuple[float, float]:
        allowed.append(child("unhindered_share", **job))
        before = child("loaded_test", **job, **load)["figure"]
        last = _peak(bench, workload)["confirmations"][-1]
        after = child("loaded_test", **job, **load)["figure"]
        # A load that was not held is no peak, however near it came.
        return (before + after) / 2, last["qps"] if last["held"] else 0.0

    name = f"Server efficiency, {workload}, onnxruntime"
    pairs = replace(bench, pairs=max(LEAST_SEARCHES, bench.pairs // 3)).in_turn(name, measure)
    why = f"before the searches a server without cost would have held {median(allowed):.2f} of the raw loop's rate"
    why += f" ({min(allowed):.2f} to {max(allowed):.2f}, {_shown(served['serving'])})"
    return row(name, "Offline", "samples/s and queries/s", pairs, Bar(False, 0.8, ""), ratio=True, why=why)


def _peak(bench: Bench, workload: str) -> dict[str, Any]:
    """Returns what one search for the peak of a workload found, with the suite's own command."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "suite.run", f"--workload={workload}", "--scenario=server", "--mode=peak"]
        words += ["--json", f"--results-dir={folder}", f"--data-dir={bench.data_dir}", f"--cache-dir={bench.cache_dir}"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PEAK_TIMEOUT_S)
            found: dict[str, Any] = json.loads(done.stdout)["peak"]
        except subprocess.TimeoutExpired:
            raise RunFailed(f"A search for the peak did not end within {PEAK_TIMEOUT_S} s.") from None
        except ValueError:
            last = done.stderr.strip().splitlines()[-1:] or ["nothing"]
            raise RunFailed(f"A search for the peak ended with code {done.returncode}: {last[0]!r}.") from None
    return found


def null_server(bench: Bench) -> Iterator[Row]:
    """Yields the highest load held of a session that does nothing over that of a callback, plain and coalesced."""
    for coalesce in (False, True):
        name = f"null Server, {'coalesced' if coalesce else 'plain'}"
        serving = NULL_SERVING[coalesce]
        job: dict[str, Any] = {"subject": bench.subject(WORKLOADS[0], "null"), "serving": serving.__dict__}
        job |= {"limit_ms": NULL_LIMIT_MS, "coalesce": coalesce}
        sides = {bare: {**job, "bare": bare} for bare in (True, False)}
        pairs = _loads_held(bench, name, sides, NULL_START[coalesce])
        why = f"served in batches of up to {serving.batch}, which wait {serving.max_wait_us} µs for more; "
        why += f"each ratio is a power of {LOAD_STEP**2:.3g}"
        yield row(name, "bare callback", "queries/s", pairs, Bar(False, 0.8, ""), ratio=True, why=why)


def coalescing(bench: Bench) -> Iterator[Row]:
    """Yields the highest load held with queries that are due coming in one call over that with each in its own."""
    yield from _choice(bench, "coalesced", "plain", lambda coalesced: {"coalesce": coalesced})


def yielding(bench: Bench) -> Iterator[Row]:
    """Yields the highest load held with a thread that issues and yields over that with one that preempts sessions."""
    yield from _choice(bench, "yielding", "preempting", lambda yields: {"preempts": not yields})


def _choice(bench: Bench, name: str, base: str, options: Callable[[bool], dict[str, Any]]) -> Iterator[Row]:
    """Yields, by workload, the highest load that Server holds with a choice (True) over that without."""
    for workload in WORKLOADS:
        title = f"{name} Server, {workload}, onnxruntime"
        subject = bench.subject(workload, "onnxruntime")
        found = child("served", subject=subject, tune_seconds=0, scenario="server", limit_ms=SERVER_LIMIT_MS)
        job: dict[str, Any] = {"subject": subject, "serving": found["serving"], "bare": False}
        sides = {without: {**job, **options(not without)} for without in (True, False)}
        pairs = _loads_held(bench, title, sides, SERVER_START * found["samples_per_s"])
        why = f"served in {_shown(found['serving'])}; each ratio is a power of {LOAD_STEP**2:.3g}"
        yield row(title, base, "queries/s", pairs, Bar(False, 1.0, ""), ratio=True, why=why)


def _loads_held(bench: Bench, name: str, sides: dict[bool, dict[str, Any]], start: float) -> list[tuple[float, float]]:
    """Returns pairs of loads about those that each side, the base (True) and the other, holds half of the time.

    By the up-and-down method (Dixon and Mood, JASA 1948): a load that was held is followed by a higher one, one that
    was not by a lower one. The pairs are the trials of both sides, in turn.
    """
    loads = dict.fromkeys(sides, start)

    def trial(side: bool) -> float:
        load = loads[side]
        job = {"scenario": "server", "seconds": bench.seconds, **sides[side]}
        held = child("loaded_test", hint=load, **job)["valid"]
        loads[side] = load * LOAD_STEP if held else load / LOAD_STEP
        return load

    def measure(base_first: bool) -> tuple[float, float]:
        found = {side: trial(side) for side in (base_first, not base_first)}
        return found[True], found[False]

    say(f"{name}: finding the level")
    for _ in range(SETTLING):
        measure(True)
    return bench.in_turn(name, measure)


def data_parallel(bench: Bench) -> Iterator[Row]:
    """Yields n sessions of a thread over one of n threads, and the suite's pick over the best of a sweep."""
    for backend in BACKENDS:
        subject = bench.subject(WORKLOADS[0], backend)
        tried = child("sweep", subject=subject, seconds=0.5)
        say(f"data parallel, {backend}: tuning for {TUNE_SECONDS:g} s")
        pick = child("served", subject=subject, tune_seconds=TUNE_SECONDS)["serving"]
        layouts = {(one["serving"]["sessions"], one["serving"]["threads"]) for one in tried}
        most, least = max(layouts), min(layouts)
        best_of = {layout: _best(tried, layout) for layout in (least, most)}
        best = max(tried, key=lambda one: float(one["samples_per_s"]))["serving"]
        name = f"data parallel, {backend}: {most[0]} sessions of {most[1]} over {least[0]} of {least[1]}"
        pairs = _head_to_head(bench, subject, best_of[least], best_of[most])
        yield row(name, f"{least[0]} of {least[1]}", "samples/s", pairs, Bar(False, 0.0, ""), ratio=True)
        name = f"data parallel, {backend}: the pick over the best of {len(tried)}"
        yield row(
            name,
            "best of the sweep",
            "samples/s",
            _head_to_head(bench, subject, best, pick),
            Bar(False, 0.97, ""),
            ratio=True,
            why=f"pick {_shown(pick)}, best {_shown(best)}",
        )


def _best(tried: list[dict[str, Any]], layout: tuple[int, int]) -> dict[str, Any]:
    of_layout = [one for one in tried if (one["serving"]["sessions"], one["serving"]["threads"]) == layout]
    serving: dict[str, Any] = max(of_layout, key=lambda one: float(one["samples_per_s"]))["serving"]
    return serving


def _shown(serving: dict[str, Any]) -> str:
    ahead = " ahead" if serving["ahead"] else ""
    return f"{serving['sessions']}x{serving['threads']} batch {serving['batch']}{ahead}"


def _head_to_head(bench: Bench, subject: dict[str, Any], *servings: dict[str, Any]) -> list[tuple[float, float]]:
    found = child("head_to_head", subject=subject, servings=servings, pairs=bench.pairs, seconds=bench.seconds / 2)
    return [(base, suite) for base, suite in found]


def freed_memory(bench: Bench) -> Iterator[Row]:
    """Yields, by workload, the raw loop's throughput on torch with freed memory kept over that with it given back."""
    for workload in WORKLOADS:
        subject = bench.subject(workload, "torch")
        serving = child("served", subject=subject, tune_seconds=0)["serving"]
        job: dict[str, Any] = {"subject": subject, "serving": serving, "seconds": bench.seconds}

        def measure(given_back_first: bool, job: dict[str, Any] = job) -> tuple[float, float]:
            order = (given_back_first, not given_back_first)
            found = {given_back: child("raw_rate", returns_memory=given_back, **job) for given_back in order}
            return found[True], found[False]

        name = f"freed memory kept, raw loop, {workload}, torch"
        pairs = bench.in_turn(name, measure)
        yield row(name, "given back", "samples/s", pairs, Bar(False, 1.0, ""), ratio=True, why=_shown(serving))


def memory(bench: Bench) -> Iterator[Row]:
    """Yields what the suite needs for a model over what the raw loop needs, each beside what it needs without one."""
    real, null = (bench.subject(WORKLOADS[0], backend) for backend in ("onnxruntime", "null"))
    serving = child("served", subject=real, tune_seconds=0)["serving"]
    load: dict[str, Any] = {"serving": serving, "scenario": "offline", "seconds": 0.5, "hint": 10_000.0}

    def measure(raw_first: bool) -> tuple[float, float]:
        found = {}
        for raw in (raw_first, not raw_first):
            task = "raw_memory" if raw else "loaded_test"
            both = [child(task, subject=subject, bare=False, **load)["peak_rss_bytes"] for subject in (real, null)]
            found[raw] = (both[0] - both[1]) / 1e6
        return found[True], found[False]

    name = "memory of the model's part, Offline"
    yield row(name, "raw loop", "MB", bench.in_turn(name, measure), Bar(True, 1.3, ""), ratio=True)
    yield _prediction(bench)


def _prediction(bench: Bench) -> Row:
    """Returns what LoadGen needs over what was predicted: two null runs that differ in the number of samples alone."""
    subject, name = bench.subject(WORKLOADS[0], "null"), "memory of LoadGen's queries, Offline, over the prediction"
    small, large = 100_000, 2_100_000
    predicted = [predicted_bytes(Generated(1, count, count)) / 1e6 for count in (small, large)]

    def measure(_: bool) -> tuple[float, float]:
        job: dict[str, Any] = {"subject": subject, "serving": NULL_OFFLINE_SERVING.__dict__}
        job |= {"scenario": "offline", "seconds": 1.0}
        found = [
            child("loaded_test", bare=False, hint=count / 1.1, **job)["peak_rss_bytes"] / 1e6
            for count in (small, large)
        ]
        return predicted[1] - predicted[0], found[1] - found[0]

    pairs = replace(bench, pairs=min(bench.pairs, 6)).in_turn(name, measure)
    figures = [(base, base * (1 + abs(suite / base - 1))) for base, suite in pairs]
    found = row(name, "predicted", "MB", figures, Bar(True, 1.1, ""), ratio=True)
    return replace(found, suite=median(suite for _, suite in pairs))


def accuracy_path(bench: Bench) -> Iterator[Row]:
    """Yields the time of a sample in an accuracy run over that in an Offline performance run."""
    subject = bench.subject(WORKLOADS[0], "onnxruntime")
    served = child("served", subject=subject, tune_seconds=0)
    name = "accuracy path, fashion-resnet, onnxruntime"
    job: dict[str, Any] = {"subject": subject, "serving": served["serving"], "bare": False}
    job |= _offline_load(bench, served["samples_per_s"])

    def measure(performance_first: bool) -> tuple[float, float]:
        found = {}
        for performance in (performance_first, not performance_first):
            mode = "performance" if performance else "accuracy"
            found[performance] = child("loaded_test", mode=mode, **job)["us_a_sample"]
        return found[True], found[False]

    yield row(name, "performance run", "µs a sample", bench.in_turn(name, measure), Bar(True, 1.05, ""), ratio=True)


def stages_cost(bench: Bench) -> Iterator[Row]:
    """Yields what `--stages` adds to a single-stream query, where a query is shortest, and takes of Offline."""
    subject = bench.subject(WORKLOADS[0], "onnxruntime")
    job = {"subject": subject, "serving": Serving(1, 0, 1, 1, "cpu").__dict__, **_stream_load(bench, 50e3)}

    def query(_: bool) -> tuple[float, float]:
        found = child("followed", **job)
        return found["base"], found["suite"]

    yield _percent(bench, "stages, SingleStream, fashion-resnet, onnxruntime", "without", "µs a query", query)
    served = child("served", subject=subject, tune_seconds=0)
    load = {"subject": subject, "serving": served["serving"], "bare": False}
    load |= _offline_load(bench, served["samples_per_s"])

    def sample(without_first: bool) -> tuple[float, float]:
        order = (not without_first, without_first)
        found = {stages: child("loaded_test", stages=stages, **load)["us_a_sample"] for stages in order}
        return found[False], found[True]

    yield _percent(bench, "stages, Offline, fashion-resnet, onnxruntime", "without", "µs a sample", sample)


def _percent(
    bench: Bench, name: str, base_name: str, sides: str, measure: Callable[[bool], tuple[float, float]]
) -> Row:
    """Returns the row of a cost in percent, of which there may be one."""
    pairs = bench.in_turn(name, measure)
    parts = [(base, base + 100 * (suite - base) / base) for base, suite in pairs]
    found = row(name, base_name, sides, parts, Bar(True, 1.0, "%"), ratio=False)
    return replace(found, suite=median(suite for _, suite in pairs))


MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "offline": offline_overhead,
    "offline-parts": offline_parts,
    "single-stream": single_stream_overhead,
    "server": server_efficiency,
    "null-offline": null_offline,
    "null-single-stream": null_single_stream,
    "null-server": null_server,
    "coalesce": coalescing,
    "yielding": yielding,
    "data-parallel": data_parallel,
    "freed-memory": freed_memory,
    "memory": memory,
    "accuracy": accuracy_path,
    "stages": stages_cost,
}
