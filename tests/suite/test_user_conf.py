"""user.conf: hints and coalescing with LoadGen's precedence; all else is refused, the line and what is wrong named."""

from pathlib import Path

import pytest

from common.errors import UsageError
from suite import user_conf
from suite.user_conf import SET_BY_THE_RULES, UserConf

pytestmark = pytest.mark.side_by_side

WORKLOAD = "fashion-resnet"


def read(tmp_path: Path, text: str, scenario: str = "server") -> UserConf:
    path = tmp_path / "user.conf"
    path.write_text(text)
    return user_conf.read(path, WORKLOAD, scenario)


def refusal(tmp_path: Path, text: str, scenario: str = "server") -> str:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, scenario)
    sentence = str(caught.value)
    assert "\n" not in sentence and str(tmp_path / "user.conf") in sentence
    return sentence


def test_it_gives_hints_and_coalescing(tmp_path: Path) -> None:
    text = """
        # A comment, and an empty line.

        *.Server.target_qps = 250.5  # of the machine in the corner
        *.Server.coalesce_queries = 1
        *.Offline.target_qps = 9000
        *.SingleStream.target_latency = 2.5
        *.MultiStream.target_latency = 20
    """
    assert read(tmp_path, text) == UserConf(target_qps=250.5, coalesce_queries=True)
    assert read(tmp_path, text, "offline") == UserConf(target_qps=9000)
    assert read(tmp_path, text, "single-stream") == UserConf(expected_latency_ms=2.5)
    assert read(tmp_path, text, "multi-stream") == UserConf(expected_latency_ms=20)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == read(tmp_path, "# nothing\n\n") == UserConf()


def test_coalescing_can_be_denied(tmp_path: Path) -> None:
    assert read(tmp_path, "*.Server.coalesce_queries = 0").coalesce_queries is False


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        (f"{WORKLOAD}.Server", "*.Server"),
        ("*.Server", f"{WORKLOAD}.*"),
        (f"{WORKLOAD}.*", "*.*"),
        (f"{WORKLOAD}.Server", "*.*"),
    ],
)
@pytest.mark.parametrize("stronger_first", [True, False])
def test_the_more_special_line_wins_wherever_it_stands(
    tmp_path: Path, stronger: str, weaker: str, stronger_first: bool
) -> None:
    lines = [f"{stronger}.target_qps = 1", f"{weaker}.target_qps = 2"]
    assert read(tmp_path, "\n".join(lines if stronger_first else lines[::-1])).target_qps == 1


def test_of_two_equal_lines_the_later_wins(tmp_path: Path) -> None:
    assert read(tmp_path, "*.Server.target_qps = 1\n*.Server.target_qps = 2").target_qps == 2


def test_lines_for_other_models_and_scenarios_say_nothing_here(tmp_path: Path) -> None:
    text = "resnet50.Server.target_qps = 1\n*.Offline.target_qps = 2\n*.Server.coalesce_queries = 1"
    assert read(tmp_path, text) == UserConf(coalesce_queries=True)
    assert read(tmp_path, text, "single-stream") == UserConf()


def test_such_lines_are_read_with_the_same_care(tmp_path: Path) -> None:
    assert "line 1: unknown key 'target_qsp'" in refusal(tmp_path, "resnet50.Offline.target_qsp = 1")


@pytest.mark.parametrize("line", ["*.Server.target_qps=5", "*.Server.target_qps= 5", "*.Server.target_qps =5"])
def test_no_spaces_around_the_equals_sign_is_refused(tmp_path: Path, line: str) -> None:
    sentence = refusal(tmp_path, f"*.Offline.target_qps = 3\n{line}")
    assert f"line 2: '{line}' needs spaces around '='" in sentence


@pytest.mark.parametrize("line", ["nonsense", "[Server]", "*.Server.target_qps 5", "= 5"])
def test_what_is_no_setting_at_all_is_refused(tmp_path: Path, line: str) -> None:
    assert "line 1" in refusal(tmp_path, line)


