"""The cells of a map: every batch with every number of sessions and threads, with and without gathering ahead."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from common.errors import UsageError
from scenarios.harness.sut import MAX_BATCH
from suite.variant import Serving

# As the flags of a run allow.
MOST_PARALLEL = 1024


@dataclass(frozen=True, order=True)
class Cell:
    """One way of serving. Cells are in order by what shares sessions, the smaller batch first."""

    sessions: int
    threads: int
    batch: int
    ahead: bool

    def serving(self, device: str, pin: tuple[int, ...]) -> Serving:
        """Returns how it is served on a device, its sessions sharing cores if there is a pin."""
        return Serving(self.batch, 0, self.sessions, self.threads, device, ahead=self.ahead, pin=pin)

    @property
    def cores(self) -> int:
        """How many cores its threads want."""
        return self.sessions * self.threads

    @property
    def title(self) -> str:
        """The cell, for people."""
        ahead = ", gathered ahead" if self.ahead else ""
        return f"batches of {self.batch:,}, {layout(self.sessions, self.threads)}{ahead}"


# What everything is relative to.
REFERENCE = Cell(1, 1, 1, False)


@dataclass(frozen=True)
class Axes:
    """The values of a map, each in order and with the reference's own among them."""

    batches: tuple[int, ...]
    sessions: tuple[int, ...]
    threads: tuple[int, ...]
    ahead: tuple[bool, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell, in order, the reference first."""
        return tuple(Cell(*one) for one in product(self.sessions, self.threads, self.batches, self.ahead))


def axes(cores: int, batches: Iterable[str], sessions: Iterable[str], threads: Iterable[str], ahead: str) -> Axes:
    """Returns the axes that flags name; where one names nothing, powers of two up to the cores, or the largest batch.

    `ahead` is on, off or both. Raises UsageError for what is no number, or out of range.
    """
    return Axes(
        batches=_values("--batches", batches, MAX_BATCH) or _powers(MAX_BATCH),
        sessions=_values("--sessions", sessions, MOST_PARALLEL) or _powers(cores),
        threads=_values("--threads", threads, MOST_PARALLEL) or _powers(cores),
        ahead=(False,) if ahead == "off" else (False, True),
    )


def beyond(cell: Cell, cores: int) -> str | None:
    """Returns why a cell is beyond the cores that may be used, None where it is not."""
    return f"{cell.cores:,} cores wanted, {cores:,} can be used" if cell.cores > cores else None


def layout(sessions: int, threads: int) -> str:
    """Returns sessions and threads, for people."""
    return f"{sessions:,} session{'' if sessions == 1 else 's'} of {threads:,} thread{'' if threads == 1 else 's'}"


def _values(flag: str, given: Iterable[str], most: int) -> tuple[int, ...]:
    """Returns the numbers of a flag and 1, which the reference has, or nothing where it names none."""
    words = [word.strip() for word in given if word.strip()]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= len(str(most)) and 1 <= int(word) <= most):
            raise UsageError(f"{flag} holds '{word}'; it takes whole numbers from 1 to {most}, as in 1,2,4.")
    return tuple(sorted({1, *map(int, words)})) if words else ()


def _powers(most: int) -> tuple[int, ...]:
    """Returns the powers of two up to a number, and the number itself."""
    return tuple(sorted({most, *(2**power for power in range(most.bit_length()))}))
