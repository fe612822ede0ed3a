"""Reads what LoadGen wrote about one test: facts, with no opinion.

The detail log is one `:::MLLOG {json}` a line. LoadGen writes it to its end only when the test ended: a performance
test ends with `result_validity` and `num_errors`, an accuracy test with `power_end` (it has no result and counts no
errors); both close the summary with a line on errors. A log without its end belongs to a test that did not finish.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from common.errors import RunFailed

DETAIL = "mlperf_log_detail.txt"
SUMMARY = "mlperf_log_summary.txt"
ANSWERS = "mlperf_log_accuracy.json"

PREFIX = ":::MLLOG "

# LoadGen writes these as often as it has reason to; they are read as lists, or not at all.
MESSAGES = frozenset({"generic_message", "loaded_qsl_set"})
# Once for each set of samples that fits in memory: an accuracy test may have several sets, a performance test has one.
PER_SET = frozenset(
    {"generated_query_count", "generated_samples_per_query", "generated_query_duration", "power_begin", "power_end"}
)

# "No errors encountered during test." or "3 ERRORS encountered. See detailed log."
CLOSING = re.compile(r"^(?:No errors|(\d+) ERRORS?) encountered", re.MULTILINE)
SUMMARY_VALIDITY = re.compile(r"^Result is : (\w+)$", re.MULTILINE)
POWER_TIME = "%m-%d-%Y %H:%M:%S.%f"


class LogError(RunFailed):
    """A log of LoadGen's is not there, is cut off, or is no log."""


class Headline(NamedTuple):
    """The figure by which a scenario is known."""

    value: float
    unit: str
    label: str


HEADLINES = {
    "Offline": ("result_samples_per_second", "samples/s", "throughput"),
    "Server": ("result_completed_samples_per_sec", "queries/s", "completed queries"),
    "SingleStream": ("early_stopping_latency_ss", "ns", "90th percentile latency (early-stopping estimate)"),
    "MultiStream": ("early_stopping_latency_ms", "ns", "99th percentile latency of a query (early-stopping estimate)"),
}


@dataclass(frozen=True)
class RunResult:
    """What the logs of one LoadGen test say.

    `values` holds every key that stands once, under LoadGen's own name. `lines` are the log's lines of the same keys.
    `loaded_sets` are the numbers of samples loaded, one a set. `summary_validity` and `summary_errors` are what the
    summary says, None where it says nothing. Times are in nanoseconds, as LoadGen's keys say.
    """

    values: Mapping[str, Any]
    lines: Mapping[str, str]
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    loaded_sets: tuple[int, ...]
    summary_validity: str | None
    summary_errors: int | None

    @property
    def scenario(self) -> str | None:
        """LoadGen's name of the scenario."""
        return self.text("effective_scenario")

    @property
    def mode(self) -> str | None:
        """LoadGen's name of the mode: PerformanceOnly or AccuracyOnly."""
        return self.text("effective_test_mode")

    @property
    def loadgen_version(self) -> str | None:
        """LoadGen's version and the digest of its source."""
        return self.text("loadgen_version")

    @property
    def validity(self) -> str | None:
        """VALID, INVALID, or None where LoadGen did not judge."""
        return self.text("result_validity")

    @property
    def finished(self) -> bool:
        """Whether both logs have their end."""
        ends = ("power_end",) if self.mode == "AccuracyOnly" else ("power_end", "result_validity", "num_errors")
        return self.summary_errors is not None and all(end in self.values for end in ends)

    @property
    def error_count(self) -> int:
        """The most errors that any part of the logs speaks of."""
        counted = self.number("num_errors") or 0
        return max(len(self.errors), int(counted), self.summary_errors or 0)

    @property
    def percentiles_ns(self) -> dict[float, float]:
        """The latency percentiles, of a query where LoadGen gives both; the key is a fraction."""
        found = {}
        for suffix in ("_percentile_latency_ns", "_percentile_per_query_latency_ns"):
            for key in self.values:
                value = self.number(key)
                if key.startswith("result_") and key.endswith(suffix) and value is not None:
                    found[round(float(key.removeprefix("result_").removesuffix(suffix)) / 100, 6)] = value
        return dict(sorted(found.items()))

    @property
    def window_ns(self) -> int | None:
        """From LoadGen's start to the last completion, by its wall clock; each end is cut to a millisecond."""
        begin, end = self.text("power_begin"), self.text("power_end")
        if begin is None or end is None:
            return None
        try:
            window = datetime.strptime(end, POWER_TIME) - datetime.strptime(begin, POWER_TIME)
        except ValueError:
            return None
        return (window.days * 86_400 + window.seconds) * 1_000_000_000 + window.microseconds * 1_000

    def text(self, key: str) -> str | None:
        """Returns a value that is text, else None."""
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        """Returns a value that is a finite number, else None; whole numbers stay exact."""
        return finite(self.values.get(key))

    def group(self, prefix: str) -> dict[str, Any]:
        """Returns the values whose key starts with `prefix`, without it: "effective_", "requested_", "generated_"."""
        return {key.removeprefix(prefix): value for key, value in self.values.items() if key.startswith(prefix)}


