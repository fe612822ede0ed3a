"""Command lines: absl-py's flags, with hyphens, one sentence an error, and the project's exit codes.

A command owns its flags, so that a command that imports another's module does not inherit them:

    FLAGS = new_flags()
    BATCH = flags.DEFINE_integer("max_batch", 64, "samples a batch", lower_bound=1, flag_values=FLAGS)

    def main(arguments: list[str]) -> int: ...

    if __name__ == "__main__":
        sys.exit(run(main, FLAGS))
"""

import contextlib
import math
import os
import re
import select
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import flags

from common.errors import TandemError, UsageError
from common.names import nearest, unknown

Main = Callable[[list[str]], int]

HELP = frozenset({"-h", "--help", "--helpshort"})
HELP_FULL = "--helpfull"

INTERRUPTED = 130
# What a shell reports for a program that SIGPIPE ended.
READER_GONE = 141


def new_flags() -> flags.FlagValues:
    """Returns an empty set of flags, for one command."""
    return flags.FlagValues()  # type: ignore[no-untyped-call]


def run(main: Main, values: flags.FlagValues, argv: Sequence[str] | None = None, *, arguments: str = "") -> int:
    """Runs a command and returns its exit code: `main`'s own, or that of the TandemError which it raised.

    `main` gets what is no flag; `arguments` names that for the usage line, and where it is empty such words are
    refused. `argv` are the words after the program's name, by default those of the process.
    """
    _open_standard_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        wanted = _wanted_help(words)
        if wanted:
            print(help_text(main, values, arguments) if wanted != HELP_FULL else _full_help(main, values, arguments))
            code = 0
        else:
            code = main(_parse(words, values, arguments))
        sys.stdout.flush()
        return code
    except TandemError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        gone = isinstance(error, BrokenPipeError) and _reader_gone()
        with contextlib.suppress(OSError):
            if not gone:
                print(f"error: A file or folder that is needed cannot be used: {error}.", file=sys.stderr)
        # The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE if gone else UsageError.exit_code


def _open_standard_streams() -> None:
    """Puts /dev/null where the caller has closed a standard stream: else the next file or pipe takes its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
        # Paths may hold signs that the terminal's encoding lacks.
        with contextlib.suppress(AttributeError):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def help_text(main: Main, values: flags.FlagValues, arguments: str = "") -> str:
    """Returns the help that fits one screen: what the command does, its usage, and a line a flag with its default."""
    width = max(80, min(shutil.get_terminal_size((110, 24)).columns, 120))
    rows = [(_title(flag), _description(flag)) for flag in _flags(values)]
    column = max((len(title) for title, _ in rows), default=0) + 4
    lines = [
        f"  {title:<{column - 2}}{textwrap.shorten(text, width - column, placeholder=' ...')}" for title, text in rows
    ]
    return "\n".join([_introduction(main, arguments), "", *lines, f"  {HELP_FULL:<{column - 2}}every flag at length"])


def _full_help(main: Main, values: flags.FlagValues, arguments: str) -> str:
    document = (sys.modules[main.__module__].__doc__ or "").strip()
    return f"{document}\n\n{_usage(main, arguments)}\n\n{values.get_help()}"


def _introduction(main: Main, arguments: str) -> str:
    """Returns the first paragraph of the command's module, and its usage line."""
    document = (sys.modules[main.__module__].__doc__ or "").strip()
    return f"{document.partition(chr(10) * 2)[0]}\n\n{_usage(main, arguments)}"


def _usage(main: Main, arguments: str) -> str:
    specification = sys.modules[main.__module__].__spec__
    # A package that is run is its file __main__.
    module = specification and specification.name.removesuffix(".__main__")
    program = f"python -m {module}" if module else os.path.basename(sys.argv[0])
    return f"usage: {program} [flags] {arguments}".rstrip()


def _flags(values: flags.FlagValues) -> Iterator[Any]:
    """Yields the flags in the order of their definition."""
    return (values[name] for name in values if values[name].name == name)


