"""The project's errors: one tree, one exit code each.

TandemError (1)
├── UsageError (2)      the command was wrong, or was refused before anything started
└── RunFailed (3)       a run started and did not finish properly

A message is one sentence that says what was given, what is allowed and what to do. Only `main` functions exit.
"""


class TandemError(Exception):
    """Any failure that a user is told about in one sentence."""

    exit_code = 1


class UsageError(TandemError):
    """The command cannot be carried out as given; nothing was started."""

    exit_code = 2


class RunFailed(TandemError):
    """A run, or what prepares it, started and failed; the message says where its record or its log is."""

    exit_code = 3
