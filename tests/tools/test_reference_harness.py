"""Upstream's harness beside ours: what it is given, what is read from it, and how it ends.

Upstream itself is not here. A small harness of our own stands in its place: it takes the same flags and drives the real
LoadGen with a real user.conf.
"""

import dataclasses
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import RunFailed, UsageError
from suite import plugins, rules
from tests.suite.commands import Command
from tools import reference_harness, reference_model
from tools.reference_harness import DEFAULT_FLAGS, HarnessFlags, Upstream, find, highest_valid_qps, measure, until_valid
from tools.reference_samples import LIST, Prepared, prepare

pytestmark = pytest.mark.side_by_side

WORKLOAD = plugins.workload("fashion-resnet")
COUNT = 200

# {FAULT} names what it does wrong.
STAND_IN = """
import argparse, os, pathlib, sys, threading, time
import mlperf_loadgen as lg
import numpy as np
import onnxruntime

flags = argparse.ArgumentParser()
flags.add_argument("--use_preprocessed_dataset", action="store_true", required=True)
flags.add_argument("--accuracy", action="store_true")
for name in ("scenario", "backend", "model", "model-name", "dataset", "dataset-path", "preprocessed_dir", "user_conf",
             "output", "threads", "max-batchsize"):
    flags.add_argument("--" + name)
given = flags.parse_args()
fault = "{FAULT}"
if fault == "hangs":
    time.sleep(600)
if fault == "crashes":
    raise SystemExit("out of cheese")
if fault == "is killed":
    os.kill(os.getpid(), 9)
if fault == "logs nothing":
    raise SystemExit(0)
folder = pathlib.Path(given.preprocessed_dir)
names = [line.split()[0] for line in (folder / "val_map.txt").read_text().splitlines()]
samples = np.stack([np.load(folder / (name + ".npy")) for name in names])
session = onnxruntime.InferenceSession(given.model, providers=["CPUExecutionProvider"])
settings = lg.TestSettings()
if fault != "reads no user.conf":
    settings.FromConfig(given.user_conf, given.model_name, given.scenario)
settings.scenario = getattr(lg.TestScenario, given.scenario)
settings.mode = lg.TestMode.AccuracyOnly if given.accuracy else lg.TestMode.PerformanceOnly
if fault == "fails on a batch":
    print("ERROR:main: a batch failed", file=sys.stderr)

def issue(queries):
    for at in range(0, len(queries), 64):
        part = queries[at : at + 64]
        outputs = session.run(None, {"input": samples[[one.index for one in part]]})[0]
        values = np.argmax(outputs, axis=1).astype(np.float32)
        size = 0 if fault == "answers nothing" else 4
        start = values.ctypes.data
        lg.QuerySamplesComplete([lg.QuerySampleResponse(q.id, start + 4 * n, size) for n, q in enumerate(part)])

os.makedirs(given.output)
log = lg.LogSettings()
log.enable_trace = False
log.log_output.outdir = given.output
sut = lg.ConstructSUT(issue, lambda: None)
qsl = lg.ConstructQSL(len(names), len(names), lambda _: None, lambda _: None)
lg.StartTestWithLogSettings(sut, qsl, settings, log, "none.config")
"""


def stand_in(folder: Path, fault: str = "none") -> Path:
    """Writes a checkout with our own small harness and returns its folder."""
    main = folder / reference_harness.MAIN
    main.parent.mkdir(parents=True)
    main.write_text(STAND_IN.replace("{FAULT}", fault))
    return folder


def upstream(folder: Path, fault: str = "none") -> Upstream:
    # The stand-in does without the packages that upstream imports and we do not.
    return Upstream(stand_in(folder, fault) / reference_harness.MAIN, sys.executable)


def rules_of(scenario: str, milliseconds: int = 200) -> Any:
    load = rules.load("quick").load_rules(scenario, WORKLOAD.dataset_name)
    return dataclasses.replace(load, min_duration_ms=milliseconds)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Prepared:
    """Returns some samples, and the model that computes nothing."""
    folder = tmp_path_factory.mktemp("prepared")
    model = folder / "null.onnx"
    model.write_bytes(reference_model.null_model(WORKLOAD))
    return prepare(WORKLOAD, model, data_root / WORKLOAD.dataset_name, folder, COUNT)