def _title(flag: Any) -> str:
    return _spelled(f"[no]{flag.name}" if flag.boolean else flag.name)


def _spelled(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _description(flag: Any) -> str:
    default = ",".join(map(str, flag.default)) if isinstance(flag.default, list) else flag.default
    shown = "" if default is None or default is False or default == "" else f" [{default}]"
    return f"{flag.help}{shown}"


def _wanted_help(words: list[str]) -> str | None:
    """Returns the flag that asks for help, wherever it stands before a lone `--`."""
    before = words[: words.index("--")] if "--" in words else words
    return next((word for word in before if word in HELP or word == HELP_FULL), None)


def _parse(words: list[str], values: flags.FlagValues, arguments: str) -> list[str]:
    """Sets the flags, whatever they were before, and returns the words that are none; raises UsageError."""
    for flag in _flags(values):
        flag.unparse()
    try:
        rest = values(["command", *_normalised(words, values)])[1:]
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error.flagname, values) from None
    except (flags.Error, ValueError) as error:
        raise UsageError(_sentence(str(error), values)) from None
    for flag in _flags(values):
        if isinstance(flag.value, float) and not math.isfinite(flag.value):
            raise UsageError(f"{_spelled(flag.name)} must be a finite number, not {flag.value}.")
    if rest and not arguments:
        raise UsageError(f"'{rest[0]}' is no flag, and this command takes no other arguments; --help lists its flags.")
    return rest


def _normalised(words: list[str], values: flags.FlagValues) -> Iterator[str]:
    """Yields the words with the names of flags as absl knows them; a flag's value stays as it is."""
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            yield word
            yield from remaining
        elif word.startswith("-") and word.strip("-"):
            name, equals, value = word.lstrip("-").partition("=")
            name = _absl_name(name, values)
            yield f"--{name}{equals}{value}"
            if not equals and name in values and not values[name].boolean:
                yield from (value for value in (next(remaining, None),) if value is not None)
        else:
            yield word


def _absl_name(name: str, values: flags.FlagValues) -> str:
    """Returns a flag's name with underscores; `no-x` is `nox`, as absl spells the denial of a boolean flag."""
    name = name.replace("-", "_")
    denied = name.removeprefix("no_")
    return f"no{denied}" if denied != name and name not in values and denied in values else name


def _unknown_flag(name: str, values: flags.FlagValues) -> UsageError:
    near = nearest(name, [flag.name for flag in _flags(values)])
    hint = f" Did you mean {_spelled(near)}?" if near else ""
    return UsageError(f"Unknown flag {_spelled(name)}.{hint} --help lists all.")


def _sentence(message: str, values: flags.FlagValues) -> str:
    """Returns absl's complaint in one sentence, with flags as they are typed."""
    missing = re.findall(r"Flag --(\w+) must have a value other than None", message)
    if missing:
        return f"Missing {' and '.join(map(_spelled, missing))}; --help says what to give."
    refused = re.match(r"flag --(\w+)=(.*?): (.*)", message, re.DOTALL)
    if not refused:
        return " ".join(re.sub(r"--\w+", lambda match: _spelled(match[0][2:]), message).split()).rstrip(".") + "."
    name, given, reason = refused[1], refused[2], refused[3]
    parser: Any = values[name].parser if name in values else None
    allowed = getattr(parser, "enum_values", None)
    if allowed:
        return str(unknown(f"value of {_spelled(name)}", given, allowed))
    if isinstance(parser, flags.IntegerParser | flags.FloatParser):
        return f"{_spelled(name)} must be {parser.syntactic_help}, not '{given}'."
    if isinstance(parser, flags.BooleanParser):
        return f"{_spelled(name)} must be true or false, not '{given}'."
    return f"{_spelled(name)} cannot be '{given}': {' '.join(reason.split()).rstrip('.')}."


def _reader_gone() -> bool:
    """Returns whether nobody reads standard output any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))
