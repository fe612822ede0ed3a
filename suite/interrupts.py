"""Ctrl-C and its like: they interrupt once, and never what must be done to its end.

Python's own handler raises wherever it finds the program, in the midst of its cleaning up too. A mask of the kernel's
would not do: it holds for one thread, and lets through what has been noted and not yet been raised.
"""

import contextlib
import signal
from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_holding = False
_waiting = False
_raised = False


def install() -> None:
    """Has each signal interrupt that is not ignored: nohup wants one ignored, and a shell for its background."""
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Holds interruptions back; what came meanwhile interrupts at the end."""
    yield from _while(True)


@contextlib.contextmanager
def allowed() -> Iterator[None]:
    """Lets interruptions through, in the midst of what holds them back."""
    yield from _while(False)


def check() -> None:
    """Interrupts again what goes on as if it had not been: Python drops what is raised in a finalizer, say."""
    if _raised and not _holding:
        raise KeyboardInterrupt


def _while(holding: bool) -> Iterator[None]:
    global _holding
    before, _holding = _holding, holding
    try:
        _interrupt_if_due()
        yield
    finally:
        _holding = before
    _interrupt_if_due()


def _interrupt_if_due() -> None:
    if _waiting and not _holding:
        _interrupt()


def _interrupt(*_: object) -> None:
    global _waiting, _raised
    _waiting = _holding
    if _holding:
        return
    # Whoever is impatient is no help: what is left to do ends within a bound.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _raised = True
    raise KeyboardInterrupt
