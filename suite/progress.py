"""Shows how far a run is, on stderr: a bar on a terminal, one line a phase elsewhere."""

import contextlib
import sys
from collections.abc import Iterator

from suite.launch import Progress, Watcher


def say(line: str) -> None:
    """Writes a line to stderr; whether anybody can read it must not decide a run."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def shown(title: str) -> Iterator[Watcher]:
    """Yields a watcher that shows the progress of one task."""
    if sys.stderr.isatty():
        with _bar(title) as watcher:
            yield watcher
    else:
        yield _lines(title)


def _lines(title: str) -> Watcher:
    said: list[str] = []

    def watch(progress: Progress) -> None:
        if progress.phase != "starting" and (not said or said[-1] != progress.phase):
            said.append(progress.phase)
            say(f"{title}: {progress.phase}")

    return watch


@contextlib.contextmanager
def _bar(title: str) -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, state="")
        pace = _Pace()

        def watch(progress: Progress) -> None:
            done, state = min(progress.completed, progress.expected), pace.state(progress, bar.get_time())
            bar.update(task, total=progress.expected or None, completed=done, state=state)

        yield watch


class _Pace:
    """How fast samples are completed, since the first ones of a phase were."""

    def __init__(self) -> None:
        self._phase, self._completed, self._since = "", 0, 0.0

    def state(self, progress: Progress, moment: float) -> str:
        """Returns the phase, and, where samples are counted, how many, at what rate, and the time that is left."""
        if progress.phase != self._phase or progress.completed < self._completed or not self._completed:
            self._phase, self._completed, self._since = progress.phase, progress.completed, moment
        count, seconds = progress.completed - self._completed, moment - self._since
        if not count or seconds <= 0:
            return progress.phase
        rate = count / seconds
        said = f"{progress.phase}: {progress.completed:,} samples, {rate:,.0f}/s"
        if not progress.expected:
            return said
        return f"{said}, {max(0.0, (progress.expected - progress.completed) / rate):.0f} s left"
