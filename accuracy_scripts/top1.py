"""Scores an accuracy log of LoadGen's against labels: how often the answer is the right class.

    python -m accuracy_scripts.top1 --log mlperf_log_accuracy.json --labels val_map.txt --dtype int64

Every sample of the labels must be answered exactly once. The first line of output is the one that MLPerf's own
script prints; the second is the uncertainty that the number of samples leaves.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from numpy.typing import NDArray

from accuracy_scripts.answers import DTYPES, in_index_order, read_log
from common.errors import UsageError
from common.files import canonical_json
from common.flags import new_flags, run
from common.statistics import wilson_interval

FLAGS = new_flags()
LOG = flags.DEFINE_string("log", None, "LoadGen's mlperf_log_accuracy.json", required=True, flag_values=FLAGS)
LABELS = flags.DEFINE_string(
    "labels", None, "MLPerf's val_map.txt, or an .npy of whole numbers", required=True, flag_values=FLAGS
)
DTYPE = flags.DEFINE_enum("dtype", "int64", list(DTYPES), "what a logged answer is", flag_values=FLAGS)
JSON = flags.DEFINE_bool("json", False, "print one JSON object", flag_values=FLAGS)

# A label of more digits than this is no class.
MOST_DIGITS = 18


def score(answers: NDArray[Any], truth: NDArray[Any]) -> dict[str, Any]:
    """Returns top1 and its 95 % Wilson interval (low_95, high_95), in percent, with the counts good and total.

    Both arrays are in index order, one class a sample; raises UsageError where the answers are no classes.
    """
    if not len(truth):
        raise UsageError("There is nothing to score: the labels are empty.")
    if answers.ndim != 1:
        raise UsageError(
            f"Top-1 needs one class a sample, not {answers.shape[1]} values as here: the data type may be wrong."
        )
    if len(answers) != len(truth):
        raise UsageError(f"There are {len(answers)} answers to {len(truth)} samples.")
    _refuse_fractions(answers)
    good, total = int(np.count_nonzero(answers == truth)), len(truth)
    low, high = wilson_interval(good, total)
    return {"top1": 100 * good / total, "good": good, "total": total, "low_95": 100 * low, "high_95": 100 * high}


def _refuse_fractions(answers: NDArray[Any]) -> None:
    wrong = np.flatnonzero(~np.isfinite(answers) | (np.trunc(answers) != answers))
    if len(wrong):
        index = wrong[0]
        raise UsageError(
            f"The answer to sample {index} is {answers[index]}, which is no class: the data type may be wrong."
        )


def read_labels(path: Path) -> NDArray[np.int64]:
    """Returns the labels of a val_map.txt (line i is sample i) or of an .npy; raises UsageError naming the line."""
    try:
        return _npy_labels(path) if path.suffix == ".npy" else _val_map_labels(path)
    except OSError as error:
        raise UsageError(f"The labels {path} cannot be read: {error.strerror or error}.") from None


def _npy_labels(path: Path) -> NDArray[np.int64]:
    with path.open("rb") as file:
        try:
            labels = np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, MemoryError):
            raise UsageError(f"The labels {path} are no NumPy array, or only a part of one.") from None
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UsageError(
            f"The labels {path} are {labels.dtype} of shape {labels.shape}; give whole numbers, one a sample."
        )
    wrong = np.flatnonzero((labels < 0) | (labels >= 10**MOST_DIGITS))
    if len(wrong):
        raise UsageError(f"The labels {path} hold {labels[wrong[0]]} for sample {wrong[0]}, which is no class.")
    return labels.astype(np.int64)


def _val_map_labels(path: Path) -> NDArray[np.int64]:
    try:
        lines = path.read_text("utf-8").rstrip().split("\n")
    except UnicodeDecodeError:
        raise UsageError(f"The labels {path} are no text; give MLPerf's val_map.txt, or an .npy.") from None
    labels = [_label(line) for line in lines]
    if None in labels:
        number = labels.index(None)
        line = lines[number].strip()
        given = repr(line if len(line) <= 60 else f"{line[:60]}...") if line else "empty"
        raise UsageError(
            f"Line {number + 1} of {path} is {given}; each line must be a file and its label: 'cat.jpeg 65'."
        )
    return np.array(labels, np.int64)


def _label(line: str) -> int | None:
    """Returns the label of a line, or None where it has none."""
    words = line.split()
    if len(words) != 2 or not (words[1].isascii() and words[1].isdigit() and len(words[1]) <= MOST_DIGITS):
        return None
    return int(words[1])


def main(arguments: list[str]) -> int:
    """Prints the score."""
    truth = read_labels(Path(LABELS.value))
    metrics = score(in_index_order(read_log(Path(LOG.value)), len(truth), DTYPE.value), truth)
    if JSON.value:
        print(canonical_json(metrics), end="")
    else:
        print(f"accuracy={metrics['top1']:.3f}%, good={metrics['good']}, total={metrics['total']}")
        print(f"95 % interval (Wilson): {metrics['low_95']:.3f}% to {metrics['high_95']:.3f}%")
    return 0


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
