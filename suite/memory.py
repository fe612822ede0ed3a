"""Predicts what LoadGen and the harness keep in memory for a performance run, and refuses what does not fit."""

from typing import Final

from common.errors import UsageError
from scenarios.base import Generated, LoadRules, Scenario

# Bytes, measured with LoadGen 6.0.17 on 64-bit Linux over 0.05 to 4 million queries (tools/bench_memory.py).
PER_QUERY: Final = 269
PER_GENERATED_SAMPLE: Final = 48
# Where there are many queries: the timeline and the query while it waits; the latencies.
PER_ISSUED_QUERY: Final = 48
PER_ISSUED_SAMPLE: Final = 12
# Where one query holds all samples: their ids and indices exist as Python lists at once.
PER_LISTED_SAMPLE: Final = 132

# What grows by doubling leaves its smaller selves behind, up to blocks of the size that is given back at once
# (suite.allocator): 9 to 16 % of up to 80 MB, 0 to 7 MB of more.
KEPT_SHARE: Final = 0.11
MOST_KEPT: Final = 8_000_000

# Of samples or queries a second, or milliseconds a query: LoadGen overflows without a word far beyond.
LEAST_HINT: Final = 1e-6
MOST_HINT: Final = 1e9

# The rest is for the model, the samples and the machine.
USABLE_SHARE: Final = 0.8


def predicted_bytes(generated: Generated) -> int:
    """Returns what LoadGen and the harness will need beside the model and the samples."""
    needed = _needed_bytes(generated)
    return needed + min(MOST_KEPT, int(KEPT_SHARE * needed))


def _needed_bytes(generated: Generated) -> int:
    waiting = PER_QUERY * generated.queries + PER_GENERATED_SAMPLE * generated.samples
    if generated.queries == 1:
        return waiting + PER_LISTED_SAMPLE * generated.expected_samples
    issued_queries = generated.expected_samples * generated.queries // generated.samples
    return waiting + PER_ISSUED_QUERY * issued_queries + PER_ISSUED_SAMPLE * generated.expected_samples


def check(scenario: Scenario, rules: LoadRules, hint: float, available_bytes: int, profile: str) -> None:
    """Raises UsageError for a performance run that does not fit, with the settings that would."""
    needed = predicted_bytes(scenario.generated(rules, hint))
    room = int(USABLE_SHARE * available_bytes)
    if needed <= room:
        return
    ways = [_fitting(scenario, rules, hint, room)] + ["--profile quick"] * (profile != "quick")
    offered = [way for way in ways if way]
    raise UsageError(
        f"The run needs about {needed / 1e9:.1f} GB for LoadGen's queries, and {room / 1e9:.1f} GB can be used. "
        + (f"It would fit with {', or with '.join(offered)}." if offered else "No load would fit; free some memory.")
    )


def _fitting(scenario: Scenario, rules: LoadRules, hint: float, room: int) -> str:
    """Returns the flag with the load nearest to `hint` that fits, nothing where even the least number does not."""
    streams = scenario.HINT_UNIT == "ns"
    factor, unit = (2.0, 1e6) if streams else (0.5, 1.0)
    hint = min(max(hint, LEAST_HINT * unit), MOST_HINT * unit)
    while LEAST_HINT * unit <= hint <= MOST_HINT * unit:
        if predicted_bytes(scenario.generated(rules, hint)) <= room:
            return f"--expected-latency-ms {hint / 1e6:g}" if streams else f"--target-qps {hint:g}"
        # What is shown must itself fit, so it is rounded before it is tried.
        hint = float(f"{hint * factor:.3g}")
    return ""
