"""The layer between a command line and absl's flags, in real processes where the process is what matters."""

import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from common.errors import RunFailed, TandemError, UsageError
from common.flags import new_flags, run

pytestmark = pytest.mark.side_by_side

ROOT = Path(__file__).parents[2]

COMMAND = '''"""Serves samples.

More that the short help leaves out.
"""
import os, sys
from absl import flags
from common.flags import new_flags, run

FLAGS = new_flags()
QPS = flags.DEFINE_float("target_qps", 2.5, "queries a second", lower_bound=0.1, flag_values=FLAGS)
JSON = flags.DEFINE_bool("json", False, "one JSON object", flag_values=FLAGS)
NAME = flags.DEFINE_string("name", None, "whom to serve; " + "a long story, " * 40, flag_values=FLAGS)
ACTION = flags.DEFINE_string("action", "", "what to do", flag_values=FLAGS)

def main(arguments):
    if ACTION.value == "interrupt":
        raise KeyboardInterrupt
    if ACTION.value == "flood":
        for line in range(200_000):
            print(line)
    if ACTION.value == "pipe":
        raise BrokenPipeError("another pipe than standard output")
    print(QPS.value, JSON.value, NAME.value, arguments)
    return 0

if __name__ == "__main__":
    sys.exit(run(main, FLAGS, arguments="RUN [RUN]"))
'''


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Returns the words that start a command of its own, as a user would start a module of the project."""
    (tmp_path / "serve.py").write_text(COMMAND)
    return ["env", f"PYTHONPATH={tmp_path}:{ROOT}", "COLUMNS=100", sys.executable, "-m", "serve"]


def outcome(command: list[str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=60)


class Command:
    """A command in this process, which keeps what it was given."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.values = new_flags()
        flags.DEFINE_integer("max_batch", 64, "samples a batch", lower_bound=1, flag_values=self.values)
        flags.DEFINE_float("target_qps", 1.0, "load", flag_values=self.values)
        flags.DEFINE_bool("json", False, "one object", flag_values=self.values)
        flags.DEFINE_enum("dtype", "int64", ["float32", "int32", "int64"], "bytes", flag_values=self.values)
        flags.DEFINE_string("user_conf", "", "file", flag_values=self.values)
        flags.DEFINE_multi_string("option", [], "more", flag_values=self.values)
        self.failure = failure
        self.arguments: list[str] | None = None

    def main(self, arguments: list[str]) -> int:
        if self.failure:
            raise self.failure
        self.arguments = arguments
        return 7

    def __call__(self, *words: str, arguments: str = "RUN") -> int:
        return run(self.main, self.values, words, arguments=arguments)


@pytest.mark.parametrize("words", [["--max-batch", "8"], ["--max_batch=8"], ["-max-batch=8"], ["--max-batch=8"]])
def test_hyphens_and_underscores_name_the_same_flag(words: list[str]) -> None:
    command = Command()
    assert command(*words) == 7
    assert command.values["max_batch"].value == 8


@pytest.mark.parametrize("words", [["--user-conf", "--my-file_x"], ["--user-conf=--my-file_x"]])
def test_values_stay_as_they_are(words: list[str]) -> None:
    command = Command()
    command(*words, "a-b_c", "--json", "--", "--not-a-flag")
    assert command.values["user_conf"].value == "--my-file_x"
    assert command.values["json"].value is True
    assert command.arguments == ["a-b_c", "--not-a-flag"]


@pytest.mark.parametrize("denial", ["--nojson", "--no-json", "--no_json", "--json=false"])
def test_a_boolean_flag_can_be_denied(denial: str) -> None:
    command = Command()
    command("--json", denial)
    assert command.values["json"].value is False


def test_a_second_run_starts_from_the_defaults() -> None:
    command = Command()
    command("--max-batch", "8", "--option", "a", "--json")
    command()
    assert command.values["max_batch"].value == 64
    assert command.values["option"].value == []
    assert command.values["json"].value is False


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--max-bach", "8"], "Unknown flag --max-bach. Did you mean --max-batch? --help lists all."),
        (["--xyz"], "Unknown flag --xyz. --help lists all."),
        (["--max-batch", "0"], "--max-batch must be a positive integer, not '0'."),
        (["--max-batch", "many"], "--max-batch must be a positive integer, not 'many'."),
        (["--max-batch"], "Missing value for flag --max-batch."),
        (["--target-qps", "nan"], "--target-qps must be a finite number, not nan."),
        (
            ["--dtype", "int46"],
            "Unknown value of --dtype 'int46'. Did you mean 'int64'? Available: float32, int32, int64.",
        ),
        (["--json=perhaps"], "--json must be true or false, not 'perhaps'."),
        (["--nojson=1"], "--nojson=1 does not take an argument."),
    ],
)
def test_a_wrong_flag_is_one_sentence_and_exit_2(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Command()
    assert command(*words) == 2
    assert command.arguments is None, "the command must not start"
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_flags_that_are_required_are_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    command = Command()
    flags.DEFINE_string("log_file", None, "log", required=True, flag_values=command.values)
    flags.DEFINE_string("labels", None, "labels", required=True, flag_values=command.values)
    assert command() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Missing --") and error.count("\n") == 1
    assert "--log-file" in error and "--labels" in error
    assert command("--log-file=a", "--labels=b") == 7


def test_a_word_that_is_no_flag_is_refused_where_none_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    command = Command()
    assert command("offline", arguments="") == 2
    assert "'offline' is no flag" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(TandemError, 1), (UsageError, 2), (RunFailed, 3)])
def test_an_error_of_ours_is_its_sentence_and_its_exit_code(
    error: type[TandemError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Command(error("The data is missing."))() == code
    assert capsys.readouterr() == ("", "error: The data is missing.\n")


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        Command(ZeroDivisionError())()


def test_the_command_runs_as_a_module(command: list[str]) -> None:
    done = outcome(command, "first", "--name=a-b", "--target-qps", "3", "second")
    assert (done.returncode, done.stdout, done.stderr) == (0, "3.0 False a-b ['first', 'second']\n", "")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--helpshort"], ["--unknown", "--name", "--help"]])
def test_help_is_a_line_a_flag(command: list[str], words: list[str]) -> None:
    done = outcome(command, *words)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:3] == ["Serves samples.", "", "usage: python -m serve [flags] RUN [RUN]"]
    assert max(map(len, lines)) <= 100
    assert [line.split()[0] for line in lines[4:]] == ["--target-qps", "--[no]json", "--name", "--action", "--helpfull"]
    assert lines[4].endswith("queries a second [2.5]")


def test_full_help_leaves_nothing_out(command: list[str]) -> None:
    done = outcome(command, "--helpfull")
    assert (done.returncode, done.stderr) == (0, "")
    assert "More that the short help leaves out." in done.stdout
    assert " ".join(done.stdout.split()).count("a long story") == 40


def test_help_after_a_lone_double_dash_is_an_argument(command: list[str]) -> None:
    assert outcome(command, "--", "--help").stdout == "2.5 False None ['--help']\n"


def test_an_interrupt_is_130_without_a_traceback(command: list[str]) -> None:
    done = outcome(command, "--action=interrupt")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(command: list[str], unbuffered: str) -> None:
    words = ["env", f"PYTHONUNBUFFERED={unbuffered}", *command, "--action=flood"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


def test_another_broken_pipe_is_not_taken_for_the_reader(command: list[str]) -> None:
    done = outcome(command, "--action=pipe")
    assert done.returncode == 2
    assert "another pipe than standard output" in done.stderr and "Traceback" not in done.stderr
