"""Carries out a plan: gets it ready, runs its tests, judges them, and tries an invalid one again where asked to."""

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import RunFailed, TandemError, UsageError
from common.files import write_json
from scenarios.harness import logs, timeline
from scenarios.harness.timeline import Timeline
from suite import conduct, curve, evidence, memory, peak, prepare, resources, rules, stages, store
from suite.conduct import Ready
from suite.evidence import Evidence
from suite.explain import Explanation, explain
from suite.law.drain import counted
from suite.peak import Peak, Probe
from suite.plan import PEAK, Plan
from suite.progress import say
from suite.seek import seek
from suite.verdict import Verdict, facts_of, judge, judge_single


@dataclass(frozen=True)
class Sought:
    """A peak that was sought: what the probes found, and the full runs that followed, as points of the same curve."""

    peak: Peak
    confirmations: tuple[Probe, ...] = ()

    @property
    def confirmed(self) -> Probe | None:
        """The full run at the highest load that was held, or the last where none was; None where there was none."""
        held = [one for one in self.confirmations if one.held]
        return max(held, key=lambda one: one.qps) if held else next(iter(self.confirmations[-1:]), None)

    @property
    def seen(self) -> tuple[Probe, ...]:
        """Every load that was tried."""
        return (*self.peak.probes, *self.confirmations)

    def record(self) -> dict[str, Any]:
        """Returns it as JSON-like values."""
        confirmations = [asdict(one) for one in self.confirmations]
        confirmed = self.confirmed and asdict(self.confirmed)
        return {**self.peak.record(), "confirmations": confirmations, "confirmed": confirmed}


@dataclass(frozen=True)
class Outcome:
    """What came of a plan: the evidence of its runs, the verdict on them, and every attempt's figure so far.

    `attempts` counts every performance test that was started for the variant in this scenario and profile, those
    that failed included; `figures` are those of the valid ones, none in Server, where each is of a load of its own.
    """

    ready: Ready
    runs: tuple[Evidence, ...]
    verdict: Verdict
    explanations: tuple[Explanation, ...]
    attempts: int
    figures: tuple[float, ...]
    sought: Sought | None = None

    @property
    def exit_code(self) -> int:
        """0 where both runs count, or the one run is what it should be; else 1."""
        return 0 if self.verdict.passed else 1


def execute(plan: Plan) -> Outcome:
    """Returns the outcome; raises UsageError, RunFailed (its record is on disk) or KeyboardInterrupt (likewise)."""
    store.check_results(Path(plan.results_dir))
    ready = prepare.ready(plan)
    runs: list[Evidence] = []
    explanations: tuple[Explanation, ...] = ()
    sought = None
    if plan.mode == PEAK:
        ready, performance, explanations, sought = _peak(ready)
        runs.append(performance)
        _keep_curve(ready, sought, performance.folder.parent)
    elif "performance" in plan.modes:
        ready, performance, explanations = _performance(ready)
        runs.append(performance)
    if "accuracy" in plan.modes:
        result = runs[0].folder.parent if runs else _new_result(ready)
        runs.append(_run(ready, "accuracy", result))
    if plan.stages:
        _draw_stages(ready, runs[0])
    attempts, figures = _attempts(ready)
    verdict = _judge(ready, runs, figures)
    _keep(verdict, runs[0].folder.parent / "verdict.json")
    return Outcome(ready, tuple(runs), verdict, explanations, attempts, figures, sought)


def _peak(ready: Ready) -> tuple[Ready, Evidence, tuple[Explanation, ...], Sought]:
    """Returns the full run at the highest load that was held, or the last one where none was."""
    found = seek(ready)
    if found.qps is None:
        lowest, folder = min(one.qps for one in found.probes), _new_result(ready)
        kept = _curve_of_failure(ready, Sought(found), folder)
        raise RunFailed(
            f"No load was held within {ready.rules.target_latency_ms:g} ms, down to {lowest:,.1f} queries/s: the model "
            "is too slow for the limit here. Try a smaller --max-batch, or more --threads and fewer --sessions. "
            f"{'The curve is' if kept else 'There was no room for the curve,'} {folder / 'peak.svg'}."
        )
    if found.bounded:
        say(f"peak: the search ended with its {len(found.probes)} probes; a higher load may be held")
    made: list[tuple[Probe, Ready, Evidence, tuple[Explanation, ...]]] = []
    limit_ms = ready.rules.target_latency_ms or 0
    while (qps := peak.confirming(found.qps, [one[0] for one in made], limit_ms)) is not None:
        preparation = {**ready.preparation, "peak": {**found.record(), "full_runs_before": len(made)}}
        at = replace(ready, hint=qps, hint_source=PEAK, preparation=preparation)
        _check_memory(at)
        folder = _new_result(at)
        try:
            run = _run(at, "performance", folder)
        except RunFailed:
            _curve_of_failure(ready, Sought(found, tuple(one[0] for one in made)), folder)
            raise
        explanations = explain(run)
        made.append((_confirmation(run, qps, held=not explanations), at, run, explanations))
        say(peak.sentence(made[-1][0]))
        if explanations and not any(one.retry for one in explanations):
            # It is not the load that is at fault.
            break
    sought = Sought(found, tuple(one[0] for one in made))
    _, at, run, explanations = next(one for one in reversed(made) if one[0] is sought.confirmed)
    return at, run, explanations, sought


