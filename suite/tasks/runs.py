"""Tasks of a run: how to serve a variant, one LoadGen test of it, and short tests that seek the highest load."""

import os
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.files import write_json
from scenarios.base import Session
from scenarios.harness import timeline, yielding
from scenarios.harness.stages import Stages
from scenarios.harness.sut import SystemUnderTest
from scenarios.harness.timeline import Timeline
from suite import plugins
from suite.channel import Channel
from suite.environment import source_digest
from suite.evidence import PROBE_AFTER, SCHEMA
from suite.own_thread import on_own_thread
from suite.placement import pinned, shares
from suite.probes import unseen
from suite.probes.sensitivity import sensitivity
from suite.resources import peak_memory
from suite.stages import FILE as STAGES_FILE
from suite.stages import breakdown
from suite.subject import Subject
from suite.variant import Requested, Serving

if TYPE_CHECKING:
    from suite.search import Terms

CLOSE_TIMEOUT_S = 10.0


def search(job: dict[str, Any], channel: Channel) -> Any:
    """Returns the serving, the hint where one is wanted, and how steady the answers are; skips what is known."""
    from suite.search import Terms, hint, loaded

    channel.phase("loading the data")
    subject, terms, findings = Subject.open(job["subject"], channel.beat), Terms(**job["terms"]), dict(job["known"])
    requested = Requested(**job["requested"])
    subject.dataset.load(np.arange(subject.dataset.total), decoded=not requested.end_to_end)
    if "serving" not in findings:
        findings.update(_serving(subject, requested, terms, job["tune_seconds"], channel))
    serving = Serving(**findings["serving"])
    if "arithmetic" not in findings:
        findings["arithmetic"] = arithmetic_of(subject, serving, channel)
    with loaded(subject, serving) as sessions:
        if "sensitivity" not in findings:
            channel.phase("probing for answers from memory")
            with pinned(_first_cores(serving)):
                probe = on_own_thread(unseen.repeat_probe)
                findings["repeat_probe"] = probe(subject, sessions[0], serving.batch, job["seed"])
            channel.phase("answering the evaluation set in other batches")
            findings["sensitivity"] = sensitivity(subject, sessions, serving.batch, job["seed"], serving.pin)
        measured = None
        if job["wants_hint"]:
            channel.phase("measuring the load hint")
            # A peak is sought from the throughput, and by more than one probe.
            load = replace(terms, load_fraction=None) if job["seeks_peak"] else terms
            measured = hint(subject, sessions, serving, load)
    return {"findings": findings, "measured": measured}


def _serving(
    subject: Subject, requested: Requested, terms: "Terms", tune_seconds: float | None, channel: Channel
) -> dict[str, Any]:
    """Returns how to serve it, the probes that say so, and, where it was tuned, for how long."""
    from suite.search import resolve
    from suite.tune import tune

    found: dict[str, Any] = {"load_average_1min": round(os.getloadavg()[0], 2)}
    if tune_seconds is None:
        channel.phase("finding how to serve it", silent=True)
        serving, found["probes"] = resolve(subject, requested, terms)
    else:
        channel.phase(f"tuning how to serve it, for up to {tune_seconds:g} s", silent=True)
        serving, found["probes"], found["tuned"] = tune(subject, requested, terms, tune_seconds)
    return {**found, "serving": serving.__dict__}


def arithmetic_of(subject: Subject, serving: Serving, channel: Channel) -> dict[str, int] | None:
    """Returns multiply-accumulates by what ran them, None where the backend cannot tell."""
    tell = getattr(subject.backend, "arithmetic", None)
    if tell is None:
        return None
    channel.phase("looking which arithmetic runs", silent=True)
    how = {"device": serving.device, "threads": serving.threads, "options": subject.options}
    try:
        found = {str(label): int(count) for label, count in tell(subject.model, subject.workload, **how).items()}
    except Exception:  # noqa: BLE001 - a profile may be of any shape, and what it says fails no run
        traceback.print_exc()
        return None
    return found if found and min(found.values()) > 0 else None


