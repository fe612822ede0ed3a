"""Multi-stream: queries of several samples, one after the other; the metric is the 99th percentile of latency."""

from typing import Any

from scenarios.base import Generated, LoadRules, stream_generated

LOADGEN_NAME = "MultiStream"
INLINE = True
HINT_UNIT = "ns"


def settings(rules: LoadRules, hint: float) -> dict[str, Any]:
    """Returns the expected latency, from which LoadGen computes how many queries to generate, and the percentile."""
    return {
        "multi_stream_expected_latency_ns": max(1, round(hint)),
        "multi_stream_target_latency_percentile": rules.target_latency_percentile,
        "multi_stream_samples_per_query": rules.samples_per_query,
    }


def generated(rules: LoadRules, hint: float) -> Generated:
    """Returns queries of `samples_per_query` samples."""
    return stream_generated(rules, hint)
