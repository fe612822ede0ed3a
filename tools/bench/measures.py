"""The rows of tools.bench_harness by name."""

from collections.abc import Callable, Iterator

from tools.bench import machine, null, offline, server, streams
from tools.bench.bench import Bench
from tools.bench.rows import Row

MEASURES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "offline": offline.offline_overhead,
    "offline-parts": offline.offline_parts,
    "single-stream": streams.single_stream_overhead,
    "server": server.server_efficiency,
    "null-offline": null.null_offline,
    "null-single-stream": null.null_single_stream,
    "null-server": null.null_server,
    "coalesce": server.coalescing,
    "yielding": server.yielding,
    "data-parallel": machine.data_parallel,
    "freed-memory": machine.freed_memory,
    "memory": machine.memory,
    "accuracy": offline.accuracy_path,
    "stages": machine.stages_cost,
}
