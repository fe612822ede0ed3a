"""The cells of a map: every batch with every number of sessions, threads, stages, and threads that gather ahead."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from common.errors import UsageError
from scenarios.harness.sut import MAX_BATCH, MOST_PREFETCH
from suite.backends._cut import MOST_STAGES, OPTION
from suite.variant import Serving

# As the flags of a run allow.
MOST_PARALLEL = 1024


@dataclass(frozen=True)
class Cell:
    """One way of serving; in more than one stage the graph is cut, and the stages share a session's threads."""

    sessions: int
    threads: int
    batch: int
    prefetch: int
    stages: int = 1

    def serving(self, device: str, pin: tuple[int, ...], *, end_to_end: bool = False) -> Serving:
        """Returns how it is served on a device, its sessions sharing cores if there is a pin."""
        layout = (self.batch, 0, self.sessions, self.threads, device)
        return Serving(*layout, prefetch=self.prefetch, pin=pin, end_to_end=end_to_end)

    @property
    def layout(self) -> tuple[int, int, int]:
        """What cells that share sessions have in common: sessions, threads of each, stages."""
        return self.sessions, self.threads, self.stages

    @property
    def options(self) -> dict[str, str]:
        """The runtime options that it has of its own."""
        return {OPTION: str(self.stages)} if self.stages > 1 else {}

    @property
    def cores(self) -> int:
        """How many cores its threads want."""
        return self.sessions * self.threads

    @property
    def title(self) -> str:
        """The cell, for people."""
        ahead = f", {gathering(self.prefetch)}" if self.prefetch else ""
        return f"batches of {self.batch:,}, {layout(*self.layout)}{ahead}"


# What everything is relative to.
REFERENCE = Cell(1, 1, 1, 0)


@dataclass(frozen=True)
class Axes:
    """The values of a map, each in order and with the reference's own among them."""

    batches: tuple[int, ...]
    sessions: tuple[int, ...]
    threads: tuple[int, ...]
    prefetch: tuple[int, ...]
    stages: tuple[int, ...] = (1,)

    @property
    def kinds(self) -> list[tuple[int, int]]:
        """Threads of a session and stages, wherever each stage has as many threads."""
        return [(threads, stages) for threads in self.threads for stages in self.stages if threads % stages == 0]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, the reference first, those that share sessions together and of these the smaller batch first."""
        found = product(self.sessions, self.kinds, self.batches, self.prefetch)
        return tuple(
            Cell(sessions, threads, batch, ahead, stages) for sessions, (threads, stages), batch, ahead in found
        )


def axes(
    cores: int,
    batches: Iterable[str],
    sessions: Iterable[str],
    threads: Iterable[str],
    prefetch: Iterable[str],
    stages: Iterable[str] = ("1",),
) -> Axes:
    """Returns the axes that flags name; where one names nothing, powers of two up to the cores, or the largest batch.

    Of prefetching it is none and one thread, of stages one and two. Raises UsageError for what is no number, or out of
    range.
    """
    named = list(stages)
    found = Axes(
        batches=_values("--batches", batches, 1, MAX_BATCH) or _powers(MAX_BATCH),
        sessions=_values("--sessions", sessions, 1, MOST_PARALLEL) or _powers(cores),
        threads=_values("--threads", threads, 1, MOST_PARALLEL) or _powers(cores),
        prefetch=_values("--prefetch", prefetch, 0, MOST_PREFETCH) or (0, 1),
        stages=_values("--stages", named, 1, MOST_STAGES) or (1, 2),
    )
    for count in found.stages:
        if named and not any(threads % count == 0 for threads in found.threads):
            raise UsageError(f"--stages holds '{count}', and each stage wants a thread: give --threads {count}.")
    return found


def beyond(cell: Cell, cores: int) -> str | None:
    """Returns why a cell is beyond the cores that may be used, None where it is not."""
    return f"{cell.cores:,} cores wanted, {cores:,} can be used" if cell.cores > cores else None


def layout(sessions: int, threads: int, stages: int = 1) -> str:
    """Returns sessions, their threads and stages, for people."""
    count = f"{sessions:,} session{'' if sessions == 1 else 's'}"
    return f"{count} of {threads:,} thread{'' if threads == 1 else 's'}{staged(stages)}"


def staged(stages: int) -> str:
    """Returns in how many stages a graph is, for people: nothing of a whole one."""
    return f" in {stages} stages" if stages > 1 else ""


def gathering(prefetch: int) -> str:
    """Returns how batches are gathered, for people."""
    if not prefetch:
        return "each batch gathered in turn"
    return "the next batch gathered ahead" if prefetch == 1 else f"{prefetch} batches gathered ahead"


def _values(flag: str, given: Iterable[str], least: int, most: int) -> tuple[int, ...]:
    """Returns the numbers of a flag and the least, which the reference has, or nothing where it names none."""
    words = [word.strip() for word in given if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= len(str(most)) and least <= int(word) <= most):
            raise UsageError(f"{flag} holds '{word}'; it takes whole numbers from {least} to {most}, as in {least},2.")
    return tuple(sorted({least, *map(int, words)})) if words else ()


def _powers(most: int) -> tuple[int, ...]:
    """Returns the powers of two up to a number, and the number itself."""
    return tuple(sorted({most, *(2**power for power in range(most.bit_length()))}))