def _confirmation(run: Evidence, qps: float, *, held: bool) -> Probe:
    """Returns a full run as a point of the curve, its latencies LoadGen's own."""
    result = run.result
    latencies = {} if result is None else {key: value / 1e6 for key, value in result.percentiles_ns.items()}
    count, late, took_ns = (
        (0 if result is None else result.number(key) or 0)
        for key in ("result_query_count", "result_overlatency_query_count", "generated_query_duration")
    )
    p50, p90, p99 = (latencies.get(key) for key in (0.5, 0.9, 0.99))
    return Probe(qps, held, "LoadGen", int(count), int(late), p50, p90, p99, took_ns / 1e9)


def _keep_curve(ready: Ready, sought: Sought, folder: Path) -> None:
    """Writes the curve into the folder of a result: as JSON, as a table and as pictures."""
    limit_ms, last = ready.rules.target_latency_ms or 0.0, sought.confirmed
    title = f"{ready.plan.workload} on {ready.plan.backend} ({ready.serving.device}), server"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "peak.json", {"schema": 1, **sought.record()})
        curve.write_csv(folder / "peak.csv", sought.seen)
        pictures = [folder / f"peak.{suffix}" for suffix in ("svg", "png")]
        curve.draw(pictures, sought.seen, last.qps if last and last.held else None, limit_ms, title)
    except OSError as error:
        raise RunFailed(f"The curve could not be written to {folder} ({error.strerror or error}).") from error


def _curve_of_failure(ready: Ready, sought: Sought, folder: Path) -> bool:
    """Tells whether the curve of a search that came to nothing could be kept; what it came to is said by the caller."""
    try:
        _keep_curve(ready, sought, folder)
    except RunFailed:
        return False
    return True


def _draw_stages(ready: Ready, run: Evidence) -> None:
    """Draws the stages of a performance run beside it."""
    found, folder, plan = stages.read(run.folder), run.folder.parent, ready.plan
    if found is None:
        return
    title = f"{plan.workload} on {plan.backend} ({ready.serving.device}), {plan.scenario}"
    try:
        stages.draw([folder / f"stages.{suffix}" for suffix in ("svg", "png")], found, title)
    except OSError as error:
        raise RunFailed(f"The stages could not be drawn into {folder} ({error.strerror or error}).") from error


def _performance(ready: Ready) -> tuple[Ready, Evidence, tuple[Explanation, ...]]:
    """Returns the last performance run, after as many tries as were asked for, and why it is not valid if it is not."""
    _check_memory(ready)
    for left in range(ready.plan.retries, -1, -1):
        run = _run(ready, "performance", _new_result(ready))
        explanations = explain(run)
        changed = next((one.retry for one in explanations if one.retry), None)
        if not left or changed is None:
            break
        again = replace(ready, hint=changed, hint_source="retry")
        try:
            _check_memory(again)
        except UsageError as error:
            say(f"invalid, and not tried again with what was advised: {error}")
            break
        say(f"invalid: {explanations[0].advice} Trying again with that load.")
        ready = again
    return ready, run, explanations


def _check_memory(ready: Ready) -> None:
    assert ready.hint is not None
    memory.check(ready.scenario, ready.rules, ready.hint, resources.available_memory(), ready.plan.profile)


def _new_result(ready: Ready) -> Path:
    plan = ready.plan
    return store.new_result(Path(plan.results_dir), plan.workload, ready.variant.id, plan.scenario)


def _run(ready: Ready, mode: str, result: Path) -> Evidence:
    """Returns a finished run's evidence; raises RunFailed, with the folder of its record, for one that failed."""
    run = evidence.read(conduct.run(ready, mode, result))
    if run.get("state") != "finished":
        raise RunFailed(f"{str(run.get('reason')).rstrip('.')}. Its record is in {run.folder}")
    return run


def _keep(verdict: Verdict, path: Path) -> None:
    try:
        write_json(path, verdict.record())
    except OSError as error:
        raise RunFailed(f"The verdict could not be written to {path} ({error.strerror or error}).") from error


def _attempts(ready: Ready) -> tuple[int, tuple[float, ...]]:
    """Returns how many performance tests were started at this, and the figures of those that have one."""
    plan = ready.plan
    found = store.attempts(Path(plan.results_dir), plan.workload, ready.variant.id, plan.scenario, plan.profile)
    figures = []
    for folder, record in found if plan.scenario != "server" else ():
        if record.get("state") != "finished":
            continue
        with contextlib.suppress(TandemError):
            result = logs.read(folder)
            figure = counted(plan.scenario, result, Timeline.load(folder / timeline.FILE))
            if result.validity == "VALID" and figure is not None:
                figures.append(figure.value)
    return len(found), tuple(figures)


def _judge(ready: Ready, runs: list[Evidence], figures: tuple[float, ...]) -> Verdict:
    profile, facts = rules.load(ready.plan.profile), facts_of(ready.workload, ready.dataset)
    if len(runs) == 2:
        return judge(runs[0], runs[1], profile, facts, attempts=figures, judged_by=ready.source_sha256)
    return judge_single(runs[0], profile, facts, judged_by=ready.source_sha256)
