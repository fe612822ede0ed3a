"""The child process: carries out one task, tells its parent through a pipe, and ends. Started by suite.launch alone."""

import contextlib
import ctypes
import functools
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import RunFailed, TandemError, UsageError
from common.files import write_json
from reference_models.base import Model
from scenarios.base import Session
from scenarios.harness import timeline, yielding
from scenarios.harness.stages import Stages
from scenarios.harness.sut import SWITCH_INTERVAL_S, SystemUnderTest
from scenarios.harness.timeline import Timeline
from suite import plugins
from suite.allocator import keep_freed_memory
from suite.awake import awake
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
    from suite.probes.contest import Side
    from suite.search import Terms

CLOSE_TIMEOUT_S = 10.0


# Of Linux's prctl.h.
PR_SET_PDEATHSIG = 1


def describe(job: dict[str, Any], channel: Channel) -> Any:
    """Returns what a backend says of itself."""
    return plugins.describe(job["backend"]).record()


def devices(job: dict[str, Any], channel: Channel) -> Any:
    """Returns a backend's version and the devices that can be used here."""
    backend = plugins.backend(job["backend"])
    return {"version": backend.version(), "devices": list(backend.devices())}


def export(job: dict[str, Any], channel: Channel) -> Any:
    """Makes a workload's artifact in one of the wanted formats, in the cache."""
    from suite import artifacts

    channel.phase("exporting the model", silent=True)
    workload = plugins.workload(job["workload"])
    with _kept_in(Path(job["cache_dir"])) as cache:
        artifacts.prepare(workload, tuple(job["formats"]), Path(job["data_dir"]), cache)
    return None


def make(job: dict[str, Any], channel: Channel) -> Any:
    """Makes the model of a recipe's step, in the cache."""
    from suite import derived, recipes

    step = recipes.Step(**job["step"])
    trainer = recipes.trainer(step)
    expected = trainer.to_train(step.parameters) if trainer else 0
    channel.phase(f"applying {step.name}{' and training' if trainer else ''}", expected, silent=True)
    given = job["model"]
    model = Model(given["format"], Path(given["path"]), given["sha256"], tuple(given["chain"]))
    with _kept_in(Path(job["cache_dir"])) as cache:
        derived.make(step, model, plugins.workload(job["workload"]), Path(job["data_dir"]), cache, channel.beat)
    return None


@contextlib.contextmanager
def _kept_in(cache: Path) -> Iterator[Path]:
    """Yields a cache to keep a model in; raises UsageError where it takes none."""
    try:
        yield cache
    except OSError as error:
        raise UsageError(
            f"The model cannot be kept in the cache {cache} ({error.strerror or error}). Give another with --cache-dir."
        ) from error


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
        findings["arithmetic"] = _arithmetic(subject, serving, channel)
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


def _arithmetic(subject: Subject, serving: Serving, channel: Channel) -> dict[str, int] | None:
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


def compare(job: dict[str, Any], channel: Channel) -> Any:
    """Returns how far an ONNX artifact is from the reference in torch; raises TandemError where that is too far."""
    from suite import export

    channel.phase("comparing the artifact with the reference", silent=True)
    subject = Subject.open(job["subject"])
    network = export.load_network(subject.workload, subject.workload.weights)
    found = export.compare(network, subject.model.path, export.resident(subject.dataset))
    return {
        "samples": found["compared_samples"],
        "max_abs_difference": found["max_abs_difference"],
        "changed_answers": found["changed_answers"],
        "tolerance": export.TOLERANCE,
    }


def reference(job: dict[str, Any], channel: Channel) -> Any:
    """Returns the reference's answers to the unseen inputs of a seed, in a process in which no backend ever was."""
    from suite import export

    channel.phase("answering unseen inputs with the reference", silent=True)
    workload = plugins.workload(job["workload"])
    dataset = workload.open_dataset(Path(job["data_dir"]))
    dataset.load(np.arange(dataset.total))
    return {"seed": job["seed"], "answers": export.reference_answers(workload, unseen.drawn(dataset, job["seed"]))}


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
        _save_stages(stages, seen, sut.side_by_side, serving.ahead, folder)
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
        "keeps_freed_memory": keep_freed_memory(os.environ),
    }


