"""The rows of SingleStream: what the suite adds to a query."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.files import sha256_file
from reference_models.base import Model
from suite.subject import describe
from suite.variant import Serving
from tools.bench import large_model
from tools.bench.bench import WORKLOADS, Bench, beside, child, stream_load
from tools.bench.rows import Bar, Row, percent_row, row
from tools.bench.upstream import Column

# What takes 10 ms and more a sample, for the bar on slow models: so many convolutions of random weights.
LARGE_LAYERS = 14
BOUND = (
    "LoadGen's call of Python and Python's of LoadGen, with caches that the model has emptied; a system under test in "
    "C++ would spare it, but LoadGen's wheel exports nothing to link one with"
)


def single_stream_overhead(bench: Bench, backend: str) -> Iterator[Row]:
    """Yields what the suite adds to the median single-stream query, and what of that the least callback does not."""
    column = bench.column(WORKLOADS[0], "single-stream", "p50_us") if backend == "onnxruntime" else None
    name = f"SingleStream overhead, {WORKLOADS[0]}, {backend}"
    pairs, least = _streams(bench, name, bench.subject(WORKLOADS[0], backend), 50e3, column)
    reference = beside(column, pairs, "µs")
    bar = Bar(True, 3.0, "µs")
    yield row(name, "raw loop", "µs, p50", pairs, bar, ratio=False, reference=reference, bound=BOUND)
    yield _over_the_least(name, pairs, least)


def large_model_overhead(bench: Bench) -> Iterator[Row]:
    """Yields the same for a model of 10 ms and more, the first in percent."""
    with tempfile.TemporaryDirectory() as folder:
        subject = _large(bench, Path(folder) / "large.onnx")
        name = "SingleStream overhead, a large model, onnxruntime"
        pairs, least = _streams(bench, name, subject, 5e6, None)
    yield percent_row(name, "raw loop", "µs, p50", pairs, 0.5, bound=BOUND)
    yield _over_the_least(name, pairs, least)


def _over_the_least(name: str, pairs: list[tuple[float, float]], least: list[float]) -> Row:
    """Returns the row of what the suite adds to a query beside what the least callback adds, pair by pair."""
    added = [(one, suite - raw) for one, (raw, suite) in zip(least, pairs, strict=True)]
    return row(f"{name}: over the least callback", "least callback", "µs added", added, None, ratio=False)


def _streams(
    bench: Bench, name: str, subject: dict[str, Any], latency_ns: float, column: Column | None
) -> tuple[list[tuple[float, float]], list[float]]:
    """Returns pairs (raw, suite) of median latencies, and what the least callback adds in the suite's place."""
    job = {"subject": subject, "serving": Serving(1, 0, 1, 1, "cpu").__dict__, **stream_load(bench, latency_ns)}
    sides = {True: {**job, "system": "least"}, False: job}
    least: list[float] = []

    def measure(least_first: bool) -> tuple[float, float]:
        found = {one: child("single_stream", **sides[one]) for one in (least_first, not least_first)}
        least.append(found[True]["suite"] - found[True]["base"])
        return found[False]["base"], found[False]["suite"]

    return bench.in_turn(name, measure, column), least


def _large(bench: Bench, path: Path) -> dict[str, Any]:
    """Returns the subject of a model whose sample takes 10 ms and more, written to `path`."""
    large_model.write(path, LARGE_LAYERS)
    model = Model("onnx", path, sha256_file(path), ("random weights",))
    return describe("fashion-resnet", "onnxruntime", model, {"graph_level": "all", "pipeline": "1"}, bench.data_dir)
