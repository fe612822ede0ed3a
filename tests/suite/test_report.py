"""What the real command prints: figure, accuracy and its interval, how often it was tried, why it is invalid."""

import json
import re
from pathlib import Path

import pytest

from suite.law.drain import Counted
from suite.report import _drained, _figure
from tests.evidence_factory import submission
from tests.suite.commands import Ended, faulty_run, records, start

SIMULATED = ("--backend=simulated", "--max-batch=32", "--sessions=1", "--threads=1")
QUICK = "--backend-options=per_batch_us=100,per_sample_us=10"


def ended(results: Path, *words: str) -> Ended:
    return start(f"--results-dir={results}", *SIMULATED, *words).end(120)


def test_a_latency_is_in_milliseconds_and_a_throughput_in_its_own_unit() -> None:
    assert _figure(273_300.0, "ns") == "0.2733 ms"
    assert _figure(10_970.72, "samples/s") == "10,970.7 samples/s"


def test_where_the_lower_figure_counts_loadgens_own_is_told() -> None:
    assert _drained(Counted(90.0, "queries/s", "completed queries", 100.0, 90.0)) == (
        "; LoadGen says 100.0 queries/s, until the last completion it is less"
    )
    both_alike = Counted(100.0, "queries/s", "completed queries", 100.0, 99.0)
    assert _drained(both_alike) == "; until the last completion 99.0"
    assert _drained(Counted(273_300.0, "ns", "latency", 273_300.0, None)) == ""


def test_a_submission_is_told_whole() -> None:
    """The one that the mutations are made of, reported again from what lies on disk."""
    made = submission("offline")
    text = (made / "report.txt").read_text()
    assert re.search(r"^fashion-resnet on onnxruntime [\d.]+ \(cpu\), offline, quick profile$", text, re.MULTILINE)
    assert re.search(r"^fp32 reference, variant [0-9a-f]{16}; ", text, re.MULTILINE)
    assert re.search(r"^  throughput  [\d,]+\.\d samples/s  \(LoadGen .*: VALID, [\d,]+ samples", text, re.MULTILINE)
    interval = r"95 % interval 92\.87 to 93\.84; target 92\.44: 99 % of the fp32 reference"
    assert re.search(rf"^  accuracy    93\.37 % top1  \({interval}\)$", text, re.MULTILINE)
    assert "\ncounts (quick profile: not submittable)\n" in text


def test_an_invalid_run_says_which_rule_the_line_and_what_to_change_and_is_tried_as_often_as_asked(
    tmp_path: Path,
) -> None:
    """Told a small part of what it can do, Offline ends long before its time."""
    load = ("--scenario=offline", "--target-qps=20000", "--mode=performance", QUICK)
    once = ended(tmp_path / "once", *load, "--retry=0")
    assert once.code == 1
    assert "invalid because of its minimum duration: " in once.stdout and "give a higher --target-qps" in once.stdout
    assert ':::MLLOG {"key": "result_min_duration_met", "value": false' in once.stdout
    assert "attempts    1\n" in once.stdout
    twice = ended(tmp_path / "twice", *load, "--retry=1")
    assert twice.code == 0
    assert twice.stderr.count("Trying again with that load.") == 1
    assert [record["hint"]["source"] for _, record in records(tmp_path / "twice")] == ["flag", "retry"]
    # Of two attempts one is valid, so there is nothing to compare it with.
    assert "attempts    2\n" in twice.stdout


@pytest.mark.side_by_side
def test_a_retry_is_bounded(tmp_path: Path) -> None:
    """A batch takes longer than the limit, at any load."""
    told = start(*faulty_run(tmp_path, "server", "--retry=1"), fault="dawdles").end(120)
    assert told.code == 1 and len(records(tmp_path)) == 2
    assert "not held within 15 ms at p99" in told.stdout
    assert "invalid because of its latency limit: " in told.stdout


