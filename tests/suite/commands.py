"""Starts the real commands for tests: with a cache of their own, and nobody left behind unseen."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from suite.places import cache_dir
from tests.zoo import faulty, tells

ROOT = Path(__file__).parents[2]

# Every process of a command has this in its environment, under a value of the command's own.
MARK = "TANDEM_TEST_MARK"

# A serving that needs no search, and hints that need no measuring.
FIXED = {
    "offline": ("--max-batch=64", "--sessions=1", "--threads=1"),
    "server": ("--max-batch=64", "--sessions=1", "--threads=1"),
    "single-stream": ("--max-batch=1", "--threads=1"),
    "multi-stream": ("--max-batch=8", "--threads=1"),
}
HINTS = {
    "offline": "--target-qps=20000",
    "server": "--target-qps=2000",
    "single-stream": "--expected-latency-ms=1",
    "multi-stream": "--expected-latency-ms=1",
}


def cache() -> Path:
    """Returns the session's cache."""
    return cache_dir("", os.environ)


class Command:
    """A command that has been started; its stderr is read as it comes."""

    def __init__(
        self,
        module: str,
        *words: str,
        environment: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
        **streams: Any,
    ) -> None:
        self.mark = uuid.uuid4().hex
        own = {"PYTHONPATH": str(ROOT), MARK: self.mark}
        self.errors: IO[bytes] = tempfile.TemporaryFile()
        streams = {"stdout": subprocess.PIPE, "stderr": self.errors, "cwd": ROOT, **streams}
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env={**os.environ, **own, **(environment or {})},
            preexec_fn=before,
            **streams,
        )

    def stderr(self) -> str:
        """Returns what it has said so far."""
        self.errors.flush()
        return os.pread(self.errors.fileno(), 1 << 20, 0).decode()

    def await_line(self, text: str, timeout_s: float = 60) -> None:
        """Returns once stderr holds a text."""
        deadline = time.monotonic() + timeout_s
        while text not in self.stderr():
            assert time.monotonic() < deadline and self.process.poll() is None, self.stderr()
            time.sleep(0.02)

    def end(self, timeout_s: float = 60) -> "Ended":
        """Returns how it ended; a command that does not end in time fails the test and is killed."""
        try:
            output, _ = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            said = self.stderr()
            self.errors.close()
        return Ended(self.process.returncode, (output or b"").decode(), said, self.left_behind())

    def others(self) -> list[int]:
        """Returns the processes of this command beside its first."""
        return [pid for pid in _marked(self.mark) if pid != self.process.pid]

    def left_behind(self, patience_s: float = 2) -> list[int]:
        """Returns the processes that are still there after the command, which may take a moment to go."""
        deadline = time.monotonic() + patience_s
        while (left := self.others()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return left


class Ended:
    """How a command ended."""

    def __init__(self, code: int, stdout: str, stderr: str, left_behind: list[int]) -> None:
        self.code, self.stdout, self.stderr, self.left_behind = code, stdout, stderr, left_behind

    @property
    def sentence(self) -> str:
        """The one sentence on stderr; fails the test where there is none, more than one, or a traceback."""
        assert "Traceback" not in self.stderr, self.stderr
        sentences = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert len(sentences) == 1 and self.stderr.rstrip().endswith(sentences[0]), self.stderr
        return sentences[0]


def _marked(mark: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def start(*words: str, fault: str = "none", **more: Any) -> Command:
    """Starts `suite.run` with these flags."""
    return Command("suite.run", *words, environment={faulty.VARIABLE: fault, **more.pop("environment", {})}, **more)


def faulty_run(results: Path, scenario: str, *words: str, mode: str = "performance") -> tuple[str, ...]:
    """Returns the flags of a quick run on the faulty backend."""
    which = ("--backend=tests.zoo.faulty", f"--scenario={scenario}", f"--mode={mode}", f"--results-dir={results}")
    load = (HINTS[scenario],) if mode != "accuracy" else ()
    return (*which, *FIXED[scenario], *load, *words)


def told(results: Path, scenario: str, *words: str) -> tuple[list[dict[str, Any]], str]:
    """Returns what the threads of a real performance run tell (tests/zoo/tells.py), in order, and what it printed."""
    file = results.with_name("told.txt")
    flags = [f"--scenario={scenario}", "--mode=performance", f"--results-dir={results}", *FIXED[scenario]]
    more = [HINTS[scenario], "--backend=tests.zoo.tells", "--retry=0", *words]
    ended = start(*flags, *more, environment={tells.VARIABLE: str(file)}).end(90)
    assert ended.code in (0, 1) and ended.left_behind == [], ended.stderr
    return [json.loads(line) for line in file.read_text().splitlines()], ended.stdout


def records(results: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Returns every run's folder and record, the oldest first."""
    found = sorted(results.glob("*/*/*/*/*/run.json"))
    return [(path.parent, json.loads(path.read_text())) for path in found]


def only_record(results: Path) -> tuple[Path, dict[str, Any]]:
    """Returns the one run's folder and record."""
    ((folder, record),) = records(results)
    return folder, record
