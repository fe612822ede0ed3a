"""Single-stream: one sample after the other; the metric is the 90th percentile of latency."""

from typing import Any

from scenarios.base import Generated, LoadRules, stream_generated

LOADGEN_NAME = "SingleStream"
INLINE = True
HINT_UNIT = "ns"


def settings(rules: LoadRules, hint: float) -> dict[str, Any]:
    """Returns the expected latency, from which LoadGen computes how many queries to generate, and the percentile."""
    return {
        "single_stream_expected_latency_ns": max(1, round(hint)),
        "single_stream_target_latency_percentile": rules.target_latency_percentile,
    }


def generated(rules: LoadRules, hint: float) -> Generated:
    """Returns queries of one sample."""
    return stream_generated(rules, hint)
