"""One row of the table: paired measurements, the interval of their median, and what that says of a bar."""

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from common.statistics import median_interval

MET, MISSED, UNKNOWN, NO_BAR = "met", "missed", "cannot tell", "no bar"


@dataclass(frozen=True)
class Bar:
    """What a figure is to be: at most, or at least, `value` of a unit."""

    at_most: bool
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.value:g}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True)
class NotMeasured:
    """What was to be a row, and why it is none."""

    name: str
    why: str

    def record(self) -> dict[str, Any]:
        """Returns it as JSON-like values."""
        return {"name": self.name, "not_measured": self.why}


@dataclass(frozen=True)
class Row:
    """What was measured: `base` and `suite` are medians of the two sides, in the unit `sides`; `figures` one a pair.

    A figure that is only shown has no bar.
    """

    name: str
    base_name: str
    base: float
    suite: float
    sides: str
    figures: tuple[float, ...]
    bar: Bar | None
    why: str = ""
    # What keeps the figure from its bar; for people, where it is not met.
    bound: str = ""
    reference: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """The median over the pairs."""
        return median(self.figures)

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval, without bounds where the pairs are too few for one."""
        try:
            return median_interval(self.figures)
        except ValueError:
            return -math.inf, math.inf

    @property
    def unit(self) -> str:
        """The unit of the figure."""
        return self.bar.unit if self.bar else ""

    @property
    def verdict(self) -> str:
        """Whether the whole interval lies inside the bar, outside, or neither."""
        if self.bar is None:
            return NO_BAR
        low, high = self.interval if self.bar.at_most else tuple(-end for end in reversed(self.interval))
        bar = self.bar.value if self.bar.at_most else -self.bar.value
        if high <= bar:
            return MET
        return MISSED if low > bar else UNKNOWN

    @property
    def more_pairs(self) -> int:
        """How many pairs more would tell, if they scatter as these do: intervals narrow with the root of the number.

        0 where it is told already.
        """
        if self.bar is None or self.verdict != UNKNOWN:
            return 0
        low, high = self.interval
        distance = abs(self.figure - self.bar.value)
        if not math.isfinite(high - low):
            return max(1, 6 - len(self.figures))
        if not distance:
            return 100 * len(self.figures)
        return max(1, math.ceil(len(self.figures) * (((high - low) / 2 / distance) ** 2 - 1)))

    def record(self) -> dict[str, Any]:
        """Returns the row as JSON-like values."""
        low, high = self.interval
        return {
            "name": self.name,
            "base_name": self.base_name,
            "base": self.base,
            "suite": self.suite,
            "sides_unit": self.sides,
            "figure": self.figure,
            "low_95": low if math.isfinite(low) else None,
            "high_95": high if math.isfinite(high) else None,
            "figures": list(self.figures),
            "unit": self.unit,
            "bar": str(self.bar) if self.bar else "",
            "verdict": self.verdict,
            "more_pairs": self.more_pairs,
            "why": self.why,
            "bound": self.bound,
            "reference": self.reference,
            **self.extra,
        }


def row(
    name: str,
    base_name: str,
    sides: str,
    pairs: list[tuple[float, float]],
    bar: Bar | None,
    *,
    ratio: bool,
    **more: Any,
) -> Row:
    """Returns the row of pairs (base, suite): their ratios, suite over base, or their differences, suite minus base."""
    figures = tuple(suite / base if ratio else suite - base for base, suite in pairs)
    base, suite = (median(side) for side in zip(*pairs, strict=True))
    return Row(name, base_name, base, suite, sides, figures, bar, **more)


def percent_row(
    name: str, base_name: str, sides: str, pairs: list[tuple[float, float]], most: float, **more: Any
) -> Row:
    """Returns the row of what the suite adds to pairs (base, suite), in percent of the base: at most `most`."""
    figures = tuple(100 * (suite - base) / base for base, suite in pairs)
    base, suite = (median(side) for side in zip(*pairs, strict=True))
    return Row(name, base_name, base, suite, sides, figures, Bar(True, most, "%"), **more)
