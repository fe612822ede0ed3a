from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenarios.harness.timeline import Timeline, TimelineError

pytestmark = pytest.mark.side_by_side

MS = 1_000_000


def arrays(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# Three callbacks of 2, 1 and 3 samples; answered in two runs that overlap callbacks, the later part first.
TIMELINE = Timeline(
    callback_ns=arrays(0, 10 * MS, 20 * MS),
    callback_samples=arrays(2, 1, 3),
    batch_first=arrays(4, 0),
    batch_samples=arrays(2, 4),
    batch_ns=arrays(30 * MS, 50 * MS),
)


def test_each_sample_keeps_its_times_whatever_the_order_of_completion() -> None:
    assert TIMELINE.problem is None
    assert TIMELINE.issued == TIMELINE.completed == 6
    assert (TIMELINE.arrival_ns // MS).tolist() == [0, 0, 10, 20, 20, 20]
    assert (TIMELINE.completion_ns // MS).tolist() == [50, 50, 50, 50, 30, 30]
    assert (TIMELINE.sample_latencies_ns // MS).tolist() == [10, 10, 30, 40, 50, 50]


def test_a_query_ends_with_its_last_sample() -> None:
    assert (TIMELINE.query_latencies_ns // MS).tolist() == [30, 40, 50]


def test_the_drain_is_part_of_the_throughput() -> None:
    assert TIMELINE.duration_ns == 50 * MS
    assert TIMELINE.last_issued_ns == 30 * MS
    assert TIMELINE.throughput == pytest.approx(6 / 0.05)


def test_only_what_surely_took_longer_is_over_a_limit() -> None:
    assert TIMELINE.samples_over(40 * MS) == 2
    assert TIMELINE.samples_over(40 * MS - 1) == 3
    assert TIMELINE.samples_over(50 * MS) == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"batch_samples": arrays(2, 3)}, "sample 3 was completed never"),
        ({"batch_first": arrays(3, 0)}, "sample 3 was completed twice"),
        ({"batch_samples": arrays(1, 4)}, "6 samples arrived and 5 were completed"),
        ({"batch_samples": arrays(3, 4)}, "6 samples arrived and 7 were completed"),
        ({"batch_first": arrays(5, 1)}, "sample 0 was completed never"),
        ({"batch_ns": arrays(19 * MS, 50 * MS)}, "sample 4 was completed before it arrived"),
        ({"batch_ns": arrays(20 * MS - 1, 50 * MS)}, "sample 4 was completed before it arrived"),
        ({"callback_ns": arrays(0, 21 * MS, 20 * MS)}, "runs backwards"),
        ({"callback_samples": arrays(2, 0, 4)}, "a count below one"),
        ({"batch_samples": arrays(-2, 8)}, "a count below one"),
        ({"batch_first": arrays(4, -1)}, "a sample below zero"),
        ({"callback_samples": arrays(2, 1)}, "not one count a callback"),
        ({"batch_ns": arrays(30 * MS)}, "not one first sample"),
        ({"callback_samples": arrays(2, 1, 2**62)}, "more than"),
        ({"callback_samples": arrays(2, 1, 2**31)}, "more than"),
        ({"callback_ns": arrays(), "callback_samples": arrays()}, "no arrival"),
        ({"batch_first": arrays(), "batch_samples": arrays(), "batch_ns": arrays()}, "no completion"),
    ],
)
def test_an_impossible_timeline_says_why(changes: dict[str, np.ndarray], problem: str) -> None:
    assert problem in str(replace(TIMELINE, **changes).problem)


def test_a_timeline_without_duration_is_impossible() -> None:
    one = Timeline(arrays(5), arrays(1), arrays(0), arrays(1), arrays(5))
    assert one.problem == "it lasts no time"


def test_a_timeline_is_what_was_saved(tmp_path: Path) -> None:
    TIMELINE.save(tmp_path / "timeline.npz")
    loaded = Timeline.load(tmp_path / "timeline.npz")
    assert (loaded.batch_first == TIMELINE.batch_first).all()
    assert loaded.throughput == TIMELINE.throughput


def test_damaged_files_are_no_timelines(tmp_path: Path) -> None:
    path = tmp_path / "timeline.npz"
    with pytest.raises(TimelineError, match="cannot be read"):
        Timeline.load(path)
    TIMELINE.save(path)
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"garbage" * 20):
        path.write_bytes(content)
        with pytest.raises(TimelineError, match="cannot be read"):
            Timeline.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_ns": np.array([1.5, 2.5])},
        {"batch_ns": np.zeros((2, 2), np.int64)},
        {"extra": np.zeros(1, np.int64)},
        {"batch_ns": None},
    ],
)
def test_other_arrays_are_no_timeline(tmp_path: Path, changes: dict[str, np.ndarray | None]) -> None:
    values = {name: getattr(TIMELINE, name) for name in Timeline.__dataclass_fields__} | changes
    np.savez(tmp_path / "t.npz", **{name: value for name, value in values.items() if value is not None})
    with pytest.raises(TimelineError, match="is no timeline"):
        Timeline.load(tmp_path / "t.npz")


def test_a_lone_array_is_no_timeline(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", TIMELINE.batch_ns)
    with pytest.raises(TimelineError, match="cannot be read"):
        Timeline.load(tmp_path / "t.npy")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", callback_ns=np.array([object()], dtype=object))
    with pytest.raises(TimelineError, match="cannot be read"):
        Timeline.load(tmp_path / "t.npz")
