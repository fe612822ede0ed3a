"""Seeks the peak of a plan that is ready: each probe is a LoadGen test in a process of its own."""

import secrets
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from scenarios.base import test_settings
from scenarios.harness import early_stopping
from suite import launch, peak
from suite.conduct import ARRIVAL_GAPS, Ready
from suite.peak import Peak, Probe
from suite.progress import say, shown

# As long as a probe may take: longer ones are what the full run is for.
HORIZON_S = 5.0


def seek(ready: Ready) -> Peak:
    """Returns the peak that probes find; raises RunFailed where the backend fails in one."""
    rate, limit_ms = float(ready.preparation["hints"]["measured_samples_per_s"]), ready.rules.target_latency_ms
    assert limit_ms is not None
    return peak.find(
        rate, lambda qps, early: _probe(ready, qps, may_end_early=early), limit_ms, lambda one: say(peak.sentence(one))
    )


def _probe(ready: Ready, qps: float, *, may_end_early: bool) -> Probe:
    assert ready.rules.target_latency_percentile is not None
    horizon_s = min(HORIZON_S, ready.rules.min_duration_ms / 1000)
    # Of the profile's rules only the length is another, and the arrivals are drawn anew.
    least = early_stopping.min_queries(ready.rules.target_latency_percentile)
    rules = replace(
        ready.rules,
        min_duration_ms=round(horizon_s * 1000),
        min_query_count=least,
        schedule_rng_seed=secrets.randbits(63),
    )
    settings = test_settings(ready.scenario, rules, qps, secrets.randbits(63))
    settings["server_coalesce_queries"] = ready.plan.coalesce_queries
    queries = max(least, round(horizon_s * qps))
    with tempfile.TemporaryDirectory(prefix="tandem-probe-") as name, shown("seeking the peak") as watch:
        job: dict[str, Any] = {
            "subject": ready.subject,
            "serving": ready.serving.__dict__,
            "inline": ready.scenario.INLINE,
            "settings": settings,
            "performance_samples": rules.performance_sample_count,
            "queries": queries,
            "may_end_early": may_end_early,
            "folder": name,
        }
        log = Path(name) / "worker.log"
        # As in a full run, nothing moves between two arrivals.
        patience_s = ready.plan.stall_timeout_s + ARRIVAL_GAPS / qps
        found = launch.call("probe", job, log=log, stall_timeout_s=patience_s, watch=watch)
    return Probe(**found)
