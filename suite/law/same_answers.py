"""same answers: the performance run answered as the accuracy run did, but for what the batch explains.

The rule in the spirit of MLPerf's TEST01, which compares less: whole payloads, against how far the variant's own
answers move with the composition of the batch, measured at preparation over the whole dataset.
"""

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accuracy_scripts.answers import AnswerLog, coverage
from common.errors import TandemError
from common.statistics import fisher_greater, mcnemar_worse
from scenarios.base import SAMPLED_ANSWERS
from suite.evidence import Evidence, lookup
from suite.law.base import Check, Facts, Pair, whole

NAME = "same-answers"

# Refused where so much would come by chance less often than this.
CHANCE = 0.001
# A variant whose own answers move more than this is not judged: nothing could be seen beside it.
MOST_SENSITIVITY = 0.02
# So many, all equal, say with 99 % that fewer than 1 % differ.
LEAST_COMPARED = 459
# What they are held against: seen on fewer samples, a sensitivity of zero would make a handful of differences look like
# chance.
LEAST_SENSITIVITY = SAMPLED_ANSWERS
# The power is stated for this share of wrong answers.
WRONG = 0.01


class Sensitivity(NamedTuple):
    """How many answers changed at preparation, of how many, in the worst of its passes."""

    samples: int
    differences: int

    @property
    def rate(self) -> float:
        """The share that changed."""
        return self.differences / self.samples


class Compared(NamedTuple):
    """The sampled answers beside the accuracy run's: indices, and whether each is the same, byte for byte."""

    performance: AnswerLog
    accuracy: AnswerLog
    same: NDArray[np.bool_]


def check(pair: Pair) -> Check:
    """Judges the performance run's sampled answers."""
    try:
        sensitivity = sensitivity_of(pair.performance, pair.facts)
        compared = compare(pair.performance, pair.accuracy, pair.facts)
        return _judge(pair, sensitivity, compared)
    except TandemError as error:
        return Check(NAME, False, str(error))


def sensitivity_of(run: Evidence, facts: Facts) -> Sensitivity:
    """Returns the batch sensitivity that a run relies on; raises TandemError where it is not there or not for it."""
    found = lookup(run.preparation, "sensitivity")
    passes = lookup(found, "passes")
    every = [_sensitivity(one, facts) for one in (found, *(passes if isinstance(passes, list) else ()))]
    known = [one for one in every if one is not None]
    least = min(LEAST_SENSITIVITY, facts.total)
    if len(known) < 2 or len(known) != len(every):
        raise TandemError(f"the preparation holds no sensitivity of {least} samples or more, with its passes")
    missing = _batchings(run) - {str(lookup(one, "batch")) for one in passes}
    if missing:
        raise TandemError(f"the preparation's sensitivity has no pass in batches of: {', '.join(sorted(missing))}")
    if known[0].rate < max(one.rate for one in known):
        raise TandemError("the preparation's sensitivity is not that of its worst pass")
    if lookup(run.preparation, "serving") is None or lookup(run.preparation, "serving") != run.get("serving"):
        raise TandemError("the preparation's sensitivity was measured for another serving than the run's")
    return known[0]


def _sensitivity(found: object, facts: Facts) -> Sensitivity | None:
    samples, differences = whole(lookup(found, "samples")), whole(lookup(found, "differences"))
    if samples is None or differences is None or not differences <= samples <= facts.total:
        return None
    return Sensitivity(samples, differences) if samples >= min(LEAST_SENSITIVITY, facts.total) else None


def _batchings(run: Evidence) -> set[str]:
    """Returns the passes that a sensitivity must have; where a batch is one sample there is but one."""
    return {"maximum"} if run.get("serving", "batch") == 1 else {"1", "maximum", "mixed"}


def compare(performance: Evidence, accuracy: Evidence, facts: Facts) -> Compared:
    """Returns the sampled answers beside the accuracy run's; raises TandemError where they cannot be compared."""
    sampled, reference = performance.answers, accuracy.answers
    if sampled is None or reference is None:
        raise TandemError("an answer log cannot be read")
    fault = coverage(reference.indices, facts.total)
    if fault:
        raise TandemError(f"accuracy run: {fault}")
    issued = 0 if performance.timeline is None else performance.timeline.issued
    if len(np.unique(sampled.seq_ids)) != len(sampled.seq_ids):
        raise TandemError("performance run: an answer is logged twice")
    if len(sampled.indices) < max(1, min(LEAST_COMPARED, issued)):
        raise TandemError(f"{len(sampled.indices)} answers of {issued} samples were logged, too few to compare")
    # LoadGen numbers a test's samples from 0.
    if sampled.seq_ids.min() < 0 or sampled.seq_ids.max() >= issued:
        raise TandemError(f"performance run: an answer to no sample is logged; {issued} were issued")
    if sampled.indices.min() < 0 or sampled.indices.max() >= facts.total:
        raise TandemError("performance run: an answer to a sample that the dataset lacks is logged")
    place = np.empty(facts.total, np.int64)
    place[reference.indices] = np.arange(facts.total)
    beside = AnswerLog(
        reference.seq_ids[place[sampled.indices]], sampled.indices, reference.payload[place[sampled.indices]]
    )
    if sampled.payload.shape != beside.payload.shape:
        raise TandemError(
            f"an answer has {sampled.payload.shape[1]} bytes in the performance run and {beside.payload.shape[1]} "
            "in the accuracy run"
        )
    return Compared(sampled, beside, (sampled.payload == beside.payload).all(axis=1))


def _judge(pair: Pair, sensitivity: Sensitivity, compared: Compared) -> Check:
    samples = len(compared.same)
    differences = samples - int(compared.same.sum())
    said = (
        f"{differences:,} of {samples:,} sampled answers differ from the accuracy run's; the batch alone changes "
        f"{sensitivity.differences:,} of {sensitivity.samples:,}"
    )
    if sensitivity.rate > MOST_SENSITIVITY:
        return Check(NAME, False, f"not judged: unstable, {sensitivity.rate:.1%} of its answers change with the batch")
    chance = fisher_greater(differences, samples, sensitivity.differences, sensitivity.samples)
    if chance < CHANCE:
        return Check(NAME, False, f"{said}: by chance in {chance:.1g} of cases")
    lost, won = _scored(pair.facts, compared)
    worse = mcnemar_worse(lost, won)
    if worse < CHANCE:
        return Check(NAME, False, f"{said}; {lost} right ones became wrong and {won} wrong ones right")
    seen = _power(samples, sensitivity)
    return Check(NAME, True, f"{said}; 1 % of wrong answers would be seen with {100 * seen:.1f} %")


def _scored(facts: Facts, compared: Compared) -> tuple[int, int]:
    """Returns how many answers were right in the accuracy run alone, and in the performance run alone."""
    truth = facts.truth[compared.performance.indices]
    logs = compared.performance, compared.accuracy
    now, before = (facts.judge.right(log.decode(facts.payload_dtype), truth) for log in logs)
    return int((before & ~now).sum()), int((now & ~before).sum())


def _power(samples: int, sensitivity: Sensitivity) -> float:
    """Returns how likely the test refuses a run with `WRONG` wrong answers on top of the sensitivity."""
    from scipy.special import bdtrc

    def refused(differences: int) -> bool:
        return fisher_greater(differences, samples, sensitivity.differences, sensitivity.samples) < CHANCE

    fewest = bisect_left(range(samples + 1), True, key=refused)
    if fewest > samples:
        return 0.0
    return float(bdtrc(fewest - 1, samples, min(1.0, sensitivity.rate + WRONG)))
