"""Shows how far a run is, on stderr: a bar on a terminal, one line a phase elsewhere."""

import contextlib
import sys
from collections.abc import Iterator

from suite.launch import Progress, Watcher


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
            sys.stderr.write(f"{title}: {progress.phase}\n")

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
        started: list[float] = []

        def watch(progress: Progress) -> None:
            if progress.completed and not started:
                started.append(bar.get_time())
            state = _state(progress, bar.get_time() - started[0] if started else 0.0)
            bar.update(
                task, total=progress.expected or None, completed=min(progress.completed, progress.expected), state=state
            )

        yield watch


def _state(progress: Progress, seconds: float) -> str:
    """Returns samples done, rate and time left, or the phase where nothing is counted yet."""
    if not progress.completed or seconds <= 0:
        return progress.phase
    rate = progress.completed / seconds
    left = max(0.0, (progress.expected - progress.completed) / rate)
    return f"{progress.completed:,} samples, {rate:,.0f}/s, {left:.0f} s left"