class Entry(NamedTuple):
    """One line of the detail log."""

    line_no: int
    line: str
    key: str
    value: Any
    is_error: bool
    is_warning: bool


def finite(value: Any) -> float | None:
    """Returns a finite number that fits 64 bits, else None; true and false are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # A whole number of any length is valid JSON, and most arithmetic on it would raise.
    return value if (abs(value) < 2**64 if isinstance(value, int) else math.isfinite(value)) else None


def read(folder: Path) -> RunResult:
    """Returns what LoadGen's logs in `folder` say; raises LogError, with the line's number, where one is no log."""
    entries = [_entry(number, line, folder) for number, line in enumerate(_text(folder / DETAIL).splitlines(), 1)]
    summary = _text(folder / SUMMARY)
    closing = list(CLOSING.finditer(summary))
    validity = SUMMARY_VALIDITY.findall(summary)
    once = _once(entries, folder)
    return RunResult(
        values={key: entry.value for key, entry in once.items()},
        lines={key: entry.line for key, entry in once.items()},
        errors=tuple(str(entry.value) for entry in entries if entry.is_error),
        warnings=tuple(str(entry.value) for entry in entries if entry.is_warning),
        loaded_sets=tuple(len(e.value) for e in entries if e.key == "loaded_qsl_set" and isinstance(e.value, list)),
        summary_validity=validity[-1] if validity else None,
        summary_errors=int(closing[-1].group(1) or 0) if closing else None,
    )


def headline(result: RunResult) -> Headline:
    """Returns the scenario's figure; raises LogError where the log has none."""
    if result.scenario not in HEADLINES:
        raise LogError(f"The log names no scenario that is known: {result.scenario}.")
    key, unit, label = HEADLINES[result.scenario]
    value = result.number(key)
    if value is None or value <= 0:
        raise LogError(f"The log of this {result.scenario} test has no {key} above zero.")
    return Headline(value, unit, label)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LogError(f"{path} cannot be read as LoadGen's log: {error}") from error


def _entry(line_no: int, line: str, folder: Path) -> Entry:
    def refuse(reason: str) -> NoReturn:
        raise LogError(f"{folder / DETAIL}, line {line_no}: {reason}: {line[:80]!r}")

    if not line.startswith(PREFIX):
        refuse(f"does not start with {PREFIX.strip()}")
    try:
        # LoadGen writes no NaN and no infinity in a sound log; Python would read them.
        content = json.loads(line.removeprefix(PREFIX), parse_constant=lambda name: refuse(f"holds {name}"))
        metadata = content["metadata"]
        key, value = content["key"], content["value"]
        is_error, is_warning = metadata["is_error"], metadata["is_warning"]
    except (ValueError, KeyError, TypeError):
        refuse("is cut off or is no log entry")
    if not isinstance(key, str) or not isinstance(is_error, bool) or not isinstance(is_warning, bool):
        refuse("is no log entry")
    # The key alone says it too: an error stays one whatever its flag says.
    return Entry(line_no, line, key, value, is_error or key.startswith("error"), is_warning)


def _once(entries: list[Entry], folder: Path) -> dict[str, Entry]:
    """Returns the entries of the keys that stand once; raises LogError for one that contradicts by repetition."""
    accuracy = any(entry.key == "effective_test_mode" and entry.value == "AccuracyOnly" for entry in entries)
    once: dict[str, Entry] = {}
    for entry in entries:
        if entry.is_error or entry.is_warning or entry.key in MESSAGES:
            continue
        if entry.key not in once:
            once[entry.key] = entry
        elif not (accuracy and entry.key in PER_SET):
            first = once[entry.key].line_no
            raise LogError(f"{folder / DETAIL}, line {entry.line_no}: '{entry.key}' stands already on line {first}.")
    return once
