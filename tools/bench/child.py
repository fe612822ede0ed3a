"""One measurement in a process of its own: LoadGen runs one test a process, and memory is counted by the process.

`python -m tools.bench.child JOB` prints what it measured as one JSON object; tools.bench.bench starts it.
"""

import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np

from scenarios.base import LoadRules, Scenario, Session, test_settings
from scenarios.harness import loadgen, logs, yielding
from scenarios.harness.stages import Stages
from scenarios.harness.sut import SWITCH_INTERVAL_S, SystemUnderTest
from scenarios.harness.timeline import Timeline
from suite import plugins, search
from suite.allocator import keep_freed_memory
from suite.awake import awake
from suite.placement import shares
from suite.probes import speed
from suite.resources import peak_memory
from suite.search import Terms
from suite.subject import Subject
from suite.tune import BATCHES, tune
from suite.variant import Requested, Serving
from tools.bench import raw_loop, unhindered
from tools.bench.callbacks import Bare, Callback, Least, LeastQueue
from tools.bench.inside import Inside
from tools.bench.parts import Clocks

PERFORMANCE_SAMPLES = 10_000
SEEDS = (1, 2, 3)
OFFLINE = Terms("offline", 1, None, None, inline=False)


@dataclass(frozen=True)
class Seen:
    """What one LoadGen test says: its logs, and of the suite's own system the timeline and the processor's time.

    That is of all threads, with what LoadGen does before the load and after it.
    """

    result: logs.RunResult
    timeline: Timeline | None = None
    processor_ns: int = 0


def _subject(job: dict[str, Any]) -> Subject:
    subject = Subject.open(job["subject"])
    subject.dataset.load(np.arange(subject.dataset.total))
    return subject


def _scenario(job: dict[str, Any]) -> Scenario:
    return cast(Scenario, plugins.load("scenarios", "scenario", job["scenario"]))


def _rules(job: dict[str, Any]) -> LoadRules:
    percentile = 0.9 if job["scenario"] == "single-stream" else 0.99
    duration_ms, limit_ms = int(job["seconds"] * 1000), job.get("limit_ms", 15.0)
    return LoadRules(duration_ms, 100, PERFORMANCE_SAMPLES, percentile, limit_ms, 1, *SEEDS)


def _system(
    subject: Subject, sessions: list[Session], serving: Serving, job: dict[str, Any], stages: Stages | None = None
) -> SystemUnderTest:
    """Returns the suite's system under test, warmed up as the suite does."""
    scenario = _scenario(job)
    sut = SystemUnderTest(
        subject.workload,
        subject.dataset,
        sessions,
        loadgen.completer() if scenario.INLINE else loadgen.complete,
        max_batch=serving.batch,
        max_wait_ns=serving.max_wait_us * 1000,
        prefetch=serving.prefetch,
        cores=shares(serving.pin, serving.sessions),
        inline=scenario.INLINE,
        stages=stages,
    )
    if job["scenario"] == "offline":
        expected = scenario.generated(_rules(job), job["hint"]).expected_samples
        count = subject.dataset.total if job.get("mode") == "accuracy" else expected
        subject.warm_up(sessions, sut.batch_sizes(count), serving.pin)
    return sut


def _run(sut: SystemUnderTest, subject: Subject, job: dict[str, Any], mode: str = "performance") -> logs.RunResult:
    """Runs one LoadGen test and returns what its logs say."""
    settings = test_settings(_scenario(job), _rules(job), job["hint"], accuracy_log_rng_seed=7)
    if job.get("coalesce"):
        settings["server_coalesce_queries"] = True
    with tempfile.TemporaryDirectory() as folder:
        may_yield = yielding.pays(job["serving"]["threads"]) and not job.get("preempts")
        loadgen.run_test(sut, subject.dataset, settings, mode, PERFORMANCE_SAMPLES, Path(folder), may_yield=may_yield)
        result = logs.read(Path(folder))
    if sut.faults:
        raise RuntimeError(sut.faults[0].detail)
    return result


def _other(subject: Subject, sessions: list[Session], serving: Serving, job: dict[str, Any]) -> SystemUnderTest:
    """Returns what a job names in place of the suite's system: a bare callback, or the least that answers."""
    found: Callback
    if job["system"] == "bare":
        found = Bare()
    elif _scenario(job).INLINE:
        found = Least(subject, sessions[0])
    else:
        found = LeastQueue(subject, sessions, serving.batch)
    return cast(SystemUnderTest, found)


