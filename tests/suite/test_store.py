"""The tree of results: fresh folders, records, and every attempt, whatever became of it."""

import json
import threading
from pathlib import Path

import pytest

from common.errors import UsageError
from suite import store

pytestmark = pytest.mark.side_by_side

NAMES = ("fashion-resnet", "0123456789abcdef", "offline")


def test_a_result_lies_under_its_names(tmp_path: Path) -> None:
    folder = store.new_result(tmp_path / "deep" / "results", *NAMES)
    assert folder.is_dir() and list(folder.iterdir()) == []
    assert folder.parent == tmp_path.joinpath("deep", "results", *NAMES)


def test_results_made_at_once_are_all_fresh_and_in_order(tmp_path: Path) -> None:
    made: list[Path] = []

    def make() -> None:
        made.extend(store.new_result(tmp_path, *NAMES) for _ in range(50))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == len(list(tmp_path.joinpath(*NAMES).iterdir())) == 200
    mine = [store.new_result(tmp_path, *NAMES) for _ in range(20)]
    assert mine == sorted(mine)


@pytest.mark.parametrize("where", ["/proc/results", "/dev/null"])
def test_a_place_that_cannot_be_written_is_refused(where: str) -> None:
    with pytest.raises(UsageError, match=f"The results directory {where} cannot be written .*Give another"):
        store.new_result(Path(where), *NAMES)


def test_a_run_has_a_ballast_until_its_record_is_written(tmp_path: Path) -> None:
    folder = store.new_run(tmp_path, "performance")
    assert folder == tmp_path / "performance"
    assert (folder / store.BALLAST).stat().st_size == store.BALLAST_BYTES
    store.drop_ballast(folder)
    store.drop_ballast(folder)
    assert list(folder.iterdir()) == []


def test_a_run_is_never_put_into_another(tmp_path: Path) -> None:
    store.new_run(tmp_path, "performance")
    with pytest.raises(UsageError, match=r"performance cannot be made \(File exists\)"):
        store.new_run(tmp_path, "performance")


def test_a_record_is_replaced_whole(tmp_path: Path) -> None:
    store.write_record(tmp_path, {"state": "running", "very": "long" * 100})
    store.write_record(tmp_path, {"state": "finished"})
    assert json.loads((tmp_path / store.RECORD).read_text()) == {"state": "finished"}
    assert [path.name for path in tmp_path.iterdir()] == [store.RECORD]


def attempt(results: Path, record: object, names: tuple[str, str, str] = NAMES, mode: str = "performance") -> Path:
    folder = store.new_run(store.new_result(results, *names), mode)
    if record is not None:
        text = record if isinstance(record, str) else json.dumps(record)
        (folder / store.RECORD).write_text(text)
    return folder


def test_every_attempt_is_found_the_oldest_first(tmp_path: Path) -> None:
    states = ("finished", "failed", "interrupted", "running")
    made = [attempt(tmp_path, {"profile": "quick", "state": state}) for state in states]
    found = store.attempts(tmp_path, *NAMES, "quick")
    assert [folder for folder, _ in found] == made
    assert [record["state"] for _, record in found] == list(states)


def test_an_attempt_without_a_readable_record_is_one_of_any_profile(tmp_path: Path) -> None:
    for damaged in (None, "", "{", "[1]", "\x00"):
        attempt(tmp_path, damaged)
    (tmp_path.joinpath(*NAMES) / "20200101T000000.000000Z" / "performance").mkdir(parents=True)
    assert [record for _, record in store.attempts(tmp_path, *NAMES, "quick")] == [{}] * 6
    assert len(store.attempts(tmp_path, *NAMES, "official")) == 6


def test_others_are_no_attempts_at_this(tmp_path: Path) -> None:
    workload, variant, scenario = NAMES
    mine = attempt(tmp_path, {"profile": "quick"})
    attempt(tmp_path, {"profile": "official"})
    attempt(tmp_path, {"profile": "quick"}, mode="accuracy")
    for names in (("other", variant, scenario), (workload, "other", scenario), (workload, variant, "server")):
        attempt(tmp_path, {"profile": "quick"}, names)
    assert [folder for folder, _ in store.attempts(tmp_path, *NAMES, "quick")] == [mine]
    assert store.attempts(tmp_path / "nothing", *NAMES, "quick") == []


def test_times_are_utc_and_sort() -> None:
    first, second = store.now(), store.now()
    assert first <= second and len(first) == len("2026-01-01T00:00:00.000Z") and first.endswith("Z")
