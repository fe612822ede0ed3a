"""The rows of Offline: what the suite adds to a sample, and an accuracy run beside a performance run."""

from collections.abc import Iterator
from statistics import median
from typing import Any

from tools.bench import parts
from tools.bench.bench import WORKLOADS, Bench, beside, child, offline_load, shown
from tools.bench.rows import Bar, Row, row

# Profiled in one test, batches of 64 on torch, µs of one core a sample: completing 0.9, checks and copies about 1.
BOUND = "telling LoadGen of each sample by name, about a microsecond of one core, and what is done once a batch"


def offline_overhead(bench: Bench, workload: str, backend: str) -> Iterator[Row]:
    """Yields what the suite adds to a sample in Offline, in µs of the whole machine."""
    subject = bench.subject(workload, backend)
    found = child("served", subject=subject, tune_seconds=0)
    job = {"subject": subject, "serving": found["serving"], **offline_load(bench, found["samples_per_s"])}
    name = f"Offline overhead, {workload}, {backend}"
    column = bench.column(workload, "offline", "us_a_sample") if backend == "onnxruntime" else None

    def measure(raw_first: bool) -> tuple[float, float]:
        rates = child("offline", raw_first=raw_first, **job)
        return 1e6 / rates["base"], 1e6 / rates["suite"]

    costs = bench.in_turn(name, measure, column)
    ratio = median(raw / suite for raw, suite in costs)
    yield row(
        name,
        "raw loop",
        "µs a sample",
        costs,
        Bar(True, 1.0, "µs"),
        ratio=False,
        extra={"throughput_ratio": ratio, "serving": found["serving"]},
        why=f"throughput {ratio:.3f} of the raw loop's",
        reference=beside(column, costs, "µs"),
        bound=BOUND,
    )


def offline_parts(bench: Bench, workload: str, backend: str) -> Iterator[Row]:
    """Yields the same without what LoadGen does before its first sample, the suite and the raw loop part by part.

    A machine that others use changes its speed from second to second by more than is to be measured. It does so within
    a second too: the second row is of what either does outside the sessions, and leaves out what one does to the speed
    of the other.
    """
    subject = bench.subject(workload, backend)
    found = child("served", subject=subject, tune_seconds=0)
    job = {"subject": subject, "serving": found["serving"], **offline_load(bench, found["samples_per_s"] / 2)}
    name = f"Offline overhead part by part, {workload}, {backend}"

    outside: list[tuple[float, float]] = []

    def measure(_: bool) -> tuple[float, float]:
        seen = child("offline_parts", **job)
        outside.append((seen["base_outside"], seen["suite_outside"]))
        return seen["base"], seen["suite"]

    pairs = bench.in_turn(name, measure)
    ratio = median(raw / suite for raw, suite in pairs)
    why = f"{ratio:.3f} of the raw loop's speed, {shown(found['serving'])}"
    bar, bound = Bar(True, 1.0, "µs"), f"{BOUND}; {parts.shown(child('parts', **job))}"
    yield row(name, "raw loop", "µs a sample", pairs, bar, ratio=False, why=why, bound=BOUND)
    yield row(f"{name}, outside the sessions", "raw loop", "µs a sample", outside, bar, ratio=False, bound=bound)


def offline_least(bench: Bench, workload: str, backend: str) -> Iterator[Row]:
    """Yields what the suite spends outside the sessions minus what the least that Python can do with a queue spends."""
    subject = bench.subject(workload, backend)
    found = child("served", subject=subject, tune_seconds=0)
    job = {"subject": subject, "serving": found["serving"], **offline_load(bench, found["samples_per_s"])}
    sides = {True: {**job, "system": "least"}, False: job}
    name = f"Offline outside the sessions, {workload}, {backend}, beside the least in Python"

    def measure(least_first: bool) -> tuple[float, float]:
        seen = {side: child("outside", **sides[side]) for side in (least_first, not least_first)}
        return seen[True], seen[False]

    pairs = bench.in_turn(name, measure)
    yield row(name, "least in Python", "µs a sample", pairs, None, ratio=False, why=shown(found["serving"]))


def accuracy_path(bench: Bench) -> Iterator[Row]:
    """Yields the time of a sample in an accuracy run over that in an Offline performance run."""
    subject = bench.subject(WORKLOADS[0], "onnxruntime")
    served = child("served", subject=subject, tune_seconds=0)
    name = "accuracy path, fashion-resnet, onnxruntime"
    job: dict[str, Any] = {"subject": subject, "serving": served["serving"]}
    job |= offline_load(bench, served["samples_per_s"])

    def measure(performance_first: bool) -> tuple[float, float]:
        found = {}
        for performance in (performance_first, not performance_first):
            mode = "performance" if performance else "accuracy"
            found[performance] = child("loaded_test", mode=mode, **job)["us_a_sample"]
        return found[True], found[False]

    yield row(name, "performance run", "µs a sample", bench.in_turn(name, measure), Bar(True, 1.05, ""), ratio=True)