def _test(
    subject: Subject, sessions: list[Session], serving: Serving, job: dict[str, Any], mode: str = "performance"
) -> Seen:
    """Runs one LoadGen test, around the suite's system under test or another that the job names."""
    if "system" in job:
        return Seen(_run(_other(subject, sessions, serving, job), subject, job, mode))
    sut = _system(subject, sessions, serving, job, Stages() if job.get("stages") else None)
    begun = time.process_time_ns()
    result = _run(sut, subject, job, mode)
    spent = time.process_time_ns() - begun
    sut.close(10)
    return Seen(result, Timeline(**sut.timeline()), spent)


def raw_rate(job: dict[str, Any]) -> Any:
    """Returns the raw loop's samples/s, once its sessions are warm."""
    subject, serving = _subject(job), Serving(**job["serving"])
    sessions = subject.load(serving)
    raw_loop.turns_ended(subject, sessions, serving.batch, raw_loop.WARM_S)
    return raw_loop.throughput(subject, sessions, serving.batch, job["seconds"])


def unhindered_load(job: dict[str, Any]) -> Any:
    """Returns the load, in queries/s, that a server without cost would hold on the raw loop's own trace.

    And the share of the loop's batches that took more than 1.25 times as long as their median.
    """
    subject, serving = _subject(job), Serving(**job["serving"])
    sessions = subject.load(serving)
    raw_loop.turns_ended(subject, sessions, serving.batch, raw_loop.WARM_S)
    ended = raw_loop.turns_ended(subject, sessions, serving.batch, job["seconds"])
    load = unhindered.highest_load(ended, serving.batch, job["limit_ms"] * 1e6, 0.99, random.getrandbits(32))
    took = np.concatenate([np.diff(turns) for turns in ended])
    return {"load": load, "slow": float(np.mean(took > 1.25 * np.median(took)))}


def _in_turn(raw_first: bool, raw: Callable[[], float], suite: Callable[[], float]) -> dict[str, float]:
    if raw_first:
        base = raw()
        return {"base": base, "suite": suite()}
    found = suite()
    return {"base": raw(), "suite": found}


def offline(job: dict[str, Any]) -> Any:
    """Returns samples/s of the raw loop and of an Offline test, with the same sessions, in the order asked for."""
    subject, serving = _subject(job), Serving(**job["serving"])
    sessions = subject.load(serving)
    return _in_turn(
        job["raw_first"],
        lambda: raw_loop.throughput(subject, sessions, serving.batch, job["seconds"]),
        lambda: logs.headline(_test(subject, sessions, serving, job).result).value,
    )


def offline_parts(job: dict[str, Any]) -> Any:
    """Returns µs a sample of the raw loop and of the suite in Offline, of one test in which they take turns.

    And what of either is outside the sessions, in which a machine that others use spends now more and now less time.
    After each part that a worker has answered it answers as many random samples in the same batches by itself. A
    worker's first part is not in it: before it come LoadGen's lists, and in it the thread touches memory for the first
    time (torch: 30 MB; those page faults are 10 µs a sample of a test of a second).
    """
    subject, serving = _subject(job), Serving(**job["serving"])
    sessions = subject.load(serving)
    # Else the slow first batches of new sessions would all be the suite's.
    raw_loop.turns_ended(subject, sessions, serving.batch, raw_loop.WARM_S)
    sut = _system(subject, sessions, serving, job)
    answer, batch = sut._answer, serving.batch
    draws = list(np.random.default_rng().integers(0, subject.dataset.total, (256, batch)))
    ended: dict[int, int] = {}
    turns: list[tuple[int, int, int, int, int]] = []
    inside = Inside(sessions)

    def in_turn(recorder: Any, first: int, ids: list[int], indices: list[int], begun: Any = None) -> None:
        thread, count = threading.get_ident(), len(ids)
        before = inside.ns[thread]
        answer(recorder, first, ids, indices, begun)
        answered, middle = time.perf_counter_ns(), inside.ns[thread]
        for number, start in enumerate(range(0, count, batch)):
            raw_loop.answer(subject, recorder.session, draws[(len(turns) + number) % 256][: count - start])
        now = time.perf_counter_ns()
        if thread in ended:
            turns.append((count, now - answered, answered - ended[thread], inside.ns[thread] - middle, middle - before))
        ended[thread] = now

    sut._answer = in_turn  # type: ignore[method-assign]
    _run(sut, subject, job)
    sut.close(10)
    if not turns:
        raise RuntimeError("the test was too short: no worker answered a second part")
    samples, base, suite, base_inside, suite_inside = (sum(one) for one in zip(*turns, strict=True))
    whole = samples * len(sessions) * 1000
    found = {"base": base, "suite": suite, "base_outside": base - base_inside, "suite_outside": suite - suite_inside}
    return {name: took / whole for name, took in found.items()}


