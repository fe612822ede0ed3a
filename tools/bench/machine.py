"""The rows of what the suite makes of a machine: its cores, its memory, and what `--stages` takes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from scenarios.base import Generated
from suite.memory import predicted_bytes
from suite.plan import TUNE_SECONDS
from suite.progress import say
from suite.variant import Serving
from tools.bench.bench import BACKENDS, WORKLOADS, Bench, child, offline_load, shown, stream_load
from tools.bench.null import OFFLINE_SERVING
from tools.bench.rows import Bar, Row, row


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
            why=f"pick {shown(pick)}, best {shown(best)}",
        )


def _best(tried: list[dict[str, Any]], layout: tuple[int, int]) -> dict[str, Any]:
    of_layout = [one for one in tried if (one["serving"]["sessions"], one["serving"]["threads"]) == layout]
    serving: dict[str, Any] = max(of_layout, key=lambda one: float(one["samples_per_s"]))["serving"]
    return serving


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
        yield row(name, "given back", "samples/s", pairs, Bar(False, 1.0, ""), ratio=True, why=shown(serving))


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
        job: dict[str, Any] = {"subject": subject, "serving": OFFLINE_SERVING.__dict__}
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


def stages_cost(bench: Bench) -> Iterator[Row]:
    """Yields what `--stages` adds to a single-stream query, where a query is shortest, and takes of Offline."""
    subject = bench.subject(WORKLOADS[0], "onnxruntime")
    job = {"subject": subject, "serving": Serving(1, 0, 1, 1, "cpu").__dict__, **stream_load(bench, 50e3)}

    def query(_: bool) -> tuple[float, float]:
        found = child("followed", **job)
        return found["base"], found["suite"]

    yield _percent(bench, "stages, SingleStream, fashion-resnet, onnxruntime", "without", "µs a query", query)
    served = child("served", subject=subject, tune_seconds=0)
    load = {"subject": subject, "serving": served["serving"], "bare": False}
    load |= offline_load(bench, served["samples_per_s"])

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
