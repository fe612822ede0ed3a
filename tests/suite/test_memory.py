"""What a run will take is predicted within a tenth, and what does not fit is refused with settings that do."""

import re
from pathlib import Path

import pytest

from common.errors import UsageError
from scenarios import multi_stream, offline, server, single_stream
from scenarios.base import Generated, LoadRules
from suite import memory, resources, rules
from tests.suite.commands import FIXED, start
from tools import bench_memory

pytestmark = pytest.mark.side_by_side

MODULES = {"single-stream": single_stream, "multi-stream": multi_stream, "server": server, "offline": offline}
HINTS = {"single-stream": 1e4, "multi-stream": 1e4, "server": 1e6, "offline": 1e6}


def official(scenario: str) -> LoadRules:
    return rules.load("official").load_rules(scenario, "fashion-mnist")


@pytest.mark.parametrize(
    ("scenario", "size"),
    [("single-stream", 1_000_000), ("multi-stream", 500_000), ("server", 100_000), ("offline", 1_000_000)],
)
def test_the_prediction_is_within_a_tenth_of_a_real_run(scenario: str, size: int) -> None:
    # On a machine that is busy with something else Server's queries wait, and take memory while they do.
    for _ in range(3):
        generated, found, predicted = bench_memory.measured(scenario, size)
        if predicted == pytest.approx(found, rel=0.1):
            break
    assert generated.queries == (1 if scenario == "offline" else size)
    assert generated.expected_samples > 10_000, "too little was issued to say anything"
    assert predicted == pytest.approx(found, rel=0.1)


def test_the_prediction_grows_with_all_that_is_kept() -> None:
    def more(one: Generated, other: Generated) -> int:
        return memory.predicted_bytes(other) - memory.predicted_bytes(one)

    base = Generated(1000, 8000, 4000)
    assert more(base, Generated(1000, 16000, 8000)) >= 8000 * 48 + 4000 * 12
    # Of 500 more queries that are issued, with their samples, and what is left behind while lists grow.
    assert more(base, Generated(1000, 8000, 8000)) == pytest.approx(1.11 * (500 * 48 + 4000 * 12), abs=2)
    assert more(Generated(1, 4000, 4000), Generated(1, 8000, 8000)) == pytest.approx(1.11 * 4000 * (48 + 132), abs=2)
    # Of much only so much is left behind.
    assert more(Generated(1, 10**6, 10**6), Generated(1, 2 * 10**6, 2 * 10**6)) == 10**6 * (48 + 132)


def test_where_not_even_the_least_fits_no_load_is_offered() -> None:
    with pytest.raises(UsageError, match=r"0\.0 GB can be used\. No load would fit; free some memory\.$"):
        memory.check(server, rules.load("quick").load_rules("server", "fashion-mnist"), 1e6, 1000, "quick")


@pytest.mark.parametrize("scenario", MODULES)
def test_what_fits_is_let_through_and_what_does_not_is_refused(scenario: str) -> None:
    module, demanded, hint = MODULES[scenario], official(scenario), HINTS[scenario]
    needed = memory.predicted_bytes(module.generated(demanded, hint))
    memory.check(module, demanded, hint, int(needed / 0.8) + 2, "official")
    with pytest.raises(UsageError, match=f"needs about {needed / 1e9:.1f} GB for LoadGen's queries"):
        memory.check(module, demanded, hint, int(needed / 0.8) - 2, "official")


@pytest.mark.parametrize("scenario", MODULES)
@pytest.mark.parametrize("gigabytes", [0.5, 4, 64])
def test_the_settings_that_are_offered_fit_and_are_not_far_below_what_would(scenario: str, gigabytes: float) -> None:
    module, demanded, available = MODULES[scenario], official(scenario), int(gigabytes * 1e9)
    hint = HINTS[scenario] * (1e-6 if module.HINT_UNIT == "ns" else 1e6)
    with pytest.raises(UsageError) as caught:
        memory.check(module, demanded, hint, available, "official")
    offered = offer(str(caught.value), scenario)
    memory.check(module, demanded, offered, available, "official")
    further = offered / 4 if module.HINT_UNIT == "ns" else offered * 4
    with pytest.raises(UsageError):
        memory.check(module, demanded, further, available, "official")


def offer(sentence: str, scenario: str) -> float:
    """Returns the hint that a refusal offers, in the scenario's own unit."""
    streams = "stream" in scenario
    flag = "--expected-latency-ms" if streams else "--target-qps"
    found = re.search(rf"It would fit with {flag} (\S+), or with --profile quick", sentence)
    assert found, sentence
    return float(found[1]) * (1e6 if streams else 1)


def test_the_command_refuses_before_it_writes_and_what_it_offers_is_taken(tmp_path: Path) -> None:
    words = (
        f"--results-dir={tmp_path}",
        "--backend=tests.zoo.faulty",
        *FIXED["single-stream"],
        "--scenario=single-stream",
    )
    words = (*words, "--mode=performance", "--profile=official")
    # Ten times what there is.
    demanded, available = official("single-stream"), resources.available_memory()
    latency_ms = 600_000 * 2 * (memory.PER_QUERY + memory.PER_GENERATED_SAMPLE) / (10 * available)
    assert memory.predicted_bytes(single_stream.generated(demanded, latency_ms * 1e6)) > 5 * available
    ended = start(*words, f"--expected-latency-ms={latency_ms}").end(60)
    assert ended.code == 2
    assert list(tmp_path.iterdir()) == []
    assert "getting ready" not in ended.stderr, "refused after what takes minutes"
    # Half of it, since what is free now may be less than it was then.
    offered = 2 * offer(ended.sentence, "single-stream")
    memory.check(single_stream, demanded, offered, resources.available_memory(), "official")