def outside(job: dict[str, Any]) -> Any:
    """Returns µs a sample that the workers of an Offline test spend outside the sessions, between two batches.

    Of the suite, or of another system that the job names; a worker's first batch begins the count, its last ends it.
    """
    subject, serving = _subject(job), Serving(**job["serving"])
    sessions = subject.load(serving)
    raw_loop.turns_ended(subject, sessions, serving.batch, raw_loop.WARM_S)
    sut, inside = (_other if "system" in job else _system)(subject, sessions, serving, job), Inside(sessions)
    _run(sut, subject, job)
    return inside.between_ns() / sum(inside.samples.values()) / len(sessions) / 1000


def single_stream(job: dict[str, Any]) -> Any:
    """Returns the median microseconds of a raw turn and of a single-stream query.

    Each query is followed by a raw turn with the same session on the same thread, so that whatever else the machine
    does meets both: taken in separate seconds, they differ by many times what is to be measured. Every other raw turn
    copies its sample, as a gather does (`base`), and the rest take it where it lies (`base_in_place`).
    """
    subject, serving = _subject(job), Serving(**job["serving"])
    sessions = subject.load(serving)
    taken: dict[bool, list[int]] = {True: [], False: []}
    answers = {True: raw_loop.answer_of_a_copy, False: raw_loop.answer}

    def turn() -> None:
        index, copied = [random.randrange(subject.dataset.total)], len(taken[True]) <= len(taken[False])
        answer = answers[copied]
        begun = time.perf_counter_ns()
        answer(subject, sessions[0], index)
        taken[copied].append(time.perf_counter_ns() - begun)

    sut = (_other if "system" in job else _system)(subject, sessions, serving, job)
    issue = sut.issue

    def issue_and_turn(ids: list[int], indices: list[int]) -> None:
        issue(ids, indices)
        turn()

    sut.issue = issue_and_turn
    result = _run(sut, subject, job)
    bases = {"base": taken[True], "base_in_place": taken[False]}
    return {name: median(times) / 1000 for name, times in bases.items()} | {"suite": result.percentiles_ns[0.5] / 1000}


def followed(job: dict[str, Any]) -> Any:
    """Returns the microseconds of a single-stream query that `--stages` leaves alone, and of all with those it follows.

    Both are of one test with `--stages`: every query is timed, and what following adds is the difference of the
    medians, as often as a query was followed. Two tests differ by more than that, whatever they do. That each query
    asks whether it is to be followed (a clock and a comparison) is on both sides.
    """
    subject, serving = _subject(job), Serving(**job["serving"])
    stages = Stages()
    sut = _system(subject, subject.load(serving), serving, job, stages)
    issue = sut.issue
    taken: tuple[list[int], list[int]] = ([], [])

    def issue_and_time(ids: list[int], indices: list[int]) -> None:
        before, begun = stages.followed, time.perf_counter_ns()
        issue(ids, indices)
        taken[stages.followed > before].append(time.perf_counter_ns() - begun)

    sut.issue = issue_and_time
    _run(sut, subject, job)
    base, more = median(taken[False]), median(taken[True])
    share = len(taken[True]) / (len(taken[True]) + len(taken[False]))
    return {"base": base / 1000, "suite": (base + share * (more - base)) / 1000}


