"""The contracts of a scenario, and of a backend and its sessions as the scenarios use them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from reference_models.base import Model, Workload


class Session(Protocol):
    """A loaded model. One thread uses it at a time; two sessions may run side by side.

    The threads that load it, call it and close it are different ones, and those that have done their part end.

    It may also have `predict_marked(samples, mark)`: as `predict`, and it calls `mark("copy in")`, `mark("execute")`
    and `mark("copy out")` at the end of each, where it can tell them apart (`--stages`).

    And it may have `callers`: so many threads may use it at a time, as it works at one batch behind the other.
    """

    def predict(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Returns the raw outputs, shape (n, *output_shape), of samples in the form that the model takes.

        That is float32 of shape (n, *input_shape), but for a recipe with an `input` step. They are not to be changed:
        it can be given those of LoadGen's library, of which a query of one sample is given no copy.
        """
        ...

    def close(self) -> None:
        """Frees what the session holds."""
        ...


def callers(session: Session) -> int:
    """Returns how many threads may use a session at a time."""
    return int(getattr(session, "callers", 1))


class Backend(Protocol):
    """A module that runs models on a device.

    `FORMATS` are the model formats that it loads, the preferred one first. `ELIGIBLE` is False for a backend whose
    numbers can never count (null, simulated). `OPTIONS` names its runtime options: a tuple holds the allowed
    values, the default first; a number is the default of an option that takes any whole number from 0 up. It may also
    have `arithmetic`, with the parameters of `load`, which returns how many multiply-accumulates of one sample ran in
    which types on which provider.
    """

    FORMATS: tuple[str, ...]
    ELIGIBLE: bool
    OPTIONS: Mapping[str, tuple[str, ...] | int]

    def version(self) -> str:
        """Returns the runtime's version; raises UsageError with the install command where it is missing."""
        ...

    def devices(self) -> tuple[str, ...]:
        """Returns the devices that can really be used here, the default first; raises UsageError as `version`."""
        ...

    def load(
        self, model: Model, workload: Workload, *, device: str, threads: int, options: Mapping[str, str]
    ) -> Session:
        """Returns a session with `threads` CPU threads; raises UsageError for a model that it cannot load.

        `options` holds a value for every name in OPTIONS.
        """
        ...


@dataclass(frozen=True)
class LoadRules:
    """What a round demands of one scenario of one workload; times in milliseconds."""

    min_duration_ms: int
    min_query_count: int
    performance_sample_count: int
    target_latency_percentile: float | None
    target_latency_ms: float | None
    samples_per_query: int
    qsl_rng_seed: int
    sample_index_rng_seed: int
    schedule_rng_seed: int


@dataclass(frozen=True)
class Generated:
    """How much LoadGen prepares in advance of a performance run, and how many samples it is expected to issue."""

    queries: int
    samples: int
    expected_samples: int


class Scenario(Protocol):
    """A module that says how LoadGen issues one kind of load.

    `LOADGEN_NAME` is LoadGen's name of it. `INLINE` says whether a query is answered on LoadGen's own thread.
    `HINT_UNIT` is the unit of the one number that LoadGen must be told in advance: samples/s, queries/s, or ns a query.
    """

    LOADGEN_NAME: str
    INLINE: bool
    HINT_UNIT: str

    def settings(self, rules: LoadRules, hint: float) -> dict[str, Any]:
        """Returns what this scenario sets in LoadGen's TestSettings, by name, beside what all scenarios set."""
        ...

    def generated(self, rules: LoadRules, hint: float) -> Generated:
        """Returns how much LoadGen generates before it starts."""
        ...


# As many answers of a performance run at least are logged, to be compared with the accuracy run's. Source: MLPerf's
# TEST01.
SAMPLED_ANSWERS = 4096


def test_settings(
    scenario: Scenario,
    rules: LoadRules,
    hint: float,
    accuracy_log_rng_seed: int,
    sampling_target: int = SAMPLED_ANSWERS,
) -> dict[str, Any]:
    """Returns LoadGen's TestSettings by name for a test of `scenario`; of its answers `sampling_target` are logged."""
    return {
        "scenario": scenario.LOADGEN_NAME,
        "min_duration_ms": rules.min_duration_ms,
        "min_query_count": rules.min_query_count,
        "performance_sample_count_override": rules.performance_sample_count,
        "qsl_rng_seed": rules.qsl_rng_seed,
        "sample_index_rng_seed": rules.sample_index_rng_seed,
        "schedule_rng_seed": rules.schedule_rng_seed,
        "accuracy_log_rng_seed": accuracy_log_rng_seed,
        "accuracy_log_sampling_target": sampling_target,
        **scenario.settings(rules, hint),
    }


def stream_generated(rules: LoadRules, expected_latency_ns: float) -> Generated:
    """Returns what LoadGen generates where one query follows another: enough for twice the expected speed."""
    expected = int(rules.min_duration_ms * 1e6 / expected_latency_ns)
    queries = max(rules.min_query_count, 2 * expected)
    issued = max(rules.min_query_count, expected)
    return Generated(queries, queries * rules.samples_per_query, issued * rules.samples_per_query)
