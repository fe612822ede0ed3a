"""Says how many samples a claim about accuracy needs, before the time is spent.

    python -m tools.samples --target 0.99 --margin 0.005

The claim: a variant is no worse than its reference by more than the margin, with 95 % confidence. On the same samples
it needs far fewer than on others, since only those on which the two differ make it uncertain.
"""

import sys
from math import sqrt

from absl import flags

from accuracy_scripts.paired import CONFIDENCE, samples_needed
from common.errors import UsageError
from common.flags import new_flags, run
from common.statistics import normal_quantile, unpaired_samples

FLAGS = new_flags()
TARGET = flags.DEFINE_float("target", 0.93, "the reference's share of right answers", flag_values=FLAGS)
MARGIN = flags.DEFINE_float("margin", 0.01, "loss that is allowed, as a share of the samples", flag_values=FLAGS)
CHANGED = flags.DEFINE_float("changed", 0.02, "share of samples that one alone has right", flag_values=FLAGS)
POWER = flags.DEFINE_float("power", 0.9, "how often a variant as good is to be certified", flag_values=FLAGS)
HAVE = flags.DEFINE_integer("have", 10_000, "samples that there are", lower_bound=1, flag_values=FLAGS)


def main(arguments: list[str]) -> int:
    """Prints the samples that the claim needs, and what those that there are can show."""
    for name, value in (("target", TARGET), ("margin", MARGIN), ("power", POWER)):
        if not 0 < value.value < 1:
            raise UsageError(f"--{name} is {value.value:g}; it is a share between 0 and 1, as in 0.99.")
    if not 0 <= CHANGED.value <= 2 * (1 - TARGET.value):
        raise UsageError(
            f"--changed is {CHANGED.value:g}; where {TARGET.value:g} are right with each, it is from 0 to "
            f"{2 * (1 - TARGET.value):.3g}."
        )
    paired = samples_needed(TARGET.value, CHANGED.value, MARGIN.value, POWER.value)
    unpaired = unpaired_samples(MARGIN.value, TARGET.value, POWER.value)
    print(
        f"claim: loses less than {100 * MARGIN.value:g} points, with {100 * CONFIDENCE:g} % confidence; an equal is to "
        f"pass {100 * POWER.value:g} % of the time\n"
        f"  same samples   {paired:>12,}  where one alone is right on {100 * CHANGED.value:g} % of them\n"
        f"  other samples  {unpaired:>12,}  of each, at {100 * TARGET.value:g} % right\n"
        f"with {HAVE.value:,} samples, the least margin that can be certified as often:\n"
        f"  same samples   {100 * _margin(CHANGED.value):>12.2f}  points\n"
        f"  other samples  {100 * _margin(2 * TARGET.value * (1 - TARGET.value)):>12.2f}  points"
    )
    return 0


def _margin(variance: float) -> float:
    """Returns the margin for which the samples at hand are enough, by the variance of one sample's difference."""
    z = normal_quantile((1 + CONFIDENCE) / 2) + normal_quantile(POWER.value)
    return z * sqrt(variance / HAVE.value)


if __name__ == "__main__":
    sys.exit(run(main, FLAGS))
