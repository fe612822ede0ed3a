"""Runs one LoadGen test from a plan, and leaves its evidence whatever happens."""

import contextlib
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RunFailed, TandemError
from common.files import write_json
from reference_models.base import Dataset, Workload
from scenarios.base import SAMPLED_ANSWERS, LoadRules, Scenario, test_settings
from scenarios.harness import logs
from suite import environment, interrupts, launch, machine_state, store
from suite.evidence import ENVIRONMENT, PREPARATION, REFERENCE_AFTER, SCHEMA, lookup, write_manifest
from suite.memory import predicted_bytes
from suite.plan import Plan
from suite.progress import say, shown
from suite.variant import Serving, Variant

# Beside --stall-timeout: LoadGen says nothing while it generates (about 1 µs a query) and between Server's arrivals.
GENERATION_S_PER_QUERY = 3e-6
ARRIVAL_GAPS = 30

# What the record says of the process that ran the test.
OF_THE_PROCESS = ("peak_rss_bytes", "loadgen_version", "issuing_thread_yields", "keeps_freed_memory")


@dataclass(frozen=True)
class Ready:
    """A plan with everything that had to be found out before a test can start."""

    plan: Plan
    workload: Workload
    dataset: Dataset
    scenario: Scenario
    rules: LoadRules
    rules_digest: str
    variant: Variant
    subject: dict[str, Any]
    serving: Serving
    preparation: dict[str, Any]
    hint: float | None
    hint_source: str
    backend_version: str
    source_sha256: str


@interrupts.held()
def run(ready: Ready, mode: str, result: Path) -> Path:
    """Runs one test and returns its folder. The record says finished, failed or interrupted.

    Raises KeyboardInterrupt after Ctrl-C, when the record is on disk.
    """
    # LoadGen paces Server by the hint in accuracy mode too, where the load says nothing.
    hint = ready.hint if mode == "performance" and ready.hint is not None else _idle_hint(ready.scenario)
    settings = _settings(ready, hint)
    record = _record(ready, mode, hint, settings)
    folder, refused = _opened(result, mode, record)
    interrupted = False
    try:
        if refused:
            raise refused
        write_json(folder / ENVIRONMENT, environment.environment(ready.serving.device))
        write_json(folder / PREPARATION, ready.preparation)
        if mode == "performance":
            _say_if_busy()
        record.update(_test(ready, mode, hint, settings, folder, record))
    except KeyboardInterrupt:
        record.update(state="interrupted", reason="The run was interrupted.")
        interrupted = True
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the run leaves a record that says so
        record.update(state="failed", reason=_sentence(error))
    _close(folder, record)
    if interrupted:
        raise KeyboardInterrupt
    return folder


def _opened(result: Path, mode: str, record: dict[str, Any]) -> tuple[Path, OSError | None]:
    """Returns a fresh run folder with its record, and what kept the record from being written if something did."""
    folder = store.new_run(result, mode)
    try:
        store.write_record(folder, record)
    except OSError as error:
        return folder, error
    return folder, None


def _idle_hint(scenario: Scenario) -> float:
    """Returns a hint for an accuracy run; LoadGen paces Server's by it, which should not be what takes the time."""
    return 1e6 if scenario.HINT_UNIT == "ns" else 1e5


def _settings(ready: Ready, hint: float) -> dict[str, Any]:
    """Returns LoadGen's settings; the sampled answers are drawn anew for each run, so that none can foresee them."""
    seed, sampled = secrets.randbits(63), _sampling_target(ready, hint)
    settings = test_settings(ready.scenario, ready.rules, hint, seed, sampled)
    if ready.plan.scenario == "server":
        settings["server_coalesce_queries"] = ready.plan.coalesce_queries
    return settings


def _sampling_target(ready: Ready, hint: float) -> int:
    """Returns how many answers LoadGen must be told to log so that SAMPLED_ANSWERS are.

    It spreads them over the queries that it expects, and in the streams the hint may make it expect far too many.
    """
    measured = lookup(ready.preparation, "hints", "measured_latency_ns")
    if measured is None:
        return SAMPLED_ANSWERS
    expected, likely = (ready.scenario.generated(ready.rules, one).expected_samples for one in (hint, measured))
    return math.ceil(SAMPLED_ANSWERS * max(1.0, expected / likely))


def _say_if_busy() -> None:
    busy = machine_state.busy_now()
    if busy:
        others, cores = busy
        say(
            f"note: other programs use {others:.1f} of {cores} core{'' if cores == 1 else 's'} now; "
            "stop them, or expect a worse figure."
        )


@contextlib.contextmanager
def _watched(record: dict[str, Any]) -> Iterator[None]:
    """Has the record say what happened to the machine meanwhile, whatever the end."""
    before = machine_state.reading()
    try:
        yield
    finally:
        record["machine_during"] = machine_state.during(before, machine_state.reading())