@pytest.mark.parametrize("name", ["target_qps", "Server.target_qps", "*.Server.Offline.target_qps", "a.b.c.d"])
def test_a_name_that_has_not_three_parts_is_refused(tmp_path: Path, name: str) -> None:
    assert f"'{name}' is not of the form model.scenario.key" in refusal(tmp_path, f"{name} = 5")


@pytest.mark.parametrize(("given", "meant"), [("target_pqs", "target_qps"), ("coalesce_query", "coalesce_queries")])
def test_an_unknown_key_is_told_the_nearest(tmp_path: Path, given: str, meant: str) -> None:
    sentence = refusal(tmp_path, f"# first\n*.Server.{given} = 5")
    assert f"line 2: unknown key '{given}'" in sentence and f"Did you mean '{meant}'?" in sentence


@pytest.mark.parametrize(("given", "meant"), [("server", "Server"), ("Singlestream", "SingleStream")])
def test_a_scenario_that_is_spelled_wrong_is_told_the_nearest(tmp_path: Path, given: str, meant: str) -> None:
    sentence = refusal(tmp_path, f"*.{given}.target_qps = 5")
    assert f"unknown scenario '{given}'. Did you mean '{meant}'?" in sentence
    assert "Allowed: *, SingleStream, MultiStream, Server, Offline." in sentence


@pytest.mark.parametrize("key", sorted(SET_BY_THE_RULES))
def test_a_key_of_the_rules_is_refused_by_name(tmp_path: Path, key: str) -> None:
    assert f"'Server.{key}' is set by the round's rules" in refusal(tmp_path, f"*.Server.{key} = 1")


@pytest.mark.parametrize(
    "name",
    ["Server.target_latency", "Offline.target_latency", "Offline.coalesce_queries", "SingleStream.target_qps"],
)
def test_a_hint_of_another_scenario_is_a_key_of_the_rules(tmp_path: Path, name: str) -> None:
    assert f"'{name}' is set by the round's rules" in refusal(tmp_path, f"*.{name} = 1")


@pytest.mark.parametrize("value", ["0", "-1", "many", "nan", "inf", "1e999", "1,5", ""])
def test_a_bad_number_is_refused(tmp_path: Path, value: str) -> None:
    assert "line 1" in refusal(tmp_path, f"*.Server.target_qps = {value}")


@pytest.mark.parametrize("value", ["2", "true", "-1", "0.5"])
def test_coalescing_is_0_or_1(tmp_path: Path, value: str) -> None:
    sentence = refusal(tmp_path, f"*.Server.coalesce_queries = {value}")
    assert f"coalesce_queries is '{value}'; it must be 0 or 1." in sentence


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"user\.conf: .*nothing\.conf cannot be read"):
        user_conf.read(tmp_path / "nothing.conf", WORKLOAD, "server")
    with pytest.raises(UsageError, match="cannot be read"):
        user_conf.read(tmp_path, WORKLOAD, "server")
    (tmp_path / "binary.conf").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        user_conf.read(tmp_path / "binary.conf", WORKLOAD, "server")


@pytest.mark.parametrize("model", ["fashion-resnet", "fashion_resnet", "Fashion-ResNet"])
def test_a_workload_may_be_spelt_as_elsewhere(tmp_path: Path, model: str) -> None:
    assert read(tmp_path, f"{model}.Offline.target_qps = 5\n", "offline").target_qps == 5


def test_a_workload_that_is_nearly_one_of_ours_is_refused_and_a_strangers_is_not(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, "resnet50.Offline.target_qps = 7\nfashon-resnet.Offline.target_qps = 5\n")
    assert "line 2: there is no workload 'fashon-resnet'. Did you mean 'fashion-resnet'?" in sentence
    assert read(tmp_path, "resnet50.Offline.target_qps = 7\n", "offline").target_qps is None


def test_a_latency_of_all_scenarios_is_no_limit_of_the_servers(tmp_path: Path) -> None:
    assert read(tmp_path, "*.*.target_latency = 7\n", "server") == UserConf()
    assert read(tmp_path, "*.*.target_latency = 7\n", "single-stream").expected_latency_ms == 7
