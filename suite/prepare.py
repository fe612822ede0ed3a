"""Gets a plan ready: data, artifact, variant, serving, load hint, and how steady the answers are.

What was found once for a variant on this machine is kept, under a key of everything that it depends on.
"""

import contextlib
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from common.errors import RunFailed
from common.files import digest_of, write_json
from common.names import unknown
from reference_models.base import Model, Workload
from scenarios.base import LoadRules, Scenario
from suite import artifacts, awake, derived, environment, launch, memory, plugins, recipes, resources, rules, store
from suite.conduct import Ready
from suite.plan import PEAK, Plan
from suite.plugins import BackendDescription
from suite.progress import say, shown
from suite.recipes import Step
from suite.search import Terms
from suite.subject import describe
from suite.variant import Serving, Variant


@dataclass(frozen=True)
class Made:
    """A plan's variant, and what a child needs to open it; `origin` is what its recipe began from."""

    backend: BackendDescription
    variant: Variant
    subject: dict[str, Any]
    origin: dict[str, Any]


def ready(plan: Plan) -> Ready:
    """Returns the plan with all that a test needs.

    Raises UsageError where data, backend, device or memory are missing or something is corrupt, RunFailed where a probe
    fails.
    """
    workload, scenario = (
        plugins.workload(plan.workload),
        cast(Scenario, plugins.load("scenarios", "scenario", plan.scenario)),
    )
    profile = rules.load(plan.profile)
    load_rules = profile.load_rules(plan.scenario, workload.dataset_name)
    if "performance" in plan.modes and plan.hint.value is not None:
        # Before anything takes long, and again once the sessions have their memory.
        memory.check(scenario, load_rules, plan.hint.value, resources.available_memory(), plan.profile)
    dataset = workload.open_dataset(Path(plan.data_dir))
    made = make(plan)
    variant, subject = made.variant, made.subject
    source = environment.source_digest()
    terms = _terms(plan, scenario, load_rules, profile)
    answer = _search(plan, variant, subject, made.origin, terms, [made.backend.version, source])
    findings, measured = answer["findings"], answer["measured"]
    return Ready(
        plan=plan,
        workload=workload,
        dataset=dataset,
        scenario=scenario,
        rules=load_rules,
        rules_digest=profile.digest,
        variant=variant,
        subject=subject,
        serving=Serving(**findings["serving"]),
        preparation={
            "schema": 1,
            **findings,
            "hints": measured or {},
            "backend_version": made.backend.version,
            "variant_id": variant.id,
            "source_sha256": source,
            "fingerprint": environment.fingerprint(findings["serving"]["device"]),
        },
        hint=measured["value"] if plan.hint.value is None and measured else plan.hint.value,
        hint_source=plan.hint.source,
        backend_version=made.backend.version,
        source_sha256=source,
    )


def make(plan: Plan) -> Made:
    """Returns the plan's variant, its models made first where they are not in the cache.

    Raises UsageError where the backend cannot have it, RunFailed where a step fails.
    """
    workload, backend = plugins.workload(plan.workload), _backend(plan)
    # What the backend or the workload cannot have is refused before anything takes long.
    recipes.check(plan.recipe, backend, plan.options)
    recipes.check_answers(plan.recipe, workload)
    _check_device(plan)
    base = _model(plan, workload, recipes.formats(plan.recipe, backend))
    variant = recipes.fold(
        plan.recipe,
        workload=plan.workload,
        backend=backend,
        model=base,
        requested=plan.requested,
        made=lambda step, model: _made(plan, workload, step, model),
        options=plan.options,
    )
    data, options = Path(plan.data_dir), dict(variant.options)
    return Made(
        backend=backend,
        variant=variant,
        subject=describe(plan.workload, plan.backend, variant.model, options, data),
        origin=describe(plan.workload, plan.backend, base, options, data),
    )


def _backend(plan: Plan) -> BackendDescription:
    """Returns what the backend says of itself; a stranger's module is imported in a child alone."""
    if not plugins.is_foreign(plan.backend):
        return plugins.describe(plan.backend)
    answer = call("describe", {"backend": plan.backend}, plan.stall_timeout_s, "getting ready")
    backend = BackendDescription.from_record(answer)
    environment.refuse_within(str(backend.folder), {"--results-dir": plan.results_dir, "--cache-dir": plan.cache_dir})
    return backend


def _check_device(plan: Plan) -> None:
    """Raises UsageError where the device that was asked for cannot be used here."""
    if plan.requested.device == "auto":
        return
    usable = call("devices", {"backend": plan.backend}, plan.stall_timeout_s, "getting ready")["devices"]
    if plan.requested.device not in usable:
        raise unknown(f"device of the backend {plan.backend} here,", plan.requested.device, usable)


def _terms(plan: Plan, scenario: Scenario, load_rules: LoadRules, profile: rules.Rules) -> Terms:
    return Terms(
        scenario=plan.scenario,
        samples_per_query=load_rules.samples_per_query,
        target_latency_ms=load_rules.target_latency_ms,
        load_fraction=profile.scenarios[plan.scenario].load_fraction,
        inline=scenario.INLINE,
    )