def _test(
    ready: Ready, mode: str, hint: float, settings: dict[str, Any], folder: Path, record: dict[str, Any]
) -> dict[str, Any]:
    """Runs the test's process and returns what the record must say of it; of the machine it is told directly."""
    expected = ready.scenario.generated(ready.rules, hint)
    unseen_seed = secrets.randbits(63)
    job = {
        "subject": ready.subject,
        "serving": ready.serving.__dict__,
        "folder": str(folder.resolve()),
        "mode": mode,
        "inline": ready.scenario.INLINE,
        "settings": settings,
        "performance_samples": ready.rules.performance_sample_count,
        "unseen_seed": unseen_seed,
        "expected_samples": expected.expected_samples if mode == "performance" else ready.dataset.total,
        "save_outputs": ready.plan.save_outputs and mode == "accuracy",
        "stages": ready.plan.stages and mode == "performance",
    }
    with shown(f"{ready.plan.scenario} {mode} run") as watch, _watched(record):
        seen = launch.call(
            "test",
            job,
            log=folder / "worker.log",
            stall_timeout_s=ready.plan.stall_timeout_s + _allowance(ready, mode, hint, expected.queries),
            watch=watch,
        )
    sut = {key: seen[key] for key in ("samples_issued", "samples_completed", "faults")}
    facts = {"sut": sut, **{key: seen[key] for key in OF_THE_PROCESS}}
    if seen["faults"]:
        fault = seen["faults"][0]
        return {**facts, "state": "failed", "reason": f"The backend failed: {fault['detail'].rstrip('.')}."}
    if any(seen[key] != ready.source_sha256 for key in ("source_before", "source_after")):
        return {**facts, "state": "failed", "reason": "Tandem's own sources were changed while it ran; run it again."}
    if seen["plugin_sha256"] != ready.variant.plugin_sha256 or seen["version"] != ready.backend_version:
        return {**facts, "state": "failed", "reason": "The backend was changed while it was being used; run it again."}
    result = logs.read(folder)
    if not result.finished:
        return {**facts, "state": "failed", "reason": "LoadGen's logs have no end: the disk may be full."}
    if mode == "performance" and ready.variant.eligible:
        _write_reference(ready, unseen_seed, folder)
    return {**facts, "echoed": result.group("effective_"), "state": "finished", "reason": None}


def _write_reference(ready: Ready, seed: int, folder: Path) -> None:
    """Has the reference answer the inputs that the system under test answered after its test."""
    job = {"workload": ready.plan.workload, "data_dir": ready.plan.data_dir, "seed": seed}
    with shown(f"{ready.plan.scenario} performance run") as watch:
        found = launch.call(
            "reference", job, log=folder / "worker.log", stall_timeout_s=ready.plan.stall_timeout_s, watch=watch
        )
    write_json(folder / REFERENCE_AFTER, {"schema": SCHEMA, **found})


def _allowance(ready: Ready, mode: str, hint: float, queries: int) -> float:
    gaps = ARRIVAL_GAPS / hint if ready.plan.scenario == "server" else 0.0
    return gaps + (GENERATION_S_PER_QUERY * queries if mode == "performance" else 0.0)


def _record(ready: Ready, mode: str, hint: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the record as it stands before the test."""
    plan, workload = ready.plan, ready.workload
    return {
        "schema": 1,
        "state": "running",
        "reason": None,
        "mode": mode,
        "scenario": plan.scenario,
        "profile": plan.profile,
        "started_at": store.now(),
        "ended_at": None,
        "asked": plan.record(),
        "rules_sha256": ready.rules_digest,
        "workload": {
            "name": workload.name,
            "dataset": workload.dataset_name,
            "dataset_sha256": ready.dataset.digest,
            "preprocessing": ready.dataset.preprocessing,
            "metric": workload.metric,
            "quality_percent": workload.quality,
            "target_percent": workload.target,
            "payload_dtype": workload.payload_dtype,
        },
        "variant": ready.variant.record(),
        "serving": ready.serving.__dict__,
        "backend": {"name": plan.backend, "version": ready.backend_version, "device": ready.serving.device},
        "hint": {"value": hint, "unit": ready.scenario.HINT_UNIT, "source": ready.hint_source},
        "coalesce_queries": {"value": plan.coalesce_queries, "source": plan.coalesce_source},
        "source_sha256": ready.source_sha256,
        "fingerprint": environment.fingerprint(ready.serving.device),
        "accuracy_log_rng_seed": settings["accuracy_log_rng_seed"],
        "settings": settings,
        "machine_during": None,
        "predicted_memory_bytes": (
            predicted_bytes(ready.scenario.generated(ready.rules, hint)) if mode == "performance" else None
        ),
    }


def _close(folder: Path, record: dict[str, Any]) -> None:
    """Writes the record and, last, the manifest: from then on the folder is a run."""
    record["ended_at"] = store.now()
    try:
        store.drop_ballast(folder)
        store.write_record(folder, record)
        write_manifest(folder)
    except OSError as error:
        raise RunFailed(
            f"The run's record could not be written to {folder} ({error.strerror or error}); "
            f"it is {record['state']}: {record['reason'] or 'its evidence is incomplete'}"
        ) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, TandemError):
        return str(error)
    if isinstance(error, OSError):
        return f"A file that the run needs cannot be used: {error.strerror or error}."
    return f"The run met an error of Tandem's own, {type(error).__name__}: {error}."
