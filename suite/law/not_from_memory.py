"""not from memory: known samples are answered no faster than inputs never seen, and those as the reference does.

In the spirit of MLPerf's TEST04, which allows the same factor. The probe runs twice: as a part of the preparation, and
after the test in the test's own process, with LoadGen loaded and the same sessions. The figure itself is held against
what unseen inputs took. What knows the evaluation set by heart and runs no model may take its time for everything
alike; it is wrong on what it has not seen.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from accuracy_scripts.answers import payloads
from common.errors import TandemError
from scenarios.harness.logs import finite
from suite.backends._cut import OPTION, STAGES
from suite.evidence import Evidence, lookup
from suite.law.base import Check, Pair, judged, whole
from suite.law.drain import counted_of

NAME = "not-from-memory"

MOST_RATIO = 1.10
# Fewer pairs give a 95 % bound that anything passes.
LEAST_PAIRS = 5
# One session alone is never slower than one of several; what it took beside the test may lie so far from what it took
# in the test, on a machine that others use too.
MOST_APART = 2.0
# Measured on the two classifiers' unseen inputs: what reaches the target agrees with the reference on 86 % and more, a
# linear model on 42 %, a table of the evaluation set by chance. On images of a detector's, where all that is shown has
# to be the same: what reaches the target on 81 % and more, a pruned model 6 points short on 51 %, the answers to the
# samples that the inputs were made of on 42 %, none on 1 %.
LEAST_AGREEMENT = 0.70
LEAST_UNSEEN = 256

STREAMS = frozenset({"single-stream", "multi-stream"})


class Probe(NamedTuple):
    """A repeat probe: where, how much faster repeated samples ran, its 95 % lower bound, and a batch of unseen ones."""

    where: str
    ratio: float
    low: float
    novel_s: float


def check(pair: Pair) -> Check:
    """Judges both repeat probes of the performance run, its answers to unseen inputs, and its figure."""
    places = {
        "at preparation": lookup(pair.performance.preparation, "repeat_probe"),
        "after the test": pair.performance.probe_after,
    }
    probes = [_probe(where, found) for where, found in places.items()]
    known = [probe for probe in probes if isinstance(probe, Probe)]
    if len(known) < len(probes):
        return judged(NAME, [fault for fault in probes if isinstance(fault, str)], "")
    worst = max(known, key=lambda probe: probe.low)
    said = (
        f"{worst.where} known samples run {worst.ratio:.2f} times as fast as unseen ones "
        f"(at least {worst.low:.2f} with 95 %), allowed {MOST_RATIO:.2f}"
    )
    faults = [said] if worst.low > MOST_RATIO else []
    quickest = min(known, key=lambda probe: probe.novel_s)
    share = _agreement(pair)
    if isinstance(share, str):
        faults.append(share)
    elif share < LEAST_AGREEMENT:
        faults.append(f"it answers {share:.0%} of unseen inputs as the reference does, not {LEAST_AGREEMENT:.0%}")
    else:
        said += f"; {share:.0%} of unseen ones are answered as by the reference"
    return judged(NAME, [*faults, *_figure(pair, quickest)], said)


def _agreement(pair: Pair) -> float | str:
    """Returns the share of unseen inputs that the system answered as the reference, or why it cannot be known."""
    ours, reference = lookup(pair.performance.probe_after, "unseen"), pair.performance.reference_after
    answers = [lookup(found, "answers") for found in (ours, reference)]
    seeds = [whole(lookup(found, "seed")) for found in (ours, reference)]
    known = all(isinstance(found, list) and len(found) >= LEAST_UNSEEN for found in answers)
    if not known or len(answers[0]) != len(answers[1]):
        return f"{LEAST_UNSEEN} unseen inputs and more were not answered by both the system and the reference"
    if seeds[0] is None or seeds[0] != seeds[1]:
        return "the system and the reference answered other unseen inputs"
    try:
        one, other = (payloads(found, pair.facts.payload_dtype) for found in answers)
        if one.shape != other.shape:
            return "the system and the reference answered unseen inputs with payloads of another size each"
        return float(pair.facts.judge.agree(one, other).mean())
    except TandemError as error:
        return f"the answers to unseen inputs cannot be read: {error}"


def _probe(where: str, found: Any) -> Probe | str:
    """Returns what a probe found, or in a sentence why it says nothing."""
    ratio, low = finite(lookup(found, "ratio")), finite(lookup(found, "ratio_low_95"))
    pairs, novel_ms = whole(lookup(found, "pairs")), finite(lookup(found, "novel_batch_ms"))
    if ratio is None or low is None or pairs is None or not 0 < low <= ratio:
        return f"there is no repeat probe {where} with pairs, ratio and its lower bound"
    if novel_ms is None or novel_ms <= 0:
        return f"the repeat probe {where} does not say how long a batch of unseen inputs takes"
    if pairs < LEAST_PAIRS:
        return f"the repeat probe {where} has {pairs} pairs, not {LEAST_PAIRS}"
    return Probe(where, ratio, low, novel_ms / 1000)


def _figure(pair: Pair, probe: Probe) -> Iterator[str]:
    """Yields where the figure is beyond what unseen inputs reach; a Server's load says nothing of that.

    Unseen inputs come decoded. End to end the bound is looser, then, by what decoding takes, and never too strict.
    """
    run, rules = pair.performance, pair.load_rules(pair.performance)
    batch, sessions = (whole(run.get("serving", key)) for key in ("batch", "sessions"))
    if not batch or not sessions:
        yield "its record does not say in which batches, and with how many sessions, it was served"
    elif run.scenario == "offline":
        yield from _throughput(pair, sessions * _at_once(run) * batch / probe.novel_s)
    elif run.scenario in STREAMS and rules is not None:
        yield from _latency(pair, probe.novel_s * rules.samples_per_query / batch)


def _at_once(run: Evidence) -> int:
    """Returns at how many batches one session works at a time: each stage of a graph that we cut at one.

    The probe asks for one batch alone, which passes stage after stage.
    """
    stages = run.get("variant", "options", OPTION)
    ours = run.get("variant", "backend") == "onnxruntime"
    return int(stages) if ours and stages in STAGES else 1


def _throughput(pair: Pair, unseen: float) -> Iterator[str]:
    """Yields a throughput, in samples/s, too far above that of unseen inputs."""
    counted = counted_of(pair.performance)
    if counted is None:
        yield "its throughput, to be held against that of unseen inputs, is not known"
    elif counted.value > MOST_APART * unseen:
        yield (
            f"throughput {counted.value:,.1f} samples/s is {counted.value / unseen:.1f} times what unseen inputs "
            f"reach ({unseen:,.1f}), allowed {MOST_APART:g}"
        )


def _latency(pair: Pair, unseen_s: float) -> Iterator[str]:
    """Yields a median latency too far below the seconds that a query of unseen inputs takes."""
    result = pair.performance.result
    median = None if result is None else result.percentiles_ns.get(0.5)
    if not median or median < 0:
        yield "its median latency, to be held against that of unseen inputs, is not known"
    elif median / 1e9 < unseen_s / MOST_APART:
        yield (
            f"the median latency of a query, {median / 1e6:.3f} ms, is {unseen_s * 1e9 / median:.1f} times below what "
            f"unseen inputs take ({unseen_s * 1e3:.3f} ms), allowed {MOST_APART:g}"
        )