def test_the_files_hold_the_dataset_s_samples_and_labels(prepared: Prepared, data_root: Path) -> None:
    dataset = WORKLOAD.open_dataset(data_root / WORKLOAD.dataset_name)
    dataset.load(range(COUNT))
    lines = [line.split() for line in (prepared.samples / LIST).read_text().splitlines()]
    read = np.stack([np.load(prepared.samples / f"{name}.npy") for name, _ in lines])
    assert read.dtype == np.float32
    assert np.array_equal(read, dataset.batch(range(COUNT)))
    assert [int(label) for _, label in lines] == dataset.truth()[:COUNT].tolist() == prepared.labels.tolist()


def test_files_are_written_once_and_again_where_some_are_gone(
    prepared: Prepared, tmp_path: Path, data_root: Path
) -> None:
    def again(count: int) -> Path:
        return prepare(WORKLOAD, prepared.model, data_root / WORKLOAD.dataset_name, tmp_path, count).samples

    first = again(20)
    written = first.stat().st_ino
    assert again(20).stat().st_ino == written
    assert again(21) != first
    next(first.glob("*.npy")).unlink()
    assert again(20) == first
    assert len(list(first.glob("*.npy"))) == 20
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_loadgen_takes_the_settings_as_meant(prepared: Prepared, tmp_path: Path) -> None:
    harness = upstream(tmp_path)
    for scenario, hint in (("offline", 5000.0), ("single-stream", 2e5), ("server", 300.5)):
        # `measure` compares what LoadGen took with what was meant, and raises where they differ.
        found = measure(harness, prepared, scenario, rules_of(scenario), hint)
        assert found["mode"] == "PerformanceOnly"
        assert found["samples_per_second"] > 0
        assert found["answers"] > 0
    assert "*.Server.target_qps = 300.5\n" in found["user_conf"]
    assert "*.Server.target_latency = 15\n" in found["user_conf"]
    assert found["percentiles_ns"][0.99] > 0


def test_a_server_within_its_limit_is_valid_and_one_beyond_it_is_not(prepared: Prepared, tmp_path: Path) -> None:
    harness = upstream(tmp_path)
    generous = dataclasses.replace(rules_of("server"), target_latency_ms=5000)
    assert measure(harness, prepared, "server", generous, 2000)["valid"]
    # No answer comes within no time at all.
    impossible = dataclasses.replace(rules_of("server"), target_latency_ms=0)
    found = measure(harness, prepared, "server", impossible, 2000)
    assert not found["valid"]
    assert found["why_not"]


def test_an_accuracy_test_answers_every_sample_once(prepared: Prepared, tmp_path: Path) -> None:
    found = measure(upstream(tmp_path), prepared, "offline", rules_of("offline"), 1000, accuracy=True)
    samples = np.stack([np.load(path) for path in sorted(prepared.samples.glob("*.npy"))])
    # The model that computes nothing has a sample's first ten pixels as its outputs.
    expected = (samples.reshape(COUNT, -1)[:, :10].argmax(axis=1) == prepared.labels).mean() * 100
    assert (found["mode"], found["answers"]) == ("AccuracyOnly", COUNT)
    assert found["right_percent"] == pytest.approx(expected)
    assert found["samples_per_second"] is None
    assert reference_harness.row(found).split()[:2] == ["offline", "-"]


def test_the_model_brings_the_runtime_s_threads(prepared: Prepared, tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(
        "import os, sys, onnxruntime\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "model = sys.argv[sys.argv.index('--model') + 1]\n"
        "session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])\n"
        "sys.exit(f'{len(os.listdir(\"/proc/self/task\")) - before} threads')\n"
    )
    harness = Upstream(main, sys.executable)
    for threads in (1, 3):
        with pytest.raises(RunFailed, match=f"'{threads - 1} threads'"):
            measure(harness, prepared, "offline", rules_of("offline"), 1000, HarnessFlags(intra_op_threads=threads))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("crashes", "ended with code 1; its last words: 'out of cheese'"),
        ("is killed", "ended with code -9; it said nothing"),
        ("logs nothing", "left no sound log of LoadGen's: .*mlperf_log_detail.txt"),
        ("answers nothing", "left no sound log of LoadGen's: The logged answers are empty"),
        ("fails on a batch", "reported 1 errors, the first of them 'ERROR:main: a batch failed'"),
        ("reads no user.conf", "ran with effective_min_duration_ms = 10000, not 200"),
    ],
)
def test_a_harness_that_fails_has_no_figures(prepared: Prepared, tmp_path: Path, fault: str, sentence: str) -> None:
    with pytest.raises(RunFailed, match=sentence):
        measure(upstream(tmp_path, fault), prepared, "offline", rules_of("offline"), 2000)