def loaded_test(job: dict[str, Any]) -> Any:
    """Returns what one LoadGen test says of the suite with this serving, or of another system that the job names."""
    subject, serving = _subject(job), Serving(**job["serving"])
    seen = _test(subject, subject.load(serving), serving, job, job.get("mode", "performance"))
    per_sample = processor = None
    if seen.timeline is not None:
        per_sample = seen.timeline.duration_ns / 1000 / seen.timeline.completed
        processor = seen.processor_ns / 1000 / seen.timeline.completed
    figure = None if job.get("mode") == "accuracy" else logs.headline(seen.result).value
    percentiles = seen.result.percentiles_ns
    return {
        "valid": seen.result.validity == "VALID",
        "figure": figure,
        "us_a_sample": per_sample,
        "processor_us_a_sample": processor,
        "p50_us": percentiles.get(0.5, 0) / 1000,
        "p99_us": percentiles.get(0.99, 0) / 1000,
        "peak_rss_bytes": peak_memory(),
    }


def parts(job: dict[str, Any]) -> Any:
    """Returns the processor time of each part of the suite in one test, in µs a sample, and what else the process took.

    With the samples that were completed at a time, and those a second.
    """
    subject, serving = _subject(job), Serving(**job["serving"])
    sut = _system(subject, subject.load(serving), serving, job)
    clocks = Clocks()
    clocks.follow(sut)
    begun = time.process_time_ns()
    _run(sut, subject, job)
    whole = (time.process_time_ns() - begun) / 1000
    sut.close(10)
    found, seen = clocks.microseconds(), Timeline(**sut.timeline())
    return {
        "parts": {name: spent / seen.completed for name, spent in found.items()},
        "rest": (whole - sum(found.values())) / seen.completed,
        "together": seen.completed / len(seen.batch_ns),
        "rate": seen.throughput,
    }


def raw_memory(job: dict[str, Any]) -> Any:
    """Returns the peak memory of a process that runs the raw loop."""
    subject, serving = _subject(job), Serving(**job["serving"])
    raw_loop.throughput(subject, subject.load(serving), serving.batch, job["seconds"])
    return {"peak_rss_bytes": peak_memory()}


def served(job: dict[str, Any]) -> Any:
    """Returns the serving that the suite would use, tuned where seconds are given, and its samples/s."""
    subject = _subject(job)
    terms = Terms(job.get("scenario", "offline"), 1, job.get("limit_ms"), None, inline=False)
    if job["tune_seconds"]:
        serving, _, _ = tune(subject, Requested(), terms, job["tune_seconds"])
    else:
        serving, _ = search.resolve(subject, Requested(), terms)
    sessions = subject.load(serving)
    return {"serving": serving.__dict__, "samples_per_s": speed.throughput(subject, sessions, serving, 0.7)}


def sweep(job: dict[str, Any]) -> Any:
    """Returns the samples/s of every layout and batch, each asked for `seconds`."""
    tried = search.sweep(_subject(job), Requested(), OFFLINE, batches=BATCHES, probe_s=job["seconds"])
    return [{"serving": one["serving"], "samples_per_s": one["samples_per_s"]} for one in tried]


def head_to_head(job: dict[str, Any]) -> Any:
    """Returns the samples/s of servings, `rounds` times, timed in turn, in an order drawn for each round."""
    subject = _subject(job)
    servings = [Serving(**one) for one in job["servings"]]
    loaded = [subject.load(serving) for serving in servings]
    found = []
    for _ in range(job["rounds"]):
        speeds = [0.0] * len(servings)
        for number in random.sample(range(len(servings)), len(servings)):
            speeds[number] = speed.throughput(subject, loaded[number], servings[number], job["seconds"])
        found.append(speeds)
    return found


TASKS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "offline": offline,
    "offline_parts": offline_parts,
    "outside": outside,
    "single_stream": single_stream,
    "followed": followed,
    "loaded_test": loaded_test,
    "parts": parts,
    "raw_memory": raw_memory,
    "raw_rate": raw_rate,
    "served": served,
    "sweep": sweep,
    "head_to_head": head_to_head,
    "unhindered": unhindered_load,
}


def main(arguments: list[str]) -> None:
    """Carries out a job and prints what came of it."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    job = json.loads(arguments[0])
    if not job.get("returns_memory"):
        keep_freed_memory(os.environ)
    with awake(job.get("awake", job.get("serving", {}).get("awake", False))):
        print(json.dumps(TASKS[job.pop("task")](job)), flush=True)
    # LoadGen's and the runtimes' own threads may still be there, and can abort an ordinary end.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