def look(job: dict[str, Any], channel: Channel) -> Any:
    """Returns a variant's answers to the first samples in the order of a seed, and which arithmetic ran."""
    from suite.probes import looks
    from suite.probes.contest import Side

    channel.phase("loading the model", silent=True)
    subject, serving = Subject.open(job["subject"], channel.beat), Serving(**job["serving"])
    arithmetic = _arithmetic(subject, serving, channel)
    side = Side.loaded(subject, serving)
    channel.phase("answering samples")
    found = looks.answers(side, job["seed"], job["seconds"], job["reference"])
    return {"answers": found.tolist(), "arithmetic": arithmetic, "version": subject.backend.version()}


def turns(job: dict[str, Any], channel: Channel) -> Any:
    """Returns so many blocks in which a variant and the reference take turns, and nothing of what they answer."""
    from suite.probes import contest as probing

    reference, variant = _sides(job, channel)
    channel.phase("taking turns with the reference")
    rate = probing.measure(job["seconds"], None)
    return [probing.block(reference, variant, rate).record() for _ in range(job["blocks"])]


def _sides(job: dict[str, Any], channel: Channel) -> "tuple[Side, Side]":
    """Returns the reference and a variant, loaded side by side over the same samples, each as it is served.

    Of a variant whose model takes them in another form, each sample is there in both.
    """
    from suite.probes.contest import Side

    channel.phase("loading the models", silent=True)
    reference = Subject.open(job["reference"], channel.beat)
    reference.dataset.load(np.arange(reference.dataset.total))
    variant = Subject.open(job["variant"], channel.beat)
    if variant.form == reference.form:
        variant = replace(variant, dataset=reference.dataset)
    else:
        variant.dataset.load(np.arange(variant.dataset.total))
    return Side.loaded(reference, Serving(**job["serving"])), Side.loaded(variant, Serving(**job["variant_serving"]))


def _save_stages(stages: Stages, seen: Timeline, side_by_side: int, ahead: bool, folder: Path) -> None:
    found = breakdown(stages.record(seen), seen.throughput, side_by_side, ahead=ahead)
    if found:
        write_json(folder / STAGES_FILE, {"schema": SCHEMA, **found.record()})


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


