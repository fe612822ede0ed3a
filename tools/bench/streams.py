"""The rows of SingleStream: what the suite adds to a query."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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
    found = _streams(bench, name, bench.subject(WORKLOADS[0], backend), 50e3, column)
    reference = beside(column, found.copied, "µs")
    bar = Bar(True, 3.0, "µs")
    yield row(name, "raw loop", "µs, p50", found.copied, bar, ratio=False, reference=reference, bound=BOUND)
    yield from found.beside_others(name)


def large_model_overhead(bench: Bench) -> Iterator[Row]:
    """Yields the same for a model of 10 ms and more, the first in percent."""
    with tempfile.TemporaryDirectory() as folder:
        subject = _large(bench, Path(folder) / "large.onnx")
        name = "SingleStream overhead, a large model, onnxruntime"
        found = _streams(bench, name, subject, 5e6, None)
    yield percent_row(name, "raw loop", "µs, p50", found.copied, 0.5, bound=BOUND)
    yield from found.beside_others(name)


@dataclass(frozen=True)
class _Streams:
    """Median latencies in µs, pair by pair: of a raw loop that copies its sample and the suite, of one that takes it
    where it lies and the suite, and what the least callback and the suite add to the latter.
    """

    copied: list[tuple[float, float]]
    in_place: list[tuple[float, float]]
    added: list[tuple[float, float]]

    def beside_others(self, name: str) -> Iterator[Row]:
        """Yields the rows of what the suite is set beside without a bar."""
        copies_nothing = "raw loop that copies nothing"
        yield row(f"{name}: over a {copies_nothing}", copies_nothing, "µs, p50", self.in_place, None, ratio=False)
        yield row(f"{name}: over the least callback", "least callback", "µs added", self.added, None, ratio=False)


def _streams(bench: Bench, name: str, subject: dict[str, Any], latency_ns: float, column: Column | None) -> _Streams:
    job = {"subject": subject, "serving": Serving(1, 0, 1, 1, "cpu").__dict__, **stream_load(bench, latency_ns)}
    sides = {True: {**job, "system": "least"}, False: job}
    found = _Streams([], [], [])

    def measure(least_first: bool) -> tuple[float, float]:
        seen = {one: child("single_stream", **sides[one]) for one in (least_first, not least_first)}
        least, suite = (one["suite"] - one["base_in_place"] for one in (seen[True], seen[False]))
        found.added.append((least, suite))
        found.in_place.append((seen[False]["base_in_place"], seen[False]["suite"]))
        return seen[False]["base"], seen[False]["suite"]

    found.copied.extend(bench.in_turn(name, measure, column))
    return found


def _large(bench: Bench, path: Path) -> dict[str, Any]:
    """Returns the subject of a model whose sample takes 10 ms and more, written to `path`."""
    large_model.write(path, LARGE_LAYERS)
    model = Model("onnx", path, sha256_file(path), ("random weights",))
    return describe("fashion-resnet", "onnxruntime", model, {"graph_level": "all", "pipeline": "1"}, bench.data_dir)
