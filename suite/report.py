"""What a person, or a program, is told of an outcome."""

import statistics
from collections.abc import Sequence
from typing import Any

from common.errors import TandemError
from common.files import canonical_json
from reference_models.forms import RAW
from suite import arithmetic, curve, placement, recipes, stages
from suite.execute import Outcome, Sought
from suite.law import complete
from suite.law.drain import Counted
from suite.plugins import is_foreign
from suite.variant import Serving
from suite.verdict import facts_of

# Latencies are the better the lower they are.
LATENCY_UNIT = "ns"


def report(outcome: Outcome, *, as_json: bool) -> str:
    """Returns the report as text for one screen, or as one JSON object."""
    return canonical_json(_record(outcome)).rstrip() if as_json else "\n".join(_lines(outcome))


def _record(outcome: Outcome) -> dict[str, Any]:
    plan, ready = outcome.ready.plan, outcome.ready
    metrics = _metrics(outcome)
    return {
        "schema": 1,
        "workload": plan.workload,
        "backend": {"name": plan.backend, "version": ready.backend_version, "device": ready.serving.device},
        "scenario": plan.scenario,
        "profile": plan.profile,
        "variant": ready.variant.record(),
        "serving": ready.serving.__dict__,
        "runs": {run.mode: str(run.folder) for run in outcome.runs},
        "accuracy": None if metrics is None else {**metrics, "target": ready.workload.target},
        "attempts": outcome.attempts,
        "peak": None if outcome.sought is None else outcome.sought.record(),
        "arithmetic": outcome.ready.preparation.get("arithmetic"),
        "stages": _stages_record(outcome),
        "invalid_because": [one.__dict__ for one in outcome.explanations],
        "verdict": outcome.verdict.record(),
    }


def _end_to_end(chain: Sequence[str]) -> str:
    if recipes.form(chain).stored == RAW:
        return "end to end: preprocessing inside the measured region; samples are stored as pixels, not to be decoded"
    return "end to end: decode and preprocessing inside the measured region"


def _lines(outcome: Outcome) -> list[str]:
    plan, ready, serving = outcome.ready.plan, outcome.ready, outcome.ready.serving
    told = (_speed, _load, _accuracy, _goodput, _arithmetic, _attempts)
    facts = [row for row in (tell(outcome) for tell in told) if row]
    width = max((len(name) for name, _ in facts), default=0)
    return [
        f"{plan.workload} on {plan.backend} {ready.backend_version} ({serving.device}), {plan.scenario}, "
        f"{plan.profile} profile",
        *([_end_to_end(ready.variant.model.chain)] if serving.end_to_end else []),
        f"{_made(outcome)}, variant {ready.variant.id}; {serving.layout}"
        f"{_pinned(serving)}{', cores kept awake' if serving.awake else ''}",
        "",
        *(f"  {name:<{width}}  {text}" for name, text in facts),
        "",
        *(f"  {line}" for line in outcome.verdict.lines()[:-1]),
        *_searched(outcome),
        *_curve(outcome),
        *_stages(outcome),
        *_why(outcome),
        "",
        outcome.verdict.closing,
        *(f"{run.mode} evidence: {run.folder}" for run in outcome.runs),
    ]


def _made(outcome: Outcome) -> str:
    """Returns what the variant is; of what a stranger's backend makes of the reference only the backend knows."""
    plan = outcome.ready.plan
    made = plan.recipe or ("reference as that backend runs it" if is_foreign(plan.backend) else "fp32 reference")
    return f"{made} ({', '.join(f'{name}={value}' for name, value in plan.options.items())})" if plan.options else made


def _pinned(serving: Serving) -> str:
    return f", pinned to {placement.named(serving.pin)}" if serving.pin else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _speed(outcome: Outcome) -> tuple[str, str] | None:
    counted, run = outcome.verdict.counted, outcome.runs[0]
    if counted is None or run.result is None:
        return None
    name = "latency" if counted.unit == LATENCY_UNIT else "throughput"
    samples = run.get("sut", "samples_completed")
    label = "" if counted.label == name else f"{counted.label}; "
    said = f"{label}LoadGen {run.get('loadgen_version')}: {run.result.validity}, {samples:,} samples"
    return name, f"{_figure(counted.value, counted.unit)}  ({said}{_drained(counted)})"


def _figure(value: float, unit: str) -> str:
    return f"{value / 1e6:,.4g} ms" if unit == LATENCY_UNIT else f"{value:,.1f} {unit}"


def _drained(counted: Counted) -> str:
    """Returns the other of the two figures of a throughput: LoadGen's own, or the one until the last completion."""
    if counted.timeline is None:
        return ""
    if counted.value == counted.loadgen:
        return f"; until the last completion {counted.timeline:,.1f}"
    return f"; LoadGen says {_figure(counted.loadgen, counted.unit)}, until the last completion it is less"


def _load(outcome: Outcome) -> tuple[str, str] | None:
    ready = outcome.ready
    if ready.plan.scenario != "server" or outcome.runs[0].mode != "performance":
        return None
    limit = f"{ready.rules.target_latency_ms:g} ms at p{100 * (ready.rules.target_latency_percentile or 0.0):g}"
    if outcome.sought is not None:
        return _peak(outcome, outcome.sought, limit)
    ours = ready.hint_source in ("measured", "retry")
    held = outcome.runs[0].result is not None and outcome.runs[0].result.validity == "VALID"
    who = "load held, not the peak: --target-qps asks for another" if ours else f"from {ready.hint_source}"
    return "load", f"{ready.hint:,.1f} queries/s, {'held within' if held else 'not held within'} {limit}  ({who})"


