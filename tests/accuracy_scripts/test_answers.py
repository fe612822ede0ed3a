"""Reading LoadGen's accuracy log: what it writes, and what is left of it when something went wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accuracy_scripts.answers import AnswerLog, coverage, in_index_order, read_log
from common.errors import UsageError

pytestmark = pytest.mark.side_by_side

# LoadGen keeps global state and wants a process of its own. Answers sample i with 3 * i, out of order and in parts.
LOADGEN = """
import sys
import numpy as np
import mlperf_loadgen as loadgen

def issue(ids, indices):
    answers = np.asarray(indices, np.int64) * 3
    for start in reversed(range(0, len(ids), 7)):
        loadgen.QuerySamplesComplete([
            loadgen.QuerySampleResponse(ids[k], answers.ctypes.data + 8 * k, 8)
            for k in range(start, min(start + 7, len(ids)))
        ])

settings = loadgen.TestSettings()
settings.scenario = loadgen.TestScenario.Offline
settings.mode = getattr(loadgen.TestMode, sys.argv[2])
settings.min_duration_ms = 10
settings.offline_expected_qps = 1000
logs = loadgen.LogSettings()
output = loadgen.LogOutputSettings()
output.outdir = sys.argv[1]
logs.log_output = output
logs.enable_trace = False
sut = loadgen.ConstructFastSUT(issue, lambda: None)
qsl = loadgen.ConstructQSL(100, 100, lambda indices: None, lambda indices: None)
loadgen.StartTestWithLogSettings(sut, qsl, settings, logs, "/dev/null/audit.config")
"""


def loadgen_log(folder: Path, mode: str) -> Path:
    subprocess.run([sys.executable, "-c", LOADGEN, str(folder), mode], check=True, timeout=60)
    return folder / "mlperf_log_accuracy.json"


def entry(number: int, index: Any, data: Any = "0500000000000000") -> dict[str, Any]:
    return {"seq_id": number, "qsl_idx": index, "data": data}


def written(folder: Path, content: Any) -> Path:
    path = folder / "log.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def log_of(payload: bytes, width: int) -> AnswerLog:
    rows = np.frombuffer(payload, np.uint8).reshape(-1, width)
    numbers = np.arange(len(rows))
    return AnswerLog(numbers, numbers, rows)


def test_loadgens_own_accuracy_log(tmp_path: Path) -> None:
    log = read_log(loadgen_log(tmp_path, "AccuracyOnly"))
    assert [str(array.dtype) for array in (log.seq_ids, log.indices, log.payload)] == ["int64", "int64", "uint8"]
    assert log.payload.shape == (100, 8)
    assert sorted(log.seq_ids.tolist()) == list(range(100))
    assert in_index_order(log, 100, "int64").tolist() == [3 * index for index in range(100)]
    assert log.decode("int64").tolist() == (3 * log.indices).tolist()


def test_loadgens_own_performance_log_is_empty(tmp_path: Path) -> None:
    log = read_log(loadgen_log(tmp_path, "PerformanceOnly"))
    assert log.payload.shape == (0, 0)
    assert log.decode("int64").shape == (0,)
    assert coverage(log.indices, 100) == "Index 0 is missing: 100 of 100 samples have no answer."


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("[\n", "ends early"),
        ('[\n{ "seq_id" : 0, "qsl_idx" : 1, "data" : "05000000', "ends early: LoadGen did not finish (line 2"),
        ('[{"seq_id": 0,, "qsl_idx": 1}]', "is no list of answers in JSON (line 1"),
        (":::MLLOG {}", "is no list of answers in JSON"),
        ("[" * 100_000, "is no list of answers in JSON"),
        ('{"seq_id": 0}', "is no list of answers"),
        ([5], "entry 0 is no answer"),
        ([entry(0, 1), {"seq_id": 1, "data": "05"}], "entry 1 has no whole number as its qsl_idx"),
        ([entry(0, 1), entry(1, 1.5)], "entry 1 has no whole number as its qsl_idx"),
        ([entry(0, True)], "entry 0 has no whole number as its qsl_idx"),
        ([entry(0, 2**70)], "entry 0 has no whole number as its qsl_idx"),
        ([entry(0, 0), entry(1, 1, None)], "entry 1 has data that is not hexadecimal"),
        ([entry(0, 0), entry(1, 1, "05000000000000zz")], "entry 1 has data that is not hexadecimal"),
        ([entry(0, 0), entry(1, 1, "05 000000000000 ")], "entry 1 has data that is not hexadecimal"),
        ([entry(0, 0, "050"), entry(1, 1, "060")], "entry 0 has data that is not hexadecimal"),
        ([entry(0, 0, "05"), entry(1, 1, "05"), entry(2, 2, "0505")], "entry 2 holds 2 bytes where those before it"),
        (
            [entry(0, 0, "0505"), entry(1, 1, "050505"), entry(2, 2, "05")],
            "entry 1 holds 3 bytes where those before it",
        ),
        ([entry(0, 0), entry(1, 1, "")], "entry 1 holds 0 bytes where those before it hold 8"),
    ],
)
def test_a_bad_log_is_one_sentence_with_the_file_and_the_entry(tmp_path: Path, content: Any, complaint: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageError) as caught:
        read_log(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_log_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_bytes(b"\xff\xfe[\x80")
    with pytest.raises(UsageError, match="no list of answers in JSON"):
        read_log(path)


@pytest.mark.parametrize("name", ["absent.json", "."])
def test_a_log_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_log(tmp_path / name)


@pytest.mark.parametrize(("dtype", "code"), [("float32", "<f4"), ("int32", "<i4"), ("int64", "<i8")])
def test_payloads_become_values(dtype: str, code: str) -> None:
    values = np.array([[1, -2], [3, 4], [5, 60_000]], code)
    width = values.itemsize
    assert log_of(values.tobytes(), 2 * width).decode(dtype).tolist() == values.tolist()
    single = log_of(values.tobytes(), width).decode(dtype)
    assert single.shape == (6,)
    assert single.dtype == np.dtype(dtype)
    assert single.tolist() == values.ravel().tolist()


def test_payloads_that_hold_no_whole_values() -> None:
    with pytest.raises(UsageError, match="6 bytes long: they hold no int32, which takes 4 bytes"):
        log_of(bytes(12), 6).decode("int32")
    empty = AnswerLog(np.arange(3), np.arange(3), np.zeros((3, 0), np.uint8))
    with pytest.raises(UsageError, match="empty: they hold no int64"):
        empty.decode("int64")


@pytest.mark.parametrize(
    ("indices", "total", "sentence"),
    [
        ([2, 0, 1], 3, None),
        ([], 0, None),
        ([0, 3, 1, 2], 3, "Index 3 is out of range: the samples are 0 to 2."),
        ([0, -1, 9], 3, "Index -1 is out of range: the samples are 0 to 2 (1 more out of range)."),
        ([0], 0, "Index 0 is out of range: there is no sample."),
        ([0, 1, 1, 2, 1], 3, "Index 1 is answered 3 times."),
        ([0, 0, 1, 1, 2], 3, "Index 0 is answered 2 times (1 more answered more than once)."),
        ([0, 2], 3, "Index 1 is missing: 1 of 3 samples have no answer."),
        ([0, 0, 2], 3, "Index 0 is answered 2 times."),
    ],
)
def test_every_sample_must_be_answered_once(indices: list[int], total: int, sentence: str | None) -> None:
    found = np.array(indices, np.int64)
    assert coverage(found, total) == sentence
    log = AnswerLog(np.arange(len(found)), found, np.zeros((len(found), 8), np.uint8))
    if sentence:
        with pytest.raises(UsageError) as caught:
            in_index_order(log, total, "int64")
        assert str(caught.value) == sentence
    else:
        assert len(in_index_order(log, total, "int64")) == total
