"""The rules of a round: one TOML file a profile, data and never code."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.files import digest_of
from common.names import normal, unknown
from scenarios.base import LoadRules

FOLDER = Path(__file__).parent

SEEDS = ("qsl_rng_seed", "sample_index_rng_seed", "schedule_rng_seed")
DATASET_KEYS = ("performance_sample_count", "server_target_latency_ms")
COUNTS = ("min_duration_ms", "min_query_count")
SCENARIO_KEYS = {
    "single-stream": (*COUNTS, "target_latency_percentile"),
    "multi-stream": (*COUNTS, "target_latency_percentile", "samples_per_query"),
    "server": (*COUNTS, "target_latency_percentile", "load_fraction"),
    "offline": COUNTS,
}
FRACTIONS = frozenset({"target_latency_percentile", "load_fraction"})


@dataclass(frozen=True)
class ScenarioRules:
    """What a round demands of one scenario; in Offline `min_query_count` is the least number of samples.

    `load_fraction` is the share of the measured Offline throughput that a Server run holds where nobody says more.
    """

    min_duration_ms: int
    min_query_count: int
    target_latency_percentile: float | None = None
    samples_per_query: int = 1
    load_fraction: float | None = None


@dataclass(frozen=True)
class DatasetRules:
    """What a round demands of runs on one dataset; the limit is that of a Server query."""

    performance_sample_count: int
    server_target_latency_ms: float


@dataclass(frozen=True)
class Rules:
    """A profile: whether its runs may be submitted, its seeds, and the numbers of every scenario and dataset.

    `digest` is that of the numbers; comments and order do not change it.
    """

    profile: str
    submittable: bool
    seeds: Mapping[str, int]
    scenarios: Mapping[str, ScenarioRules]
    datasets: Mapping[str, DatasetRules]
    digest: str

    def load_rules(self, scenario: str, dataset: str) -> LoadRules:
        """Returns the numbers of one scenario on one dataset; raises UsageError where the profile has none."""
        if scenario not in self.scenarios:
            raise unknown("scenario", scenario, self.scenarios)
        if dataset not in self.datasets:
            raise unknown(f"dataset in the rules of profile '{self.profile}':", dataset, self.datasets)
        of_scenario, of_dataset = self.scenarios[scenario], self.datasets[dataset]
        return LoadRules(
            min_duration_ms=of_scenario.min_duration_ms,
            min_query_count=of_scenario.min_query_count,
            performance_sample_count=of_dataset.performance_sample_count,
            target_latency_percentile=of_scenario.target_latency_percentile,
            target_latency_ms=of_dataset.server_target_latency_ms if scenario == "server" else None,
            samples_per_query=of_scenario.samples_per_query,
            **self.seeds,
        )


def names() -> tuple[str, ...]:
    """Returns the names of all profiles."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(profile: str) -> Rules:
    """Returns a profile's rules; raises UsageError for an unknown one, and for a file with a wrong or missing key."""
    name = normal(profile)
    if name not in names():
        raise unknown("profile", profile, names())
    return read(FOLDER / f"{name}.toml")


def read(path: Path) -> Rules:
    """Returns the rules in a file, whose name is the profile's; raises UsageError as `load` does."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"The rules {path} cannot be read: {error}") from error
    _keys(content, ("submittable", "seeds", "dataset", *SCENARIO_KEYS), path, "the file")
    if not isinstance(content["submittable"], bool):
        raise UsageError(f"The rules {path}: submittable must be true or false, not {content['submittable']!r}.")
    datasets = _mapping(content["dataset"], path, "[dataset]")
    return Rules(
        profile=path.stem,
        submittable=content["submittable"],
        seeds=_table(content["seeds"], SEEDS, path, "[seeds]"),
        scenarios={
            name: ScenarioRules(**_table(content[name], keys, path, f"[{name}]"))
            for name, keys in SCENARIO_KEYS.items()
        },
        datasets={
            name: DatasetRules(**_table(table, DATASET_KEYS, path, f"[dataset.{name}]"))
            for name, table in datasets.items()
        },
        digest=digest_of(content),
    )


def _mapping(table: Any, path: Path, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UsageError(f"The rules {path}: {where} must be a table.")
    return table


def _keys(table: dict[str, Any], expected: tuple[str, ...], path: Path, where: str) -> None:
    missing, new = sorted(set(expected) - set(table)), sorted(set(table) - set(expected))
    if missing or new:
        said = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has unknown {', '.join(new)}"] * bool(new)
        raise UsageError(f"The rules {path}: {where} {' and '.join(said)}.")


def _table(table: Any, expected: tuple[str, ...], path: Path, where: str) -> dict[str, Any]:
    """Returns a table of numbers, all of them there, none below zero."""
    found = _mapping(table, path, where)
    _keys(found, expected, path, where)
    for key, value in found.items():
        if not _allowed(key, value):
            raise UsageError(f"The rules {path}: {where} cannot have {key} = {value!r}.")
    return found


def _allowed(key: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if key in FRACTIONS:
        return 0 < value < 1
    if key == "server_target_latency_ms":
        return value > 0
    return isinstance(value, int) and value > 0