def test(job: dict[str, Any], channel: Channel) -> Any:
    """Runs one LoadGen test into the job's folder and returns what the SUT saw."""
    from scenarios.harness import loadgen

    source_before = source_digest()
    channel.phase("loading the model", silent=True)
    subject, serving = Subject.open(job["subject"], channel.beat), Serving(**job["serving"])
    folder = Path(job["folder"])
    shape = (subject.dataset.total, *subject.workload.output_shape)
    outputs = np.full(shape, np.nan, np.float32) if job["save_outputs"] else None
    sessions = subject.load(serving)
    stages = Stages() if job["stages"] else None
    sut = _system(job, subject, serving, sessions, channel, outputs, stages)
    if job["settings"]["scenario"] == "Offline":
        # Those that end a query are of a size of their own, which some runtimes take milliseconds to get ready.
        subject.warm_up(sessions, sut.batch_sizes(job["expected_samples"]), serving.pin)
    channel.phase("running", job["expected_samples"])
    with pinned(serving.pin):
        yielded = loadgen.run_test(
            sut,
            subject.dataset,
            job["settings"],
            job["mode"],
            job["performance_samples"],
            folder,
            decoded=not serving.end_to_end,
            may_yield=yielding.pays(serving.threads),
        )
    channel.phase("saving")
    ended = sut.close(CLOSE_TIMEOUT_S)
    if not ended or sut.completed != sut.issued:
        sut.record_fault("late", f"{sut.issued - sut.completed} of {sut.issued} samples were never completed")
    seen = Timeline(**sut.timeline())
    seen.save(folder / timeline.FILE)
    if stages and not sut.faults:
        _save_stages(stages, seen, sut.side_by_side, serving.prefetch, folder)
    if outputs is not None:
        np.save(folder / "outputs.npy", outputs)
    if job["mode"] == "performance" and not sut.faults:
        # Again, with LoadGen in the process and the sessions of the test: what is fast now was fast then.
        channel.phase("probing for answers from memory")
        with pinned(_first_cores(serving)):
            found = _probed(subject, sessions, serving, job["unseen_seed"])
        write_json(folder / PROBE_AFTER, {"schema": SCHEMA, **found})
    return {
        "source_before": source_before,
        "source_after": source_digest(),
        "plugin_sha256": plugins.source_of(job["subject"]["backend"]),
        "samples_issued": sut.issued,
        "samples_completed": sut.completed,
        "faults": [fault.__dict__ for fault in sut.faults],
        "peak_rss_bytes": peak_memory(),
        "version": subject.backend.version(),
        "loadgen_version": loadgen.version(),
        "issuing_thread_yields": yielded,
        "keeps_freed_memory": job["keeps_freed_memory"],
    }


def probe(job: dict[str, Any], channel: Channel) -> Any:
    """Returns whether a load is held, as far as a short LoadGen test of it can tell; the process ends with it."""
    from suite.probes import load

    channel.phase("loading the model", silent=True)
    subject, serving = Subject.open(job["subject"], channel.beat), Serving(**job["serving"])
    sut = _system(job, subject, serving, subject.load(serving), channel)
    channel.phase("probing", job["queries"])
    # LoadGen's thread is made here and inherits the cores.
    with pinned(serving.pin):
        return load.run(
            sut,
            subject.dataset,
            job["settings"],
            job["performance_samples"],
            job["queries"],
            Path(job["folder"]),
            may_end_early=job["may_end_early"],
            decoded=not serving.end_to_end,
            may_yield=yielding.pays(serving.threads),
        )


def _system(
    job: dict[str, Any],
    subject: Subject,
    serving: Serving,
    sessions: list[Session],
    channel: Channel,
    outputs: Any = None,
    stages: Stages | None = None,
) -> SystemUnderTest:
    """Returns the system under test of a LoadGen test, whose progress the parent is told."""
    from scenarios.harness import loadgen

    sut = SystemUnderTest(
        subject.workload,
        subject.dataset,
        sessions,
        loadgen.completer() if job["inline"] else loadgen.complete,
        max_batch=serving.batch,
        max_wait_ns=serving.max_wait_us * 1000,
        prefetch=serving.prefetch,
        inline=job["inline"],
        outputs=outputs,
        cores=shares(serving.pin, serving.sessions),
        stages=stages,
    )
    channel.counts = lambda: (sut.issued, sut.answered, sut.faults[0].detail if sut.faults else None)
    return sut


def _first_cores(serving: Serving) -> tuple[int, ...]:
    """Returns the cores of the first session, whom the probes for answers from memory ask."""
    return shares(serving.pin, serving.sessions)[0]


def _probed(subject: Subject, sessions: list[Session], serving: Serving, seed: int) -> dict[str, Any]:
    subject.dataset.load(np.arange(subject.dataset.total))
    found = unseen.repeat_probe(subject, sessions[0], serving.batch, seed)
    return {**found, "unseen": {"seed": seed, "answers": unseen.answers(subject, sessions[0], serving.batch, seed)}}


def _save_stages(stages: Stages, seen: Timeline, side_by_side: int, prefetch: int, folder: Path) -> None:
    found = breakdown(stages.record(seen), seen.throughput, side_by_side, prefetch=prefetch)
    if found:
        write_json(folder / STAGES_FILE, {"schema": SCHEMA, **found.record()})
