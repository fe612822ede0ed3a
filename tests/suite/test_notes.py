"""Notes on the machine and the rules: each says what was seen, none fails a run, and none trips over bad evidence."""

from dataclasses import replace
from typing import Any

import pytest

from tests.evidence_factory import case, with_environment, with_record, with_variant

pytestmark = pytest.mark.side_by_side

QUIET: dict[str, Any] = {
    "duration_s": 6.0,
    "frequency_mhz": 3000.0,
    "load_average_1min": 1.9,
    "nr_throttled": 0,
    "other_work_cores": 0.1,
    "steal_share": 0.01,
    "thermal_throttles": 0,
    "throttled_usec": 0,
}


def notes(during: Any, *, governor: Any = None, cores: Any = 2) -> list[str]:
    honest = case("offline")
    performance = with_record(honest.performance, during, "machine_during")
    performance = with_environment(performance, cores, "affinity_cores")
    told = replace(honest, performance=with_environment(performance, governor, "frequency_governor")).verdict()
    assert told.counts, "a note never fails a run"
    return [note for note in told.notes if "not submittable" not in note]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"other_work_cores": 0.5}, ("other programs kept 0.5 of 2 cores busy", "stop them")),
        ({"steal_share": 0.07}, ("gave 7 % of the cores' time to other guests", "repeat it")),
        (
            {"nr_throttled": 12, "throttled_usec": 340_000},
            ("stopped the performance run 12 times, for 0.34 s", "raise"),
        ),
        ({"thermal_throttles": 3}, ("too hot and slowed down 3 times", "cool it better")),
    ],
)
def test_what_disturbed_a_run_is_said_with_what_to_do(changed: dict[str, Any], said: tuple[str, str]) -> None:
    (note,) = notes({**QUIET, **changed})
    assert all(part in note for part in said)


def test_a_quiet_machine_has_no_notes() -> None:
    assert notes(QUIET) == []
    assert notes(QUIET, governor="performance") == []


def test_a_governor_that_follows_the_load_is_named() -> None:
    (note,) = notes(QUIET, governor="powersave")
    assert "'powersave'" in note and "performance" in note


@pytest.mark.parametrize(
    "hostile", [None, 7, "much", [], {}, {name: "x" for name in QUIET}, {key: [1] for key in QUIET}]
)
def test_what_cannot_be_read_says_nothing(hostile: Any) -> None:
    assert notes(hostile, governor=hostile if not isinstance(hostile, str) else 3, cores=hostile) == []


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("prune:0.5", ["MLPerf's closed division forbids it, as it is pruned; its open division does not"]),
        ("fuse:level=all", []),
        ("pruned:somehow", []),
        (7, []),
    ],
)
def test_what_the_closed_division_forbids_is_said(recipe: Any, said: list[str]) -> None:
    honest = case("offline")
    runs = {mode: with_variant(getattr(honest, mode), recipe=recipe) for mode in ("performance", "accuracy")}
    told = replace(honest, **runs).verdict().notes
    assert [note for note in told if "division" in note] == said
