from pathlib import Path

import pytest

from common.errors import UsageError
from suite import rules

pytestmark = pytest.mark.side_by_side

QUICK = (rules.FOLDER / "quick.toml").read_text()


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in QUICK
    path = tmp_path / "quick.toml"
    path.write_text(QUICK.replace(old, new, 1))
    return path


def test_every_profile_loads_and_has_every_scenario() -> None:
    assert {"quick", "official"} <= set(rules.names())
    for name in rules.names():
        profile = rules.load(name)
        assert profile.profile == name
        assert set(profile.scenarios) == {"single-stream", "multi-stream", "server", "offline"}


def test_only_official_may_be_submitted_and_it_has_the_rounds_numbers() -> None:
    official = rules.load("official")
    assert official.submittable and not rules.load("quick").submittable
    assert all(scenario.min_duration_ms == 600_000 for scenario in official.scenarios.values())
    assert official.scenarios["multi-stream"].min_query_count == 662
    assert official.seeds["schedule_rng_seed"] == 16159082839903944936


def test_quick_has_the_numbers_of_the_design() -> None:
    quick = rules.load("Quick")
    counts = {name: scenario.min_query_count for name, scenario in quick.scenarios.items()}
    assert counts == {"single-stream": 1024, "multi-stream": 664, "server": 2000, "offline": 1024}
    assert quick.seeds == rules.load("official").seeds


def test_load_rules_have_a_limit_in_server_alone() -> None:
    quick = rules.load("quick")
    server = quick.load_rules("server", "fashion-mnist")
    assert (server.target_latency_ms, server.target_latency_percentile, server.samples_per_query) == (15, 0.99, 1)
    assert quick.load_rules("offline", "fashion-mnist").target_latency_ms is None
    assert quick.load_rules("multi-stream", "fashion-mnist").samples_per_query == 8


def test_unknown_names_are_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'quick'"):
        rules.load("quik")
    with pytest.raises(UsageError, match="Unknown profile"):
        rules.load("../quick")
    with pytest.raises(UsageError, match="Did you mean 'offline'"):
        rules.load("quick").load_rules("ofline", "fashion-mnist")
    with pytest.raises(UsageError, match="fashion-mnist"):
        rules.load("quick").load_rules("offline", "imagenet")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("min_duration_ms = 5000", "", "lacks min_duration_ms"),
        ("load_fraction = 0.5", "load_fraction = 0.5\nmax_duration_ms = 1", "unknown max_duration_ms"),
        ("samples_per_query = 8", "", r"\[multi-stream\] lacks samples_per_query"),
        ("[offline]", "[ofline]", "lacks offline and has unknown ofline"),
        ("submittable = false", 'submittable = "no"', "submittable must be true or false"),
        ("min_query_count = 1024", "min_query_count = true", "cannot have min_query_count"),
        ("min_query_count = 1024", "min_query_count = 1024.5", "cannot have min_query_count"),
        ("min_query_count = 1024", "min_query_count = 0", "cannot have min_query_count"),
        ("target_latency_percentile = 0.9", "target_latency_percentile = 90", "cannot have target_latency_percentile"),
        ("server_target_latency_ms = 15", "server_target_latency_ms = nan", "cannot have server_target_latency_ms"),
        ("server_target_latency_ms = 15", "server_target_latency_ms = -15", "cannot have server_target_latency_ms"),
        ("qsl_rng_seed = 2085463073848966840", "", "lacks qsl_rng_seed"),
        ("[seeds]", "[seeds", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_by_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rules.read(changed(tmp_path, old, new))


def test_the_digest_is_of_the_numbers_and_not_of_comments(tmp_path: Path) -> None:
    honest = rules.load("quick").digest
    assert rules.read(changed(tmp_path, "# mlperf.conf", "# another source")).digest == honest
    assert rules.read(changed(tmp_path, "min_duration_ms = 5000", "min_duration_ms = 4999")).digest != honest
