"""Server: single samples arrive as a Poisson process; the metric is queries a second within the latency limit."""

from typing import Any

from scenarios.base import Generated, LoadRules

LOADGEN_NAME = "Server"
INLINE = False
HINT_UNIT = "queries/s"


def settings(rules: LoadRules, hint: float) -> dict[str, Any]:
    """Returns the load and the limit that it must be held within."""
    if rules.target_latency_ms is None:
        raise ValueError("the Server scenario needs a latency limit")
    return {
        "server_target_qps": hint,
        "server_target_latency_ns": round(rules.target_latency_ms * 1e6),
        "server_target_latency_percentile": rules.target_latency_percentile,
    }


def generated(rules: LoadRules, hint: float) -> Generated:
    """Returns the arrivals of the whole run."""
    queries = max(rules.min_query_count, round(rules.min_duration_ms / 1000 * hint))
    return Generated(queries, queries, queries)
