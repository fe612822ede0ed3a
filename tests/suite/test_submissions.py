"""Submissions with default flags, from the command to the verdict: the streams, and each backend and workload.

Offline and Server are submitted for tests/suite/test_mutations.py, which asserts that they count.
"""

import json
import os
import platform

import pytest

from suite.allocator import CHOSEN_BY
from tests.evidence_factory import DETECTOR, submission
from tests.suite.commands import start


@pytest.mark.parametrize(
    ("scenario", "backend", "workload"),
    [
        ("single-stream", "onnxruntime", "fashion-mobilenet"),
        ("multi-stream", "torch", "fashion-resnet"),
    ],
)
def test_a_submission_counts(scenario: str, backend: str, workload: str) -> None:
    made = submission(scenario, f"--backend={backend}", f"--workload={workload}")
    verdict = json.loads((made / "verdict.json").read_text())
    assert verdict["counts"] and not verdict["submittable"]
    assert verdict["closing"] == "counts (quick profile: not submittable)"
    record = json.loads((made / "performance" / "run.json").read_text())
    assert (record["workload"]["name"], record["scenario"], record["backend"]["name"]) == (workload, scenario, backend)
    # How the process was set that ran it; no stream's thread yields.
    chosen = any(name.startswith(CHOSEN_BY) for name in os.environ)
    assert record["keeps_freed_memory"] is (platform.libc_ver()[0] == "glibc" and not chosen)
    assert record["issuing_thread_yields"] is False


def test_a_detector_with_cheaper_post_processing_counts_in_the_open_division() -> None:
    made = submission(*DETECTOR)
    verdict = json.loads((made / "verdict.json").read_text())
    assert verdict["counts"] and all(check["passed"] for check in verdict["checks"])
    assert any("its post-processing is another than the reference's" in note for note in verdict["notes"])
    record = json.loads((made / "accuracy" / "run.json").read_text())
    assert record["variant"]["model"]["chain"][-1] == "postprocess:fast"


def test_a_latency_of_more_digits_than_loadgen_writes_is_no_fault(tmp_path: object) -> None:
    words = ("--backend=simulated", "--backend-options=per_batch_us=100,per_sample_us=100", "--threads=1")
    load = ("--expected-latency-ms=1.2345678", "--mode=performance", "--scenario=multi-stream", "--json")
    ended = start(*words, *load, f"--results-dir={tmp_path}").end(90)
    assert ended.code == 0, ended.stdout + ended.stderr
    assert {check["name"]: check["passed"] for check in json.loads(ended.stdout)["verdict"]["checks"]}["settings"]
