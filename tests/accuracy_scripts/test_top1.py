"""Top-1 as a user runs it: alone, on files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accuracy_scripts.top1 import read_labels, score
from common.errors import UsageError

pytestmark = pytest.mark.side_by_side

ROOT = Path(__file__).parents[2]


def top1(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accuracy_scripts.top1", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def write_log(path: Path, answers: np.ndarray) -> Path:
    """Writes a log in LoadGen's format, its entries in an order of their own."""
    order = np.random.default_rng(1).permutation(len(answers))
    lines = [
        f'{{ "seq_id" : {number}, "qsl_idx" : {index}, "data" : "{answers[index].tobytes().hex().upper()}" }}'
        for number, index in enumerate(order)
    ]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    return path


def write_val_map(path: Path, labels: np.ndarray) -> Path:
    path.write_text("".join(f"ILSVRC2012_val_{index:08d}.JPEG {label}\n" for index, label in enumerate(labels)))
    return path


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Returns a log of 50,000 answers, 38,228 of them right, and its val_map.txt: MLPerf's ResNet-50."""
    folder = tmp_path_factory.mktemp("imagenet")
    truth = np.random.default_rng(0).integers(0, 1000, 50_000)
    answers = truth.copy()
    answers[38_228:] = (answers[38_228:] + 1) % 1000
    return write_log(folder / "mlperf_log_accuracy.json", answers), write_val_map(folder / "val_map.txt", truth)


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    """Returns a log of four answers, three of them right, and its val_map.txt."""
    log = write_log(tmp_path / "log.json", np.array([5, 6, 7, 9]))
    return log, write_val_map(tmp_path / "val_map.txt", np.array([5, 6, 7, 8]))


def test_the_first_line_is_upstreams(imagenet: tuple[Path, Path]) -> None:
    log, labels = imagenet
    done = top1("--log", log, "--labels", labels, "--dtype", "int64")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "accuracy=76.456%, good=38228, total=50000",
        "95 % interval (Wilson): 76.082% to 76.826%",
    ]


def test_json_is_one_object(imagenet: tuple[Path, Path]) -> None:
    log, labels = imagenet
    done = top1(f"--log={log}", f"--labels={labels}", "--json")
    assert done.returncode == 0
    record = json.loads(done.stdout)
    assert (record["top1"], record["good"], record["total"]) == (76.456, 38228, 50000)
    assert record["low_95"] == pytest.approx(76.082, abs=5e-4)
    assert record["high_95"] == pytest.approx(76.826, abs=5e-4)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_all_data_types_and_npy_labels(tmp_path: Path, dtype: str) -> None:
    log = write_log(tmp_path / "log.json", np.array([3, 1, 0], dtype))
    np.save(tmp_path / "labels.npy", np.array([3, 1, 2], np.uint8))
    done = top1("--log", log, "--labels", tmp_path / "labels.npy", "--dtype", dtype)
    assert done.stdout.startswith("accuracy=66.667%, good=2, total=3\n")


def test_help_fits_one_screen() -> None:
    done = top1("--helpshort")
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m accuracy_scripts.top1 [flags]" in done.stdout
    assert len(done.stdout.splitlines()) <= 24


