"""Offline: one query with every sample; the metric is samples a second."""

from typing import Any

from scenarios.base import Generated, LoadRules

LOADGEN_NAME = "Offline"
INLINE = False
HINT_UNIT = "samples/s"

# LoadGen's own margin (kSlack in test_settings_internal.cc), so that the run lasts at least as long as it must.
SLACK = 1.1


def settings(rules: LoadRules, hint: float) -> dict[str, Any]:
    """Returns the expected throughput, from which LoadGen computes how many samples to send."""
    return {"offline_expected_qps": hint}


def generated(rules: LoadRules, hint: float) -> Generated:
    """Returns one query of all samples."""
    samples = max(rules.min_query_count, int(SLACK * rules.min_duration_ms / 1000 * hint))
    return Generated(1, samples, samples)