def test_a_harness_that_hangs_is_ended(prepared: Prepared, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(RunFailed, match="did not end within 1 s and was killed"):
        measure(upstream(tmp_path, "hangs"), prepared, "offline", rules_of("offline"), 2000, bound_s=1)
    # It would sleep for ten minutes.
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("start", [10, 5000, 900_000])
def test_the_highest_load_is_found_whatever_the_start(start: float) -> None:
    found = highest_valid_qps(lambda qps: qps <= 7000, start, tries=25)
    assert found is not None
    assert 7000 / 1.05 <= found <= 7000


def test_no_load_is_found_where_none_holds() -> None:
    assert highest_valid_qps(lambda qps: False, 1000, tries=5) is None


def test_a_load_that_failed_once_is_tried_again() -> None:
    asked: list[float] = []

    def unlucky(qps: float) -> bool:
        asked.append(qps)
        return len(asked) > 1 and qps <= 1000

    assert highest_valid_qps(unlucky, 1000, tries=2) == 1000
    assert asked == [1000, 1000, 2000, 2000]


def test_the_next_hint_comes_from_the_test_that_was_too_short() -> None:
    def harness(hint: float) -> dict[str, Any]:
        hints.append(hint)
        return {"valid": hint >= 8000, "samples_per_second": 7000.0}

    hints: list[float] = []
    assert until_valid(harness, "offline", 1000)["valid"]
    assert hints == [1000, 9100]


def test_a_folder_without_upstream_is_refused(tmp_path: Path) -> None:
    ended = Command("tools.reference_harness", f"--reference={tmp_path}").end()
    assert ended.code == 2
    assert f"{tmp_path} is no checkout of mlcommons/inference" in ended.sentence


def test_a_python_without_the_packages_is_refused_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = stand_in(tmp_path)
    monkeypatch.setitem(reference_harness.PACKAGES, "no_such_module", "no-such-package")
    with pytest.raises(UsageError, match=r"lacks (.*, )?no_such_module.* pip install .*no-such-package"):
        find(checkout, sys.executable)


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/false", os.devnull])
def test_what_is_no_python_is_refused(tmp_path: Path, python: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(python)} cannot be used as a Python"):
        find(stand_in(tmp_path), python)


def test_a_command_prints_a_line_a_test(tmp_path: Path) -> None:
    # The packages that upstream imports and we do not, as empty modules.
    packages = tmp_path / "packages"
    for name in ("cv2", "pycocotools"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    root = Path(__file__).parents[2]
    words = (f"--reference={stand_in(tmp_path / 'checkout')}", "--null", "--seconds=0.2", "--max-batch=8")
    path = os.pathsep.join(map(str, (root, packages)))
    ended = Command("tools.reference_harness", *words, environment={"PYTHONPATH": path}).end()
    assert ended.code == 0, ended.stderr
    heads, *rows = ended.stdout.splitlines()
    assert heads.split()[:3] == ["scenario", "VALID", "samples/s"]
    assert rows and all(row.startswith("offline ") and row.endswith("max_batch=8") for row in rows)
    assert "offline: 0.2 s" in ended.stderr
    assert ended.left_behind == []
    assert not list((tmp_path / "checkout").rglob("__pycache__"))


def test_flags_are_told_as_they_were_given() -> None:
    assert str(DEFAULT_FLAGS) == "default"
    assert DEFAULT_FLAGS.words() == []
    chosen = HarnessFlags(threads=1, max_batch=64, coalesce=True)
    assert str(chosen) == "threads=1 max_batch=64 coalesce=True"
    assert chosen.words() == ["--threads", "1", "--max-batchsize", "64"]
