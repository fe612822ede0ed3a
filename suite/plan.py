"""What was asked, resolved: names and numbers only. Nothing runs before a plan has been checked."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import UsageError
from common.names import normal, unknown
from reference_models.forms import ENCODED
from scenarios.harness.sut import MAX_BATCH, MOST_PREFETCH
from suite import awake, environment, placement, plugins, recipes, rules, user_conf
from suite.memory import LEAST_HINT, MOST_HINT
from suite.variant import Requested

# Enough for two layouts in nine batches, and then for some twenty rounds between the best.
TUNE_SECONDS = 60.0

PEAK = "peak"
MODES = ("performance", "accuracy", "submission", PEAK)


@dataclass(frozen=True)
class Hint:
    """A number that LoadGen must be told, and who said it: flag, user.conf, or measured (then value is None)."""

    value: float | None
    source: str


@dataclass(frozen=True)
class Plan:
    """One command, resolved. `hint` is in the scenario's own unit: samples/s, queries/s, or ns a query.

    `requested` is what the flags ask of serving; what the recipe asks besides is the variant's.
    """

    workload: str
    backend: str
    scenario: str
    mode: str
    profile: str
    recipe: str
    options: dict[str, str]
    requested: Requested
    search_again: bool
    tune_seconds: float | None
    hint: Hint
    coalesce_queries: bool
    coalesce_source: str
    data_dir: str
    cache_dir: str
    results_dir: str
    stall_timeout_s: float
    retries: int
    save_outputs: bool
    stages: bool

    def record(self) -> dict[str, Any]:
        """Returns the plan as JSON."""
        return asdict(self)

    @property
    def modes(self) -> tuple[str, ...]:
        """The tests to run, in order."""
        return (self.mode,) if self.mode in ("performance", "accuracy") else ("performance", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command's words, before they are checked; None where nothing was said.

    `data_dir` tells the folder of a dataset's files from its name.
    """

    workload: str
    backend: str
    scenario: str
    mode: str
    profile: str
    optimize: str
    backend_options: str = ""
    batch: int | None = None
    max_wait_us: int | None = None
    sessions: int | None = None
    threads: int | None = None
    device: str = "auto"
    pin: str = "auto"
    end_to_end: bool = False
    keep_awake: str = "auto"
    prefetch: int | None = None
    search_again: bool = False
    tune: bool | None = None
    tune_seconds: float | None = None
    target_qps: float | None = None
    expected_latency_ms: float | None = None
    coalesce_queries: bool | None = None
    user_conf: str = ""
    data_dir: Callable[[str], str]
    cache_dir: str
    results_dir: str
    stall_timeout_s: float
    retries: int | None = None
    save_outputs: bool = False
    stages: bool = False


def resolve(asked: Asked) -> Plan:
    """Returns the plan; raises UsageError for the first name that is unknown or number that is out of range."""
    _check_texts(vars(asked))
    _check_numbers(asked)
    workload = _plugin("reference_models", "workload", asked.workload)
    data_dir = asked.data_dir(plugins.workload(workload).dataset_name)
    _check_texts({"data_dir": data_dir})
    scenario = _plugin("scenarios", "scenario", asked.scenario)
    backend = _plugin("suite.backends", "backend", asked.backend)
    mode, profile = normal(asked.mode), normal(asked.profile)
    if mode not in MODES:
        raise unknown("mode", asked.mode, MODES)
    if profile not in rules.names():
        raise unknown("profile", asked.profile, rules.names())
    recipe, requested = recipes.canonical(recipes.parse(asked.optimize)), _requested(asked)
    _check_use(asked, recipes.requested(recipe, requested), scenario, mode)
    conf = user_conf.read(Path(asked.user_conf), workload, scenario) if asked.user_conf else user_conf.UserConf()
    coalesce, coalesce_source = _coalescing(asked, scenario, conf)
    hint = _hint(asked, scenario, conf)
    if mode == PEAK:
        _check_peak(asked, scenario, hint)
    return Plan(
        workload=workload,
        backend=backend,
        scenario=scenario,
        mode=mode,
        profile=profile,
        recipe=recipe,
        options=_options(asked.backend_options),
        requested=requested,
        search_again=asked.search_again,
        tune_seconds=_tuning(asked, profile),
        hint=hint,
        coalesce_queries=coalesce,
        coalesce_source=coalesce_source,
        data_dir=data_dir,
        cache_dir=asked.cache_dir,
        results_dir=_results_dir(asked.results_dir),
        stall_timeout_s=asked.stall_timeout_s,
        retries=_retries(asked, hint),
        save_outputs=asked.save_outputs,
        stages=asked.stages,
    )