def contest(job: dict[str, Any], channel: Channel) -> Any:
    """Returns a variant's answers to the evaluation set, and blocks in which it and the reference take turns.

    One block at most where even the upper end of its accuracy's interval misses the target: its speed then decides
    nothing.
    `confidence` is the probability of each answer, `changes_with_batch` how many answers smaller batches change.
    """
    from common.statistics import wilson_interval
    from suite.probes import contest as probing

    reference, variant = _sides(job, channel)
    subject, serving, terms = variant.subject, variant.serving, probing.Terms.from_record(job["terms"])
    arithmetic = _arithmetic(subject, serving, channel)
    channel.phase("answering the evaluation set")
    outputs = np.empty((subject.dataset.total, *subject.workload.output_shape), np.float32)
    answers = probing.answers(variant, outputs)
    alone = probing.answers(replace(variant, serving=replace(serving, batch=max(1, serving.batch // 2))))
    right = int(np.count_nonzero(answers.reshape(-1) == subject.dataset.truth()))
    _, highest = wilson_interval(right, len(answers))
    channel.phase("taking turns with the reference")
    rate = probing.measure(terms.seconds, terms.stream)
    most = terms.most_blocks if 100 * highest >= terms.target_percent else min(1, terms.most_blocks)
    found = probing.blocks(lambda: probing.block(reference, variant, rate), terms.least_blocks, most, terms.width)
    return {
        "answers": answers.reshape(-1).tolist(),
        "confidence": probing.confidence(outputs).tolist(),
        "changes_with_batch": int(np.count_nonzero(alone != answers)),
        "blocks": [one.record() for one in found],
        "arithmetic": arithmetic,
        "versions": [one.subject.backend.version() for one in (reference, variant)],
    }


def sweep(job: dict[str, Any], channel: Channel) -> Any:
    """Has servings take turns, and writes what each found as a line of the job's journal.

    What ends this process, memory that is not there say, leaves the lines of the turns before.
    """
    from suite.probes.sweep import Turn
    from suite.probes.sweep import sweep as taken

    channel.phase(job["phase"], job["expected_samples"], silent=True)
    subject = Subject.open(job["subject"], channel.beat)
    subject.dataset.load(np.arange(subject.dataset.total))
    turns = [Turn(Serving(**one["serving"]), one["samples"]) for one in job["turns"]]
    with open(job["journal"], "a", encoding="utf-8") as journal:
        for found in taken(subject, turns):
            journal.write(json.dumps(found) + "\n")
            journal.flush()


def layers(job: dict[str, Any], channel: Channel) -> Any:
    """Returns which layers the loss of a recipe's last making step comes from, and what is left of it without them."""
    from suite import recipes
    from suite.optimizations._onnx import FORMATS, described
    from suite.probes import layers as probing

    channel.phase("loading the models", silent=True)
    before, after = (Subject.open(job[name], channel.beat) for name in ("before", "after"))
    if before.model.format not in FORMATS:
        raise UsageError(
            "Only of an ONNX model layers can be told apart and left as they were. Use --backend onnxruntime."
        )
    before.dataset.load(np.arange(before.dataset.total))
    step = recipes.Step(**job["step"])
    count = recipes.maker(step.name).samples_wanted(step.parameters)
    samples = before.taken(before.workload.calibrate(Path(job["data_dir"]), count).samples) if count else None
    with tempfile.TemporaryDirectory() as folder:
        trial = probing.Trial(before, replace(after, dataset=before.dataset), step, samples, Path(folder))
        # Between two answers a model is made.
        phase = functools.partial(channel.phase, silent=True)
        return probing.find(trial, described(before.model.path), job["most"], phase)


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
        ahead=serving.ahead,
        inline=job["inline"],
        outputs=outputs,
        cores=shares(serving.pin, serving.sessions),
        stages=stages,
    )
    channel.counts = lambda: (sut.issued, sut.completed, sut.faults[0].detail if sut.faults else None)
    return sut


def _first_cores(serving: Serving) -> tuple[int, ...]:
    """Returns the cores of the first session, whom the probes for answers from memory ask."""
    return shares(serving.pin, serving.sessions)[0]


def _probed(subject: Subject, sessions: list[Session], serving: Serving, seed: int) -> dict[str, Any]:
    subject.dataset.load(np.arange(subject.dataset.total))
    found = unseen.repeat_probe(subject, sessions[0], serving.batch, seed)
    return {**found, "unseen": {"seed": seed, "answers": unseen.answers(subject, sessions[0], serving.batch, seed)}}


TASKS: dict[str, Callable[[dict[str, Any], Channel], Any]] = {
    "describe": describe,
    "devices": devices,
    "export": export,
    "make": make,
    "compare": compare,
    "reference": reference,
    "search": search,
    "test": test,
    "probe": probe,
    "look": look,
    "turns": turns,
    "contest": contest,
    "sweep": sweep,
    "layers": layers,
}


def _die_with_parent() -> None:
    """Has Linux end this process with its parent, even while it hangs in a library and the channel says nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Carries out the task named first, with the job from standard input, answering on the descriptor named second."""
    _die_with_parent()
    channel = Channel(int(arguments[1]))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    keep_freed_memory(os.environ)
    try:
        job = json.load(sys.stdin)
        with awake(job.get("serving", {}).get("awake", False)):
            channel.send("result", TASKS[arguments[0]](job, channel))
    except TandemError as error:
        channel.send("error", {"sentence": str(error), "exit_code": error.exit_code})
    except OSError as error:
        # A full disk ends here; the pipe still takes the sentence.
        sentence = f"The run could not use its files: {error}."
        channel.send("error", {"sentence": sentence, "exit_code": RunFailed.exit_code})
    except Exception as error:  # noqa: BLE001 - the process's edge: the parent writes the record
        traceback.print_exc()
        sentence = f"The run's process failed: {type(error).__name__}: {error}."
        channel.send("error", {"sentence": sentence, "exit_code": RunFailed.exit_code})
    # LoadGen's and the runtimes' own threads may still be there, and can abort an ordinary end.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