def _model(plan: Plan, workload: Workload, formats: tuple[str, ...]) -> Model:
    """Returns the model in the backend's format: the cached artifact, made first where there is none."""
    cache = Path(plan.cache_dir)
    cached = artifacts.cached(workload, formats, cache)
    if cached is not None:
        return cached
    job = {"workload": plan.workload, "formats": formats, "data_dir": plan.data_dir, "cache_dir": plan.cache_dir}
    call("export", job, plan.stall_timeout_s, "preparing the model")
    return artifacts.prepared(workload, formats, cache)


def _made(plan: Plan, workload: Workload, step: Step, model: Model) -> Model:
    """Returns what a recipe's step has made of a model: from the cache, made first where it is not there."""
    cache = Path(plan.cache_dir)
    found = derived.cached(step, model, workload, cache)
    if found is None:
        job = {
            "step": asdict(step),
            "model": {**asdict(model), "path": str(model.path)},
            "workload": plan.workload,
            "data_dir": plan.data_dir,
            "cache_dir": plan.cache_dir,
        }
        call("make", job, plan.stall_timeout_s, "preparing the model")
        found = derived.cached(step, model, workload, cache)
    if found is None:
        raise RunFailed(f"{step.name} left no model in {cache}; look whether something else deletes files there.")
    return found


def _search(
    plan: Plan,
    variant: Variant,
    subject: dict[str, Any],
    origin: dict[str, Any],
    terms: Terms,
    versions: list[str],
) -> dict[str, Any]:
    """Returns what is found for a variant; `origin` is the subject of the model that its recipe began from."""
    machine = environment.fingerprint(variant.requested.device)
    # What root found keeps the cores awake, as another user may not.
    key = digest_of([variant.id, asdict(terms), machine, awake.possible(), *versions])
    kept = Path(plan.cache_dir) / "search" / f"{key}.json"
    known = {} if plan.search_again else _read(kept)
    if plan.tune_seconds is not None and plan.tune_seconds > known.get("tuned", {}).get("asked_s", 0):
        # What was tuned once serves those who ask for no more as well: two runs are only judged if served alike.
        known = {}
    begun = known or {"artifact_check": _compared(plan, origin, versions), "measured_at": store.now()}
    job = {
        "subject": subject,
        "terms": asdict(terms),
        "requested": asdict(variant.requested),
        "known": begun,
        "tune_seconds": plan.tune_seconds,
        "seed": secrets.randbits(63),
        "seeks_peak": plan.mode == PEAK,
        # How fast the streams are decides too how many of their answers LoadGen is told to log.
        "wants_hint": (plan.hint.value is None or terms.inline) and "performance" in plan.modes,
    }
    answer: dict[str, Any] = call("search", job, plan.stall_timeout_s, "getting ready")
    if not known:
        _keep(kept, answer["findings"])
    return answer


def _compared(plan: Plan, origin: dict[str, Any], versions: list[str]) -> Any:
    """Returns how far an exported reference is from the reference itself: its card alone could have been rewritten.

    That is the same for all variants that are made of it.
    """
    if origin["model"]["format"] != artifacts.EXPORT_FORMAT:
        return None
    weights = plugins.workload(plan.workload).weights_sha256
    key = digest_of([origin["workload"], origin["model"]["sha256"], weights, environment.fingerprint("cpu"), *versions])
    kept = Path(plan.cache_dir) / "search" / f"compared-{key}.json"
    known = {} if plan.search_again else _read(kept)
    if not known:
        known = call("compare", {"subject": origin}, plan.stall_timeout_s, "getting ready")
        _keep(kept, known)
    return known


def call(task: str, job: dict[str, Any], stall_timeout_s: float, title: str, *, quiet: bool = False) -> Any:
    """Runs a task of preparation, shown under `title`; its stderr is kept only where it fails."""
    display = contextlib.nullcontext(lambda progress: None) if quiet else shown(title)
    descriptor, name = tempfile.mkstemp(prefix="tandem-", suffix=".log")
    os.close(descriptor)
    log = Path(name)
    try:
        with display as watch:
            answer = launch.call(task, job, log=log, stall_timeout_s=stall_timeout_s, watch=watch)
    except RunFailed as error:
        if log.stat().st_size:
            raise RunFailed(f"{error} What it wrote is in {log}") from error
        log.unlink()
        raise
    except BaseException:
        log.unlink(missing_ok=True)
        raise
    log.unlink()
    return answer


def _keep(path: Path, findings: dict[str, Any]) -> None:
    """Keeps what was found, with its digest, or says what it means that it cannot be kept."""
    try:
        write_json(path, {"findings": findings, "sha256": digest_of(findings)})
    except OSError as error:
        say(
            f"warning: the search could not be kept ({error}); the next command searches again, and where it finds "
            "another serving, its runs are not judged together with these."
        )


def _read(path: Path) -> dict[str, Any]:
    """Returns what was kept, or nothing where it is missing or damaged: it is found again then."""
    with contextlib.suppress(OSError, ValueError, RecursionError, TypeError, KeyError):
        value = json.loads(path.read_text(encoding="utf-8"))
        findings: dict[str, Any] = value["findings"]
        if value["sha256"] == digest_of(findings):
            return findings
    return {}
