"""The rows of what the suite makes of a machine: its cores, its memory, and what `--stages` takes."""

from collections.abc import Iterator
from dataclasses import replace
from statistics import median
from typing import Any

from scenarios.base import Generated
from suite.memory import predicted_bytes
from suite.plan import TUNE_SECONDS
from suite.progress import say
from suite.variant import Serving
from tools.bench.bench import CHILD_TIMEOUT_S, WORKLOADS, Bench, child, offline_load, shown, stream_load
from tools.bench.null import OFFLINE_SERVING
from tools.bench.rows import Bar, Row, percent_row, row

STAGES_PERCENT = 1.0
# Those of the sweep that are asked again, and how often: one look at each misleads.
FINALISTS = 4
FINAL_ROUNDS = 10
# In one process; then another one says how it goes on.
ROUNDS_A_CHILD = 5


def data_parallel(bench: Bench, backend: str) -> Iterator[Row]:
    """Yields n sessions of a thread over one of n threads, and the suite's picks over the best of a sweep."""
    subject, name = bench.subject(WORKLOADS[0], backend), f"data parallel, {backend}"
    say(f"{name}: asking every layout and batch")
    tried = sorted(child("sweep", subject=subject, seconds=0.5), key=lambda one: -float(one["samples_per_s"]))
    fastest = [one["serving"] for one in tried]
    least, most = min(map(_layout, fastest)), max(map(_layout, fastest))
    best_of = [next(one for one in fastest if _layout(one) == layout) for layout in (least, most)]
    title = f"{name}: {most[0]} sessions of {most[1]} over {least[0]} of {least[1]}"
    pairs = _head_to_head(bench, title, subject, best_of, bench.pairs)
    yield row(title, f"{least[0]} of {least[1]}", "samples/s", pairs, None, ratio=True)

    finalists = fastest[:FINALISTS]
    rounds = _head_to_head(bench, f"{name}: the sweep's best", subject, finalists, FINAL_ROUNDS)
    speeds = [median(speed) for speed in zip(*rounds, strict=True)]
    best = finalists[speeds.index(max(speeds))]
    for how, seconds in (("tuning's", TUNE_SECONDS), ("quick search's", 0)):
        say(f"{name}: the {how} pick")
        pick = child("served", subject=subject, tune_seconds=seconds)["serving"]
        title = f"{name}: the {how} pick over the best of {len(tried)}"
        pairs = _head_to_head(bench, title, subject, [best, pick], bench.pairs)
        found = row(title, "best of the sweep", "samples/s", pairs, Bar(False, 0.97, ""), ratio=True)
        why = f"pick {shown(pick)}, best {shown(best)} ({len(finalists)} of the sweep asked {FINAL_ROUNDS} times more)"
        yield replace(found, why=f"{why}; the pick is faster" if found.interval[0] > 1 else why)


def _layout(serving: dict[str, Any]) -> tuple[int, int]:
    return serving["sessions"], serving["threads"]


def _head_to_head(
    bench: Bench, name: str, subject: dict[str, Any], servings: list[dict[str, Any]], rounds: int
) -> list[Any]:
    """Returns lists of the samples/s of each serving, one a round, in which the servings take turns."""
    found: list[Any] = []
    while len(found) < rounds:
        say(f"{name}: round {len(found) + 1} of {rounds}")
        count, seconds = min(ROUNDS_A_CHILD, rounds - len(found)), bench.seconds / 2
        # A look takes up to twice its seconds: it first finds out how much to ask for.
        bound_s = CHILD_TIMEOUT_S + 2 * count * len(servings) * seconds
        job = {"subject": subject, "servings": servings, "rounds": count, "seconds": seconds}
        found += child("head_to_head", bound_s=bound_s, **job)
    return found


def freed_memory(bench: Bench, workload: str) -> Iterator[Row]:
    """Yields the raw loop's throughput on torch with freed memory kept over that with it given back."""
    subject = bench.subject(workload, "torch")
    serving = child("served", subject=subject, tune_seconds=0)["serving"]
    job: dict[str, Any] = {"subject": subject, "serving": serving, "seconds": bench.seconds}

    def measure(given_back_first: bool) -> tuple[float, float]:
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
            both = [child(task, subject=subject, **load)["peak_rss_bytes"] for subject in (real, null)]
            found[raw] = (both[0] - both[1]) / 1e6
        return found[True], found[False]

    name = "memory of the model's part, Offline"
    yield row(name, "raw loop", "MB", bench.in_turn(name, measure), Bar(True, 1.3, ""), ratio=True)


def prediction(bench: Bench) -> Iterator[Row]:
    """Yields what LoadGen needs over what was predicted: two null runs that differ in the number of samples alone."""
    subject, name = bench.subject(WORKLOADS[0], "null"), "memory of LoadGen's queries, Offline, over the prediction"
    small, large = 100_000, 2_100_000
    predicted = [predicted_bytes(Generated(1, count, count)) / 1e6 for count in (small, large)]

    def measure(_: bool) -> tuple[float, float]:
        job: dict[str, Any] = {"subject": subject, "serving": OFFLINE_SERVING.__dict__}
        job |= {"scenario": "offline", "seconds": 1.0}
        found = [child("loaded_test", hint=count / 1.1, **job)["peak_rss_bytes"] / 1e6 for count in (small, large)]
        return predicted[1] - predicted[0], found[1] - found[0]

    pairs = replace(bench, pairs=min(bench.pairs, 6)).in_turn(name, measure)
    figures = [(base, base * (1 + abs(suite / base - 1))) for base, suite in pairs]
    found = row(name, "predicted", "MB", figures, Bar(True, 1.1, ""), ratio=True)
    yield replace(found, suite=median(suite for _, suite in pairs))


def stages_of_a_query(bench: Bench) -> Iterator[Row]:
    """Yields what `--stages` adds to a single-stream query, where a query is shortest."""
    subject = bench.subject(WORKLOADS[0], "onnxruntime")
    job = {"subject": subject, "serving": Serving(1, 0, 1, 1, "cpu").__dict__, **stream_load(bench, 50e3)}

    def measure(_: bool) -> tuple[float, float]:
        found = child("followed", **job)
        return found["base"], found["suite"]

    name = "stages, SingleStream, fashion-resnet, onnxruntime"
    yield percent_row(name, "left alone", "µs a query", bench.in_turn(name, measure), STAGES_PERCENT)


def stages_of_a_sample(bench: Bench) -> Iterator[Row]:
    """Yields what `--stages` takes of Offline."""
    subject = bench.subject(WORKLOADS[0], "onnxruntime")
    served = child("served", subject=subject, tune_seconds=0)
    load = {"subject": subject, "serving": served["serving"]}
    load |= offline_load(bench, served["samples_per_s"])

    def measure(without_first: bool) -> tuple[float, float]:
        order = (not without_first, without_first)
        found = {stages: child("loaded_test", stages=stages, **load)["us_a_sample"] for stages in order}
        return found[False], found[True]

    name = "stages, Offline, fashion-resnet, onnxruntime"
    yield percent_row(name, "without", "µs a sample", bench.in_turn(name, measure), STAGES_PERCENT)