@pytest.mark.side_by_side
def test_how_the_best_compares_with_the_median_is_told(tmp_path: Path) -> None:
    load = ("--scenario=single-stream", "--mode=performance", "--max-batch=1", "--expected-latency-ms=0.1", "--json")
    words = (f"--results-dir={tmp_path}", "--backend=simulated", "--threads=1", QUICK)
    assert start(*words, *load).end(120).code == 0
    told = start(*words, *load[:-1]).end(120)
    assert re.search(r"attempts  2  \(best [\d.]+ ms, [\d.]+ times the median, [\d.]+ ms\)", told.stdout)
    best, ratio, middle = map(
        float, re.findall(r"best ([\d.]+) ms, ([\d.]+) times the median, ([\d.]+) ms", told.stdout)[0]
    )
    assert best <= middle and ratio == pytest.approx(best / middle, abs=0.01)


@pytest.mark.side_by_side
def test_a_backend_of_no_model_passes_alone_and_is_told_that_it_can_never_count(tmp_path: Path) -> None:
    words = ("--backend=null", "--max-batch=1", "--threads=1", f"--results-dir={tmp_path}")
    told = start(*words, "--scenario=single-stream", "--mode=performance").end(120)
    assert told.code == 0, told.stdout + told.stderr
    assert "\ncan never count: " in told.stdout


@pytest.mark.side_by_side
def test_a_submission_of_a_backend_of_no_model_is_refused_by_name_and_by_its_accuracy(tmp_path: Path) -> None:
    told = ended(tmp_path, "--scenario=offline", QUICK, "--json")
    assert told.code == 1
    verdict = json.loads(told.stdout)["verdict"]
    failed = {check["name"] for check in verdict["checks"] if not check["passed"]}
    assert not verdict["counts"] and {"eligible", "complete"} <= failed


@pytest.mark.side_by_side
def test_an_accuracy_run_keeps_its_outputs_and_tells_its_target(tmp_path: Path) -> None:
    import numpy as np

    words = ("--scenario=offline", "--mode=accuracy", "--save-outputs", "--max-batch=64", "--sessions=2", "--threads=1")
    told = start(*words, f"--results-dir={tmp_path}", "--json").end(120)
    assert told.code == 0
    found = json.loads(told.stdout)
    assert found["accuracy"]["top1"] == pytest.approx(93.37) and found["accuracy"]["target"] == pytest.approx(92.4363)
    assert found["accuracy"]["low_95"] < 93.37 < found["accuracy"]["high_95"] and found["invalid_because"] == []
    outputs = np.load(Path(found["runs"]["accuracy"]) / "outputs.npy")
    assert outputs.shape == (10_000, 10) and np.isfinite(outputs).all()


@pytest.mark.side_by_side
def test_coalescing_reaches_loadgen_and_every_runs_answers_are_sampled_by_a_seed_of_its_own(tmp_path: Path) -> None:
    load = ("--scenario=server", "--target-qps=500", "--mode=performance")
    for coalesced in ("--coalesce-queries", "--no-coalesce-queries"):
        # A busy machine may miss the limit; that is not what is asked here.
        assert ended(tmp_path, *load, coalesced, QUICK).code in (0, 1)
    found = [record for _, record in records(tmp_path)]
    logs = [(folder / "mlperf_log_detail.txt").read_text() for folder, _ in records(tmp_path)]
    assert ['"requested_server_coalesce_queries", "value": true' in log for log in logs] == [True, False]
    assert len({record["accuracy_log_rng_seed"] for record in found}) == 2


@pytest.mark.side_by_side
def test_the_search_is_kept_and_made_again_where_asked(tmp_path: Path) -> None:
    words = (f"--results-dir={tmp_path}", "--backend=simulated", "--scenario=offline", "--mode=accuracy", "--threads=1")
    options = "--backend-options=per_batch_us=10,per_sample_us=2"
    assert "finding how to serve it" in start(*words, options).end(120).stderr
    assert "finding how to serve it" not in start(*words, options).end(120).stderr
    assert "finding how to serve it" in start(*words, options, "--search-again").end(120).stderr
    other = {"OMP_NUM_THREADS": "1", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    assert "finding how to serve it" in start(*words, options, environment=other).end(120).stderr


def test_a_name_may_be_typed_in_any_spelling(tmp_path: Path) -> None:
    words = ("--backend=Null", "--max_batch=64", "--sessions=1", "--threads=1", f"--results_dir={tmp_path}")
    told = start(*words, "--scenario", " Single_Stream ", "--mode", "PERFORMANCE", environment={}, cwd=None).end(120)
    assert told.code == 2 and "--sessions has no effect here" in told.sentence
