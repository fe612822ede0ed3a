"""The rows of tools.bench_harness by name."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from tools.bench import machine, null, offline, server, streams
from tools.bench.bench import BACKENDS, WORKLOADS, Bench
from tools.bench.rows import Row


@dataclass(frozen=True)
class Measure:
    """What yields a row, or some that are prepared together, and of which workload, backend or kind."""

    rows: Callable[..., Iterator[Row]]
    of: tuple[str, ...] = ()

    def __call__(self, bench: Bench) -> Iterator[Row]:
        """Yields the rows as soon as they are measured."""
        return self.rows(bench, *self.of)


def _each(rows: Callable[..., Iterator[Row]], *of: Sequence[str]) -> list[Measure]:
    return [Measure(rows, one) for one in product(*of)]


MEASURES: dict[str, list[Measure]] = {
    "offline": _each(offline.offline_overhead, WORKLOADS, BACKENDS),
    "offline-parts": _each(offline.offline_parts, WORKLOADS, BACKENDS),
    "single-stream": [*_each(streams.single_stream_overhead, BACKENDS), *_each(streams.large_model_overhead)],
    "server": _each(server.server_efficiency, WORKLOADS),
    "null-offline": _each(null.null_offline, ["bare"]),
    "null-single-stream": _each(null.null_single_stream, ["bare"]),
    "null-server": _each(null.null_server, list(null.SERVERS), ["bare"]),
    "least": [
        *_each(server.least, WORKLOADS),
        *_each(offline.offline_least, WORKLOADS, BACKENDS),
        *_each(null.null_single_stream, ["least"]),
        *_each(null.null_offline, ["least"]),
        *_each(null.null_server, ["plain", "coalesced"], ["least"]),
    ],
    "coalesce": _each(server.coalescing, WORKLOADS),
    "awake": _each(server.awake, WORKLOADS),
    "yielding": _each(server.yielding, WORKLOADS),
    "data-parallel": _each(machine.data_parallel, BACKENDS),
    "freed-memory": _each(machine.freed_memory, WORKLOADS),
    "memory": [*_each(machine.memory), *_each(machine.prediction)],
    "accuracy": _each(offline.accuracy_path),
    "stages": [*_each(machine.stages_of_a_query), *_each(machine.stages_of_a_sample)],
}
