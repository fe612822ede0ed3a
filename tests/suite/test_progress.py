"""What a person sees of a run that goes on: a bar with samples, rate and time left; elsewhere a line a phase."""

import os
import pty
import subprocess
import sys

import pytest

from suite.launch import Progress
from suite.progress import _Pace

pytestmark = pytest.mark.side_by_side

SHOW = """
import time
from suite.launch import Progress
from suite.progress import shown
with shown("offline performance run") as watch:
    watch(Progress("loading the model", True, 0, 0, 0, None))
    for number in range(1, 6):
        watch(Progress("running", False, 1000, 100 * number, 1000, None))
        time.sleep(0.12)
"""


def running(completed: int, expected: int = 1000, phase: str = "running") -> Progress:
    return Progress(phase, False, 1000, completed, expected, None)


def test_the_rate_is_that_since_the_first_samples_and_the_rest_is_left() -> None:
    pace = _Pace()
    assert pace.state(running(0), 10.0) == "running"
    # What was done before anybody looked says nothing of the rate.
    assert pace.state(running(100), 12.0) == "running"
    assert pace.state(running(300), 14.0) == "running: 300 samples, 100/s, 7 s left"
    assert pace.state(running(1200), 21.0) == "running: 1,200 samples, 122/s, 0 s left"


def test_a_new_phase_starts_anew_and_without_a_number_expected_nothing_is_left() -> None:
    pace = _Pace()
    pace.state(running(100), 1.0)
    assert pace.state(running(50, 0, "probing"), 2.0) == "probing"
    assert pace.state(running(150, 0, "probing"), 3.0) == "probing: 150 samples, 100/s"
    # The next probe of the same phase.
    assert pace.state(running(10, 0, "probing"), 4.0) == "probing"
    assert pace.state(running(30, 0, "probing"), 5.0) == "probing: 30 samples, 20/s"


def test_elsewhere_each_phase_is_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == "offline performance run: loading the model\noffline performance run: running\n"
    assert done.stdout == ""


def test_on_a_terminal_there_is_a_bar() -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", SHOW], stderr=follower, env=environment) as process:
        assert process.wait(60) == 0
    os.close(follower)
    drawn = os.read(leader, 1 << 16).decode()
    os.close(leader)
    assert "offline performance run" in drawn and "running: " in drawn and "s left" in drawn and "━" in drawn
