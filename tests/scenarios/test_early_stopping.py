"""Our early stopping against the real LoadGen's: the same counts, the same judgement, the same estimate."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scenarios.harness.early_stopping import estimate_index, met, min_queries

pytestmark = pytest.mark.side_by_side

MS = 1_000_000
LIMIT_MS = 300
SLOW_MS = 60

# One test of `queries` queries; LoadGen keeps global state and wants a process of its own. In Server the first `late`
# queries are held back beyond the limit, in the others the first `late` queries take SLOW_MS; all others are answered
# at once.
LOADGEN = """
import sys, time
import mlperf_loadgen as loadgen

folder, scenario, percentile, queries, late, limit_ms, slow_ms = sys.argv[1:]
queries, late = int(queries), int(late)
held, seen = [], 0

def complete(ids):
    loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(number, 0, 0) for number in ids])

def issue(ids, indices):
    global seen
    seen += 1
    if seen <= late:
        if scenario == "Server":
            held.extend(ids)
            return
        time.sleep(int(slow_ms) / 1000)
    complete(ids)

def flush():
    if held:
        time.sleep(int(limit_ms) / 1000)
        complete(held)

settings = loadgen.TestSettings()
settings.scenario = getattr(loadgen.TestScenario, scenario)
settings.mode = loadgen.TestMode.PerformanceOnly
settings.min_duration_ms = 1
settings.min_query_count = settings.max_query_count = queries
settings.server_target_qps = 10_000
settings.server_target_latency_ns = int(limit_ms) * 1_000_000
settings.server_target_latency_percentile = float(percentile)
settings.single_stream_target_latency_percentile = float(percentile)
settings.multi_stream_target_latency_percentile = float(percentile)
logs = loadgen.LogSettings()
output = loadgen.LogOutputSettings()
output.outdir = folder
logs.log_output = output
logs.enable_trace = False
sut = loadgen.ConstructFastSUT(issue, flush)
qsl = loadgen.ConstructQSL(8, 8, lambda indices: None, lambda indices: None)
loadgen.StartTestWithLogSettings(sut, qsl, settings, logs, "/dev/null/audit.config")
"""


def loadgen_says(folder: Path, scenario: str, percentile: float, queries: int, late: int = 0) -> dict[str, Any]:
    """Returns what LoadGen's detail log holds of such a test, by key."""
    words = (folder, scenario, percentile, queries, late, LIMIT_MS, SLOW_MS)
    subprocess.run([sys.executable, "-c", LOADGEN, *map(str, words)], check=True, timeout=60)
    lines = (folder / "mlperf_log_detail.txt").read_text().splitlines()
    records = [json.loads(line.partition(" ")[2]) for line in lines if line.startswith(":::MLLOG ")]
    result = {record["key"]: record["value"] for record in records}
    assert result["result_query_count"] == queries
    return result


def number_in(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    assert found, text
    return int(found[1])


def discards(queries: int, percentile: float) -> int | None:
    """Returns how many of the highest latencies the estimate leaves out, as LoadGen says it."""
    index = estimate_index(queries, percentile)
    return None if index is None else queries - 1 - index


@pytest.mark.parametrize(("percentile", "least"), [(0.9, 64), (0.95, 130), (0.97, 219), (0.99, 662), (0.999, 6636)])
def test_least_queries_of_an_estimate(percentile: float, least: int) -> None:
    assert min_queries(percentile, overlatency=1) == least
    assert estimate_index(least, percentile) == least - 1
    assert estimate_index(least - 1, percentile) is None
    assert discards(least - 1, percentile) is None


@pytest.mark.parametrize(("overlatency", "least"), [(0, 459), (5, 1307), (10, 2010)])
def test_least_queries_of_a_server(overlatency: int, least: int) -> None:
    assert min_queries(0.99, overlatency) == least
    assert met(least, overlatency, 0.99)
    assert not met(least - 1, overlatency, 0.99)


@pytest.mark.parametrize(("queries", "overlatency"), [(0, 0), (1, 1), (500, 500)])
def test_nothing_is_shown_by_nothing_or_by_failures_alone(queries: int, overlatency: int) -> None:
    assert not met(queries, overlatency, 0.99)


@pytest.mark.parametrize(("queries", "overlatency"), [(5, 6), (5, -1), (-1, 0)])
def test_impossible_counts_are_refused(queries: int, overlatency: int) -> None:
    with pytest.raises(ValueError, match="cannot be over the limit"):
        met(queries, overlatency, 0.99)


@pytest.mark.parametrize("queries", [64, 100, 1000, 123_457, 13_000_000])
def test_the_estimate_leaves_out_as_many_as_it_may(queries: int) -> None:
    left_out = discards(queries, 0.9)
    assert left_out is not None
    assert met(queries, left_out + 1, 0.9)
    assert not met(queries, left_out + 2, 0.9)


@pytest.mark.parametrize("percentile", [0.0, 1.0, 99.0])
def test_a_percentile_is_a_fraction(percentile: float) -> None:
    with pytest.raises(ValueError, match="no percentile as a fraction"):
        min_queries(percentile)


@pytest.mark.parametrize(
    ("percentile", "queries", "late"), [(0.99, 458, 0), (0.99, 459, 0), (0.99, 1306, 5), (0.99, 1307, 5), (0.9, 500, 9)]
)
def test_server_as_loadgen(tmp_path: Path, percentile: float, queries: int, late: int) -> None:
    log = loadgen_says(tmp_path, "Server", percentile, queries, late)
    # A machine that stalls adds late queries of its own; LoadGen's count is what both judge.
    overlatency = log["result_overlatency_query_count"]
    assert overlatency >= late
    assert met(queries, overlatency, percentile) == log["early_stopping_met"]
    text = log["early_stopping_result"]
    if log["early_stopping_met"]:
        assert "Run successful" in text
    else:
        assert min_queries(percentile, overlatency) - queries == number_in(text, r"at least (\d+) more queries")


@pytest.mark.parametrize(
    ("scenario", "percentile", "queries"),
    [
        ("SingleStream", 0.9, 63),
        ("SingleStream", 0.9, 64),
        ("SingleStream", 0.9, 1024),
        ("MultiStream", 0.99, 661),
        ("MultiStream", 0.99, 662),
        ("MultiStream", 0.99, 2500),
    ],
)
def test_estimates_as_loadgen(tmp_path: Path, scenario: str, percentile: float, queries: int) -> None:
    log = loadgen_says(tmp_path, scenario, percentile, queries)
    text, left_out = log["early_stopping_result"], discards(queries, percentile)
    assert (left_out is not None) == log["early_stopping_met"]
    if left_out is None:
        assert number_in(text, r"at least (\d+) queries") == min_queries(percentile, overlatency=1)
    else:
        assert number_in(text, r"Would discard (\d+) highest") == left_out


@pytest.mark.parametrize(
    ("scenario", "percentile", "queries", "key"),
    [("SingleStream", 0.9, 128, "early_stopping_latency_ss"), ("MultiStream", 0.99, 1400, "early_stopping_latency_ms")],
)
def test_the_estimate_is_the_latency_at_our_index(
    tmp_path: Path, scenario: str, percentile: float, queries: int, key: str
) -> None:
    """As many slow queries as are left out do not touch the estimate, and one more does."""
    index = estimate_index(queries, percentile)
    assert index is not None
    left_out = queries - 1 - index
    assert left_out > 0
    for late, slow in ((left_out, False), (left_out + 1, True)):
        folder = tmp_path / str(late)
        folder.mkdir()
        assert (loadgen_says(folder, scenario, percentile, queries, late)[key] >= SLOW_MS * MS) == slow