def refused(done: subprocess.CompletedProcess[str], complaint: str) -> None:
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--log", "LOG"], "Missing --labels"),
        (["--labels", "LABELS"], "Missing --log"),
        (["--log", "LOG", "--labels", "LABELS", "--label"], "Unknown flag --label. Did you mean --labels?"),
        (["--log", "LOG", "--labels", "LABELS", "--dtype", "int8"], "Available: float32, int32, int64"),
        (["--log", "LOG", "--labels", "LABELS", "--dtype", "float32"], "not 2 values"),
        (["--log", "LOG", "--labels", "LABELS", "other"], "'other' is no flag"),
        (["--log", "LABELS", "--labels", "LABELS"], "is no list of answers"),
        (["--log", "LOG", "--labels", "LOG"], "Line 1 of"),
        (["--log", "absent", "--labels", "LABELS"], "The accuracy log absent cannot be read"),
        (["--log", "LOG", "--labels", "absent"], "The labels absent cannot be read"),
        (["--log", "LOG", "--labels", "absent.npy"], "The labels absent.npy cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(small: tuple[Path, Path], words: list[str], complaint: str) -> None:
    files = {"LOG": str(small[0]), "LABELS": str(small[1])}
    refused(top1(*(files.get(word, word) for word in words)), complaint)


def test_answers_and_labels_must_be_of_one_size(small: tuple[Path, Path]) -> None:
    log, labels = small
    lines = labels.read_text().splitlines(keepends=True)
    labels.write_text("".join(lines[:3]))
    refused(top1("--log", log, "--labels", labels), "Index 3 is out of range: the samples are 0 to 2.")
    labels.write_text("".join([*lines, "more.jpeg 4\n"]))
    refused(top1("--log", log, "--labels", labels), "Index 4 is missing: 1 of 5 samples have no answer.")


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (2.5, "2.5")])
def test_a_float_that_is_no_class_is_named(tmp_path: Path, value: float, shown: str) -> None:
    log = write_log(tmp_path / "log.json", np.array([1, value, 0], np.float32))
    labels = write_val_map(tmp_path / "val_map.txt", np.array([1, 2, 0]))
    done = top1("--log", log, "--labels", labels, "--dtype", "float32")
    refused(done, f"The answer to sample 1 is {shown}, which is no class")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "Line 1 of {} is empty"),
        ("a.jpeg 1\n\nb.jpeg 2\n", "Line 2 of {} is empty"),
        ("a.jpeg 1\nb.jpeg\n", "Line 2 of {} is 'b.jpeg'; each line must be a file and its label"),
        ("a.jpeg 1\nb.jpeg -2\n", "Line 2 of {} is 'b.jpeg -2'"),
        ("a.jpeg 1.0\n", "Line 1 of {} is 'a.jpeg 1.0'"),
        ("a.jpeg 1 2\n", "Line 1 of {} is 'a.jpeg 1 2'"),
        ("a.jpeg " + "9" * 30, "Line 1 of {} is"),
        ("x" * 5000, "x..."),
    ],
)
def test_a_val_map_names_its_bad_line(tmp_path: Path, content: str, complaint: str) -> None:
    path = tmp_path / "val_map.txt"
    path.write_text(content)
    with pytest.raises(UsageError) as caught:
        read_labels(path)
    assert complaint.format(path) in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_val_map_may_have_windows_line_ends_and_blank_lines_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "val_map.txt"
    path.write_bytes(b"a.jpeg 65\r\nb.jpeg\t970\r\n\r\n\r\n")
    assert read_labels(path).tolist() == [65, 970]


def test_labels_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "labels.gz"
    path.write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(UsageError, match="are no text"):
        read_labels(path)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.array([1.0, 2.0]), "float64 of shape"),
        (np.array([[1, 2]]), "shape (1, 2)"),
        (np.array([3, -1]), "hold -1 for sample 1"),
        (np.array([2**63], np.uint64), "hold 9223372036854775808 for sample 0"),
    ],
)
def test_an_npy_must_hold_classes(tmp_path: Path, labels: np.ndarray, complaint: str) -> None:
    np.save(tmp_path / "labels.npy", labels)
    with pytest.raises(UsageError) as caught:
        read_labels(tmp_path / "labels.npy")
    assert complaint in str(caught.value)


def test_a_pickle_in_an_npy_is_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "labels.npy", np.array([Trap()]), allow_pickle=True)
    with pytest.raises(UsageError, match="no NumPy array"):
        read_labels(tmp_path / "labels.npy")
    assert not (tmp_path / "sprung").exists()


def test_any_part_of_an_npy_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", np.arange(4))
    whole = (tmp_path / "whole.npy").read_bytes()
    part = tmp_path / "part.npy"
    for length in range(len(whole)):
        part.write_bytes(whole[:length])
        with pytest.raises(UsageError):
            read_labels(part)


def test_an_npy_that_claims_more_than_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, np.arange(4))
    path.write_bytes(path.read_bytes().replace(b"(4,), }" + b" " * 15, b"(4000000000000000,), }"))
    assert b"(4000000000000000,)" in path.read_bytes()
    with pytest.raises(UsageError):
        read_labels(path)


def test_score_needs_as_many_answers_as_labels() -> None:
    with pytest.raises(UsageError, match="There are 2 answers to 3 samples"):
        score(np.array([1, 2]), np.array([1, 2, 3]))
    with pytest.raises(UsageError, match="nothing to score"):
        score(np.array([], np.int64), np.array([], np.int64))


@pytest.mark.parametrize(("answers", "top1_percent"), [([1, 2], 100.0), ([0, 0], 0.0)])
def test_score_at_its_ends(answers: list[int], top1_percent: float) -> None:
    metrics = score(np.array(answers), np.array([1, 2]))
    assert metrics["top1"] == top1_percent
    assert 0.0 <= metrics["low_95"] <= top1_percent <= metrics["high_95"] <= 100.0
