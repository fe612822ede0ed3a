"""Tasks of a variant and what it is held against: its answers, turns with the reference, servings, layers."""

import functools
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UsageError
from reference_models.base import differs
from suite.channel import Channel
from suite.subject import Subject
from suite.tasks.runs import arithmetic_of
from suite.variant import Serving

if TYPE_CHECKING:
    from suite.probes.contest import Side


def look(job: dict[str, Any], channel: Channel) -> Any:
    """Returns a variant's answers to the first samples in the order of a seed, and which arithmetic ran."""
    from suite.probes import looks
    from suite.probes.contest import Side

    channel.phase("loading the model", silent=True)
    subject, serving = Subject.open(job["subject"], channel.beat), Serving(**job["serving"])
    arithmetic = arithmetic_of(subject, serving, channel)
    side = Side.loaded(subject, serving)
    channel.phase("answering samples")
    found, ended_by = looks.answers(side, job["seed"], job["seconds"], job["reference"])
    return {
        "answers": found.tolist(),
        "ended_by": ended_by,
        "arithmetic": arithmetic,
        "version": subject.backend.version(),
    }


def answer(job: dict[str, Any], channel: Channel) -> Any:
    """Returns a variant's answers to the evaluation set, and which arithmetic ran.

    `confidence` is how sure each answer is, `changes_with_batch` how many answers other batches change.
    """
    from suite.probes import contest as probing

    channel.phase("loading the model", silent=True)
    subject, serving = Subject.open(job["subject"], channel.beat), Serving(**job["serving"])
    subject.dataset.load(np.arange(subject.dataset.total), decoded=not serving.end_to_end)
    arithmetic = arithmetic_of(subject, serving, channel)
    side = probing.Side.loaded(subject, serving)
    channel.phase("answering the evaluation set")
    outputs = np.empty((subject.dataset.total, *subject.workload.output_shape), np.float32)
    answers = probing.answers(side, outputs)
    others = probing.otherwise_batched(side)
    return {
        "answers": answers.tolist(),
        "confidence": subject.workload.confidence(outputs).tolist(),
        "changes_with_batch": int(np.count_nonzero(differs(others, answers))),
        "arithmetic": arithmetic,
        "version": subject.backend.version(),
    }


def turns(job: dict[str, Any], channel: Channel) -> Any:
    """Returns blocks in which a variant and the reference take turns, and nothing of what they answer."""
    from suite.probes import contest as probing

    reference, variant = _sides(job, channel)
    terms = probing.Terms(**job["terms"])
    channel.phase("taking turns with the reference")
    rate = probing.measure(terms.seconds, probing.Stream(**job["stream"]) if job["stream"] else None)
    found = probing.blocks(
        lambda: probing.block(reference, variant, rate), terms.least_blocks, terms.most_blocks, terms.width
    )
    return [one.record() for one in found]


def _sides(job: dict[str, Any], channel: Channel) -> "tuple[Side, Side]":
    """Returns the reference and a variant, loaded side by side over the same samples, each as it is served.

    Of a variant whose model takes them in another form, each sample is there in both. Served end to end they are there
    as they are stored.
    """
    from suite.probes.contest import Side

    channel.phase("loading the models", silent=True)
    serving, own = Serving(**job["serving"]), Serving(**job["variant_serving"])
    reference = Subject.open(job["reference"], channel.beat)
    reference.dataset.load(np.arange(reference.dataset.total), decoded=not serving.end_to_end)
    variant = Subject.open(job["variant"], channel.beat)
    if variant.form == reference.form:
        variant = replace(variant, dataset=reference.dataset)
    else:
        variant.dataset.load(np.arange(variant.dataset.total), decoded=not own.end_to_end)
    return Side.loaded(reference, serving), Side.loaded(variant, own)


def sweep(job: dict[str, Any], channel: Channel) -> Any:
    """Has servings take turns, and writes what each found as a line of the job's journal.

    What ends this process, memory that is not there say, leaves the lines of the turns before.
    """
    from suite.probes.sweep import Turn
    from suite.probes.sweep import sweep as taken

    channel.phase(job["phase"], job["expected_samples"], silent=True)
    subject = Subject.open(job["subject"], channel.beat)
    turns = [Turn(Serving(**one["serving"]), one["samples"], one["options"]) for one in job["turns"]]
    decoded = not any(turn.serving.end_to_end for turn in turns)
    subject.dataset.load(np.arange(subject.dataset.total), decoded=decoded)
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