def _requested(asked: Asked) -> Requested:
    return Requested(
        batch=asked.batch,
        max_wait_us=asked.max_wait_us,
        sessions=asked.sessions,
        threads=asked.threads,
        device=asked.device,
        pin=placement.requested(asked.pin),
        end_to_end=asked.end_to_end,
        awake=awake.requested(asked.keep_awake),
        prefetch=asked.prefetch,
    )


def _plugin(package: str, kind: str, name: str) -> str:
    """Returns a plug-in's name as it is recorded; a dotted one, from outside the tree, stays as it was typed."""
    if "." in name and kind == "backend":
        return name
    known = plugins.names(package)
    if normal(name) not in known:
        raise unknown(kind, name, known)
    return normal(name)


def _options(text: str) -> dict[str, str]:
    """Returns the backend's runtime options of `name=value,name=value`; the backend checks them."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    for name, equals, value in pairs:
        if not (name.strip() and equals and value.strip()):
            raise UsageError(f"--backend-options is '{text}'; write name=value,name=value.")
    named = {name.strip().replace("-", "_"): value.strip() for name, _, value in pairs}
    if len(named) < len(pairs):
        raise UsageError(f"--backend-options is '{text}'; give each option once.")
    return named


def _check_texts(words: Mapping[str, Any]) -> None:
    """Raises UsageError for a text that no record could hold: arguments are bytes, and need not be UTF-8."""
    for name, value in words.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise UsageError(f"What was given for {name.replace('_', ' ')} is not UTF-8: {value!a}.") from None


def _check_use(asked: Asked, requested: Requested, scenario: str, mode: str) -> None:
    """Raises UsageError for a flag that would say nothing here, or a recipe's step that asks for the same."""
    streams = scenario in ("single-stream", "multi-stream")
    sessions = "--sessions" if asked.sessions is not None else "The recipe's parallel:sessions"
    batch = "--max-batch" if asked.batch is not None else "The recipe's batch"
    prefetch = "--prefetch" if asked.prefetch is not None else "The recipe's prefetch"
    idle = (
        (sessions, requested.sessions is not None and streams, "queries come one at a time, to one session"),
        (prefetch, bool(requested.prefetch) and streams, "queries come one at a time, and none can be gathered ahead"),
        ("--max-wait-us", asked.max_wait_us is not None and scenario != "server", "it is for batches in Server"),
        ("--save-outputs", asked.save_outputs and mode == "performance", "it is for accuracy runs"),
        ("input:stored=raw", _undecoded(asked), "only with --end-to-end samples are decoded inside what is measured"),
        ("--stages", asked.stages and mode == "accuracy", "they are of the performance run"),
        (batch, scenario == "single-stream" and (requested.batch or 1) > 1, "queries are of one sample"),
        ("--target-qps", asked.target_qps is not None and mode == "accuracy", "an accuracy run has no load"),
        ("--expected-latency-ms", asked.expected_latency_ms is not None and mode == "accuracy", "it has no load"),
        ("--coalesce-queries", bool(asked.coalesce_queries) and mode == "accuracy", "an accuracy run has no load"),
        ("--retry", asked.retries is not None and mode == "accuracy", "it is for performance runs"),
    )
    for flag, unused, reason in idle:
        if unused:
            raise UsageError(f"{flag} has no effect here ({scenario}, {mode}): {reason}.")


def _undecoded(asked: Asked) -> bool:
    """Tells whether the recipe says how samples are stored, where nobody decodes them."""
    steps = recipes.parse(asked.optimize)
    return not asked.end_to_end and any(step.parameters.get("stored", ENCODED) != ENCODED for step in steps)


def _check_peak(asked: Asked, scenario: str, hint: Hint) -> None:
    """Raises UsageError where there is no peak to find, or where what is given would decide it."""
    if scenario != "server":
        raise UsageError(
            f"--mode peak is for the server scenario, whose load can be chosen; {scenario} runs as fast as it can. "
            "Give --scenario server, or another --mode."
        )
    if hint.value is not None:
        raise UsageError(f"--mode peak finds the load by itself; leave out the target_qps of {hint.source}.")
    if asked.retries is not None:
        raise UsageError("--retry has no effect with --mode peak, which steps back by itself; leave it out.")


