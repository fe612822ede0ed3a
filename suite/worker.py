"""The child process: carries out one task, tells its parent through a pipe, and ends. Started by suite.launch alone."""

import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from common.errors import RunFailed, TandemError
from scenarios.harness.sut import SWITCH_INTERVAL_S
from suite.allocator import keep_freed_memory
from suite.awake import awake
from suite.channel import Channel
from suite.tasks import contests, models, runs

# Of Linux's prctl.h.
PR_SET_PDEATHSIG = 1

TASKS: dict[str, Callable[[dict[str, Any], Channel], Any]] = {
    "describe": models.describe,
    "devices": models.devices,
    "export": models.export,
    "make": models.make,
    "compare": models.compare,
    "reference": models.reference,
    "search": runs.search,
    "test": runs.test,
    "probe": runs.probe,
    "look": contests.look,
    "turns": contests.turns,
    "answer": contests.answer,
    "sweep": contests.sweep,
    "layers": contests.layers,
}


def _die_with_parent() -> None:
    """Has Linux end this process with its parent, even while it hangs in a library and the channel says nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Carries out the task named first, with the job from standard input, answering on the descriptor named second."""
    _die_with_parent()
    channel = Channel(int(arguments[1]))
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    kept = keep_freed_memory(os.environ)
    try:
        # With what it says of this process.
        job = {**json.load(sys.stdin), "keeps_freed_memory": kept}
        with awake(job.get("serving", {}).get("awake", False)):
            channel.send("result", TASKS[arguments[0]](job, channel))
    except TandemError as error:
        channel.send("error", {"sentence": str(error), "exit_code": error.exit_code})
    except OSError as error:
        # A full disk ends here; the pipe still takes the sentence.
        sentence = f"The run could not use its files: {error}."
        channel.send("error", {"sentence": sentence, "exit_code": RunFailed.exit_code})
    except Exception as error:  # noqa: BLE001 - the process's edge: the parent writes the record
        traceback.print_exc()
        sentence = f"The run's process failed: {type(error).__name__}: {error}."
        channel.send("error", {"sentence": sentence, "exit_code": RunFailed.exit_code})
    # LoadGen's and the runtimes' own threads may still be there, and can abort an ordinary end.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
