"""What was found of a recipe's last making step: the loss, the layers' effects, and what is left without the worst."""

from collections.abc import Mapping
from dataclasses import dataclass

from accuracy_scripts.paired import CERTIFIED, Certificate, Outcomes
from suite.probes.contest import Block, interval, ratio
from suite.probes.layers import Effect


@dataclass(frozen=True)
class Measured:
    """A recipe on the whole evaluation set, against the recipe without its last making step.

    `kept` are the layers that this step leaves as they were.
    """

    recipe: str
    kept: tuple[int, ...]
    outcomes: Outcomes
    certificate: Certificate

    @property
    def certified(self) -> bool:
        """Whether its loss is certified to be within the margin."""
        return self.certificate.outcome == CERTIFIED


@dataclass(frozen=True)
class Pace:
    """A recipe's turns with the reference, and its multiply-accumulates by what ran them, where that is known."""

    blocks: tuple[Block, ...]
    arithmetic: Mapping[str, int] | None

    @property
    def ratio(self) -> float:
        """Its throughput over the reference's."""
        return ratio(self.blocks)

    @property
    def ends(self) -> tuple[float, float] | None:
        """The 95 % interval of the ratio."""
        return interval(self.blocks)


@dataclass(frozen=True)
class Findings:
    """All that was found; `effects` are ranked, the worst first, and empty where there is nothing to blame.

    `before` is the recipe without its last making step, "" where that is the reference. `flipped`, `others`: how many
    samples of either kind rank the layers. `without`: the worst layers left as they were, one more each time. `paces`
    are by recipe.
    """

    workload: str
    backend: str
    before: str
    target: float
    whole: Measured
    flipped: int
    others: int
    effects: tuple[Effect, ...]
    without: tuple[Measured, ...]
    paces: Mapping[str, Pace]

    @property
    def guilty(self) -> tuple[Effect, ...]:
        """The layers that were left as they were last, the first chosen first."""
        by_number = {effect.number: effect for effect in self.effects}
        return tuple(by_number[number] for number in self.without[-1].kept if number in by_number)