def _check_numbers(asked: Asked) -> None:
    """Raises UsageError for a number out of range."""
    limits = (
        ("--max-batch", asked.batch, 1, MAX_BATCH),
        ("--max-wait-us", asked.max_wait_us, 0, 10_000_000),
        ("--sessions", asked.sessions, 1, 1024),
        ("--threads", asked.threads, 1, 1024),
        ("--prefetch", asked.prefetch, 0, MOST_PREFETCH),
        ("--retry", asked.retries, 0, 10),
    )
    for flag, value, low, high in limits:
        if value is not None and not low <= value <= high:
            raise UsageError(f"{flag} is {value}; it must be from {low} to {high}.")
    if asked.tune_seconds is not None and not 1 <= asked.tune_seconds <= 3600:
        raise UsageError(f"--tune-seconds is {asked.tune_seconds:g}; it must be from 1 to 3600.")
    if not 0 < asked.stall_timeout_s < float("inf"):
        raise UsageError(f"--stall-timeout is {asked.stall_timeout_s:g}; it must be a number above 0.")


def _hint(asked: Asked, scenario: str, conf: user_conf.UserConf) -> Hint:
    """Returns the load hint: the flag's, else user.conf's, else one to be measured."""
    for flag, given in (("--target-qps", asked.target_qps), ("--expected-latency-ms", asked.expected_latency_ms)):
        if given is not None:
            _check_hint(flag, given)
    streams = scenario in ("single-stream", "multi-stream")
    wrong, flag = (
        (asked.target_qps, "--target-qps") if streams else (asked.expected_latency_ms, "--expected-latency-ms")
    )
    if wrong is not None:
        right = "--expected-latency-ms" if streams else "--target-qps"
        raise UsageError(f"{flag} has no effect in the {scenario} scenario, whose load hint is {right}.")
    if streams:
        for value, source in ((asked.expected_latency_ms, "flag"), (conf.expected_latency_ms, "user.conf")):
            if value is not None:
                _check_hint(f"the target_latency of {source}", value)
                return Hint(value * 1e6, source)
    for value, source in ((asked.target_qps, "flag"), (conf.target_qps, "user.conf")):
        if value is not None:
            _check_hint(f"the target_qps of {source}", value)
            return Hint(value, source)
    return Hint(None, "measured")


def _check_hint(name: str, value: float) -> None:
    if not LEAST_HINT <= value <= MOST_HINT:
        raise UsageError(f"{name} is {value:g}; it must be from {LEAST_HINT:g} to {MOST_HINT:g}.")


def _retries(asked: Asked, hint: Hint) -> int:
    """Returns how often to try again: a load that we measured ourselves may be mended once, one that was given not."""
    if asked.retries is not None:
        return asked.retries
    return 1 if hint.value is None else 0


def _tuning(asked: Asked, profile: str) -> float | None:
    """Returns for how many seconds serving is tuned; None for the quick search, the default of quick profiles."""
    if asked.tune is False and asked.tune_seconds is not None:
        raise UsageError("--tune-seconds has no effect with --notune; leave out one of them.")
    wanted = rules.load(profile).submittable if asked.tune is None else asked.tune
    if not wanted and asked.tune_seconds is None:
        return None
    return TUNE_SECONDS if asked.tune_seconds is None else asked.tune_seconds


def _coalescing(asked: Asked, scenario: str, conf: user_conf.UserConf) -> tuple[bool, str]:
    if asked.coalesce_queries is not None:
        if asked.coalesce_queries and scenario != "server":
            raise UsageError(f"--coalesce-queries has no effect in the {scenario} scenario; it is Server's.")
        return asked.coalesce_queries, "flag"
    if conf.coalesce_queries is not None:
        return conf.coalesce_queries, "user.conf"
    return False, "default"


def _results_dir(text: str) -> str:
    path = Path(text)
    for room in environment.ROOMS:
        environment.refuse_within(str(environment.ROOT / room), {"--results-dir": text})
    blocking = next((part for part in (path, *path.parents) if part.exists() and not part.is_dir()), None)
    if blocking:
        raise UsageError(
            f"The results directory {path} cannot be made: {blocking} is a file. Give another with --results-dir."
        )
    return text
