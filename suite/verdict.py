"""Judges whether a throughput counts: a pure function of a performance run, an accuracy run and the round's rules.

    python -m suite.verdict RESULTS/performance RESULTS/accuracy

Both folders may also be given as the one that holds them. Exit codes: 0 it counts, 1 it does not, 2 no such evidence.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from absl import flags

from common.errors import TandemError, UsageError
from common.files import canonical_json
from common.flags import new_flags, run
from reference_models.base import Dataset, Workload
from suite import notes, places, plugins, rules
from suite.environment import source_digest
from suite.evidence import Evidence, read
from suite.goodput import Goodput, goodput_of
from suite.law import (
    complete,
    drain,
    eligible,
    finished,
    manifest,
    not_from_memory,
    prepared,
    same_answers,
    settings,
    together,
    valid,
)
from suite.law.base import Check, Facts, Pair, Rule, judged, whole
from suite.law.drain import Counted
from suite.rules import Rules

FLAGS = new_flags()
JSON = flags.DEFINE_bool("json", False, "print one JSON object", flag_values=FLAGS)
DATA_DIR = flags.DEFINE_string(
    "data_dir", "", "folder of the dataset's files (default: $TANDEM_DATA, else the cache)", flag_values=FLAGS
)

SCHEMA = 1

CHECKS: Mapping[str, Rule] = {
    manifest.NAME: manifest.check,
    settings.NAME: settings.check,
    eligible.NAME: eligible.check,
    finished.NAME: finished.check,
    valid.NAME: valid.check,
    complete.NAME: complete.check,
    together.NAME: together.check,
    prepared.NAME: prepared.check,
    same_answers.NAME: same_answers.check,
    not_from_memory.NAME: not_from_memory.check,
    drain.NAME: drain.check,
}


@dataclass(frozen=True)
class Verdict:
    """The checks with their details, notes that fail nothing, and the figure that counts if they all hold.

    `goodput` is told beside it.

    `evidence` names what was judged: by mode, the SHA-256 of each run's manifest. `judged_by` is the digest of the
    sources that judged. `alone` is None for a pair of runs; of one run alone it says what keeps its figure from
    counting.
    """

    checks: tuple[Check, ...]
    notes: tuple[str, ...]
    counted: Counted | None
    profile: str
    submittable: bool
    evidence: Mapping[str, str]
    judged_by: str
    alone: str | None = None
    goodput: Goodput | None = None

    @property
    def passed(self) -> bool:
        """Whether something was checked, and all of it holds."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def counts(self) -> bool:
        """Whether the figure counts: a pair of runs, and all that was checked holds."""
        return self.alone is None and self.passed

    @property
    def failed(self) -> tuple[str, ...]:
        """The codes of the checks that do not hold."""
        return tuple(check.name for check in self.checks if not check.passed)

    @property
    def closing(self) -> str:
        """The verdict in one line."""
        if not self.passed:
            return f"does not count: {', '.join(self.failed) or 'nothing was checked'}"
        if self.alone is not None:
            return self.alone
        return "counts" if self.submittable else f"counts ({self.profile} profile: not submittable)"

    def record(self) -> dict[str, Any]:
        """Returns the verdict as JSON-like values."""
        return {
            "schema": SCHEMA,
            "counts": self.counts,
            "passed": self.passed,
            "submittable": self.counts and self.submittable,
            "profile": self.profile,
            "closing": self.closing,
            "checks": [asdict(check) for check in self.checks],
            "notes": list(self.notes),
            "evidence": dict(self.evidence),
            "judged_by": self.judged_by,
            "metric": None if self.counted is None else self.counted._asdict(),
            "goodput": None if self.goodput is None else self.goodput._asdict(),
        }

    def lines(self) -> list[str]:
        """Returns the verdict for people: one line a check, the notes, and the closing line."""
        width = max((len(check.name) for check in self.checks), default=0)
        return [
            *(f"{'pass' if check.passed else 'FAIL'}  {check.name:<{width}}  {check.detail}" for check in self.checks),
            *(f"note  {note}" for note in self.notes),
            self.closing,
        ]


def judge(
    performance: Evidence,
    accuracy: Evidence,
    profile: Rules,
    facts: Facts,
    *,
    checks: Mapping[str, Rule] = CHECKS,
    attempts: Sequence[float] = (),
    judged_by: str = "",
) -> Verdict:
    """Returns the verdict on two runs.

    `attempts` are the figures of all valid attempts at the same, this one included; `judged_by` is the digest of the
    sources that judge, which a caller takes from suite.environment.source_digest.
    """
    pair = Pair(performance, accuracy, profile, facts)
    return Verdict(
        checks=tuple(_apply(name, rule, pair) for name, rule in checks.items()),
        notes=tuple(notes.on_pair(pair, attempts, judged_by)),
        counted=drain.counted_of(performance),
        profile=profile.profile,
        submittable=profile.submittable,
        evidence={mode: run.manifest_sha256 for mode, run in pair.runs},
        judged_by=judged_by,
        goodput=goodput_of(performance, facts),
    )