def _peak(outcome: Outcome, sought: Sought, limit: str) -> tuple[str, str]:
    """Returns the peak, or the last load below it that was tried, beside what its serving does offline."""
    last, offline = sought.confirmed, sought.peak.offline_samples_per_s
    assert last is not None, "a peak is reported of full runs"
    tried = f"{_count(len(sought.peak.probes), 'probe')}, {_count(len(sought.confirmations), 'full run')}"
    held = "within" if last.held else "not within"
    share = f"{last.qps / offline:.2f} of what this serving does offline, {offline:,.0f} samples/s"
    return "peak", f"{last.qps:,.1f} queries/s {held} {limit}: {share}  ({tried})"


def _curve(outcome: Outcome) -> list[str]:
    """Returns the latency curve as a table, the lowest load first, and where its pictures are."""
    if outcome.sought is None:
        return []
    heads = f"{'queries/s':>12}{'p50 ms':>10}{'p90 ms':>10}{'p99 ms':>10}{'late':>9}  held"
    lines = [
        f"{one.qps:>12,.1f}{_ms(one.p50_ms)}{_ms(one.p90_ms)}{_ms(one.p99_ms)}{one.late:>9,}  "
        f"{'yes' if one.held else 'no'}{', full run' if one in outcome.sought.confirmations else f', {one.decided_by}'}"
        for one in curve.ordered(outcome.sought.seen)
    ]
    folder = outcome.runs[0].folder.parent
    return ["", f"  {heads}", *(f"  {line}" for line in lines), "", f"  curve: {folder}/peak.csv, peak.svg, peak.png"]


def _stages_record(outcome: Outcome) -> dict[str, Any] | None:
    found = stages.read(outcome.runs[0].folder)
    return None if found is None else found.record()


def _stages(outcome: Outcome) -> list[str]:
    """Returns the stages of a sample as a table, and where their picture is."""
    if not outcome.ready.plan.stages:
        return []
    run = outcome.runs[0]
    found = stages.read(run.folder)
    if found is None:
        return ["", "  stages: no part of the load was followed; the run was too short"]
    return ["", *(f"  {line}" for line in found.lines()), f"  stages: {run.folder.parent}/stages.svg, stages.png"]


def _ms(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.2f'):>10}"


def _metrics(outcome: Outcome) -> dict[str, Any] | None:
    run = outcome.runs[-1]
    if run.mode != "accuracy":
        return None
    try:
        return dict(complete.metrics_of(run, facts_of(outcome.ready.workload, outcome.ready.dataset)))
    except TandemError:
        return None


def _accuracy(outcome: Outcome) -> tuple[str, str] | None:
    metrics, workload = _metrics(outcome), outcome.ready.workload
    if outcome.runs[-1].mode != "accuracy":
        return None
    if metrics is None:
        return "accuracy", "cannot be computed from this log"
    parts = [f"95 % interval {metrics['low_95']:.2f} to {metrics['high_95']:.2f}"] if "low_95" in metrics else []
    parts.append(f"target {workload.target:.2f}: {100 * workload.target_factor:g} % of the fp32 reference")
    return "accuracy", f"{metrics[workload.metric]:.2f} % {workload.metric}  ({'; '.join(parts)})"


def _goodput(outcome: Outcome) -> tuple[str, str] | None:
    """Returns how many right answers a second there were in time."""
    found = outcome.verdict.goodput
    if found is None:
        return None
    in_time = "" if found.in_time == 1 else f", {100 * found.in_time:.2f} % in time"
    said = f"{found.right:,} of {found.sampled:,} sampled answers right{in_time}"
    return "goodput", f"{found.per_s:,.1f} right answers/s  ({said})"


def _arithmetic(outcome: Outcome) -> tuple[str, str] | None:
    """Returns which arithmetic ran, whatever the variant is called."""
    found = outcome.ready.preparation.get("arithmetic")
    return ("arithmetic", f"{arithmetic.shares(found)}  (of the multiply-accumulates)") if found else None


def _attempts(outcome: Outcome) -> tuple[str, str] | None:
    if outcome.runs[0].mode != "performance":
        return None
    text = str(outcome.attempts)
    if len(outcome.figures) > 1 and outcome.verdict.counted is not None:
        unit = outcome.verdict.counted.unit
        best = min(outcome.figures) if unit == LATENCY_UNIT else max(outcome.figures)
        middle = statistics.median(outcome.figures)
        valid = f"{len(outcome.figures)} valid: " if len(outcome.figures) < outcome.attempts else ""
        text += f"  ({valid}best {_figure(best, unit)}, {best / middle:.2f} times the median, {_figure(middle, unit)})"
    return "attempts", text


def _searched(outcome: Outcome) -> list[str]:
    """Returns a note where batch, sessions and threads were searched while the machine had other work."""
    asked, found = outcome.ready.variant.requested, outcome.ready.preparation
    load, cores = found.get("load_average_1min", 0.0), found["fingerprint"]["cores"]
    if load <= cores or None not in (asked.batch, asked.sessions, asked.threads):
        return []
    return [
        f"  note  batch, sessions and threads were searched on a busy machine (load average {load:g} on {cores} "
        "cores); --search-again does it anew"
    ]


def _why(outcome: Outcome) -> list[str]:
    """Returns, for an invalid run, each rule it broke, the log's line that shows it, and what to change."""
    lines = []
    for one in outcome.explanations:
        lines += ["", f"  invalid because of its {one.rule}: {one.advice}"]
        lines += [f"    {one.line}"] if one.line else []
    return lines
