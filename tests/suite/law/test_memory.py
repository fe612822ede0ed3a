from dataclasses import replace
from typing import Any

import pytest

from tests.evidence_factory import Case, assert_refused, case, with_preparation


def probe(**changes: Any) -> Case:
    honest = case("offline")
    found = {"pairs": 30, "ratio": 1.01, "ratio_low_95": 0.97, **changes}
    return replace(honest, performance=with_preparation(honest.performance, found, "repeat_probe"))


def test_what_is_faster_the_second_time_is_refused() -> None:
    detail = assert_refused(probe(ratio=40.0, ratio_low_95=31.0), "not-from-memory")
    assert "40.00 times as fast" in detail


def test_only_what_is_surely_faster_is_refused() -> None:
    assert probe(ratio=1.5, ratio_low_95=1.10).verdict().counts
    assert_refused(probe(ratio=1.5, ratio_low_95=1.1001), "not-from-memory")


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": None},
        {"ratio_low_95": None},
        {"ratio_low_95": float("nan")},
        {"ratio_low_95": "0.9"},
        {"ratio_low_95": -1.0},
        {"ratio_low_95": 1.05},
        {"ratio": 0.0, "ratio_low_95": 0.0},
        {"pairs": None},
        {"pairs": 4},
        {"pairs": True},
    ],
)
def test_a_probe_that_says_nothing_is_refused(changes: dict[str, Any]) -> None:
    assert_refused(probe(**changes), "not-from-memory")


@pytest.mark.parametrize("value", [None, {}, [], 1.0])
def test_no_probe_no_figure(value: object) -> None:
    honest = case("offline")
    run = with_preparation(honest.performance, value, "repeat_probe")
    assert_refused(replace(honest, performance=run), "not-from-memory")