def judge_single(evidence: Evidence, profile: Rules, facts: Facts, *, judged_by: str = "") -> Verdict:
    """Returns the verdict on one run alone: settings, finished and valid, or finished and complete; no law of pairs."""
    pair = Pair(evidence, evidence, profile, facts)

    def settled(pair: Pair) -> Check:
        faults = settings.faults_of(pair, "performance", evidence)
        return judged(settings.NAME, faults, f"as the {profile.profile} profile demands")

    def ended(pair: Pair) -> Check:
        samples = whole(evidence.get("sut", "samples_completed")) or 0
        return judged(finished.NAME, finished.faults_of(evidence), f"no error; {samples:,} samples")

    checks: dict[str, Rule]
    if evidence.mode == "accuracy":
        checks = {finished.NAME: ended, complete.NAME: complete.check}
    else:
        checks = {settings.NAME: settled, finished.NAME: ended, valid.NAME: valid.check}
    return Verdict(
        checks=tuple(_apply(name, rule, pair) for name, rule in checks.items()),
        notes=tuple(notes.on_run(evidence, profile, judged_by)),
        counted=drain.counted_of(evidence) if evidence.mode == "performance" else None,
        profile=profile.profile,
        submittable=profile.submittable,
        evidence={evidence.mode: evidence.manifest_sha256},
        judged_by=judged_by,
        alone=_alone(evidence),
    )


def _alone(evidence: Evidence) -> str:
    """Returns what one sound run alone is worth."""
    never = list(eligible.faults_of(evidence))
    if never:
        because = evidence.get("variant", "not_eligible_because") or never[0]
        return f"can never count: {str(because).rstrip('.')}"
    if evidence.mode == "accuracy":
        return "complete; no throughput counts without a performance run (--mode submission)"
    return "valid; counts only together with an accuracy run (--mode submission)"


def facts_of(workload: Workload, dataset: Dataset) -> Facts:
    """Returns what the law must know of a workload."""
    return Facts(
        workload=workload.name,
        dataset=workload.dataset_name,
        dataset_sha256=dataset.digest,
        preprocessing=dataset.preprocessing,
        truth=dataset.truth(),
        judge=workload.judge,
        metric=workload.metric,
        target=workload.target,
        payload_dtype=workload.payload_dtype,
    )


def facts_for(evidence: Evidence, data_dir: str, environment: Mapping[str, str]) -> Facts:
    """Returns the facts of the workload that evidence names; raises UsageError for one that the source lacks."""
    workload = plugins.workload(str(evidence.get("workload", "name")))
    folder = places.data_dir(data_dir, environment, places.cache_dir("", environment), workload.dataset_name)
    return facts_of(workload, workload.open_dataset(folder))


def rules_for(evidence: Evidence) -> Rules:
    """Returns our own source's rules of the profile that evidence names; raises UsageError for an unknown one."""
    return rules.load(str(evidence.get("profile")))


def _apply(name: str, rule: Rule, pair: Pair) -> Check:
    try:
        return rule(pair)
    except TandemError as error:
        return Check(name, False, str(error))
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
        # Evidence is not trusted to be well formed, and what cannot be judged does not count.
        return Check(name, False, f"cannot be judged: {type(error).__name__}: {error}")


def _folders(given: list[Path]) -> list[Path]:
    """Returns the folders of both runs; one that holds both may stand for them."""
    if len(given) == 1 and all((given[0] / mode).is_dir() for mode in ("performance", "accuracy")):
        return [given[0] / "performance", given[0] / "accuracy"]
    if len(given) != 2:
        raise UsageError("Give two folders, a performance run's and an accuracy run's, or the one that holds both.")
    return given


def _figure(verdict: Verdict) -> list[str]:
    """Returns the figure that was judged, in a line of its own."""
    counted = verdict.counted
    return [] if counted is None else [f"{counted.label}: {counted.value:,.1f} {counted.unit}", ""]


def main(arguments: list[str]) -> int:
    """Prints the verdict on the two runs."""
    performance, accuracy = (read(folder) for folder in _folders([Path(argument) for argument in arguments]))
    named = next((run for run in (performance, accuracy) if run.record), None)
    if named is None:
        faults = "; ".join([*performance.altered, *performance.problems, *accuracy.altered, *accuracy.problems])
        raise TandemError(f"Neither run has a record that can be read, so nothing counts: {faults}.")
    profile, facts = rules_for(named), facts_for(named, DATA_DIR.value, os.environ)
    verdict = judge(performance, accuracy, profile, facts, judged_by=source_digest())
    if JSON.value:
        print(canonical_json(verdict.record()), end="")
    else:
        print(*_figure(verdict), *verdict.lines(), sep="\n")
    return 0 if verdict.counts else 1


if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="PERFORMANCE ACCURACY"))
