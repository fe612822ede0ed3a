"""A study's report in Markdown.

The first lines answer which optimization to use here, and which ones lie. Every figure of a full run names its
evidence.
"""

from collections.abc import Sequence

from suite import arithmetic, recipes
from tools.study.answers import answers
from tools.study.chain import chains
from tools.study.details import details
from tools.study.findings import BROKE, FAILED, INVALID, LEFT_OUT, MISSES, UNJUDGED, WORTHLESS, Row
from tools.study.plan import REFERENCE
from tools.study.ranking import ends, groups, inversions, pareto, reference_of, speed
from tools.study.reading import READING
from tools.study.words import named, place, points, run, some, times, told

HEAD = (
    "recipe",
    "throughput",
    "95 %",
    "accuracy",
    "points",
    "p",
    "changed",
    "worst class, points",
    "counts?",
    "ran as",
    "full run",
)


def first_screen(rows: Sequence[Row], about: Sequence[str]) -> str:
    """Returns what the report begins with."""
    lines = [f"- {line}" for line in (*answers(rows), *about)]
    return "\n".join(["# Which optimization pays, and which ones lie", "", *lines])


def markdown(rows: Sequence[Row], about: Sequence[str]) -> str:
    """Returns the report as Markdown."""
    parts = [first_screen(rows, about), ""]
    for title, own in groups(rows):
        parts += [f"## {title}", "", *markdown_table(HEAD, [cells(row) for row in own]), ""]
        parts += [*(f"- {line}" for line in (*served(own), *inverted(own))), ""]
        for about_it, head, lines in details(own):
            parts += [about_it, "", *markdown_table(head, lines), ""]
        parts += [front(own), ""]
        parts += [f"![accuracy against throughput]({picture(title)}.svg)", ""]
        if chains(own):
            parts += [f"![what each step of a chain added]({picture(title, chains=True)}.svg)", ""]
    parts += ["## How to read it", "", *(f"- {line}" for line in READING), *left_out(rows), ""]
    return "\n".join(parts)


def cells(row: Row) -> list[str]:
    """Returns a row's cells under HEAD; figures name the file that they are from."""
    if row.outcomes is None or row.worst is None:
        return [f"`{row.cell.title}`", *[""] * 7, f"{row.state}: {row.reason}" if row.reason else row.state, "", ""]
    low, high = (100 * end for end in row.outcomes.interval())
    reference = row.cell.recipe == REFERENCE
    none = "none of its own" if recipes.emulated(row.cell.recipe) else "not measured"
    return [
        f"`{row.cell.title}`",
        f"[{row.ratio:.3f}]({row.record})" if row.ratio else none,
        f"{row.ends[0]:.3f} to {row.ends[1]:.3f}" if row.ends else "none (one block)" if row.ratio else "",
        f"[{row.accuracy:.2f}]({row.record})",
        "" if reference else f"{100 * row.outcomes.difference:+.2f} ({low:+.2f} to {high:+.2f})",
        "" if reference else f"{row.p_holm:.2g}" if row.p_holm else "below 1e-300",
        f"{100 * row.outcomes.changed / row.outcomes.total:.2f} %",
        "" if reference else f"class {row.worst.label}: {100 * row.worst.outcomes.difference:+.1f}",
        _worth(row),
        arithmetic.shares(row.arithmetic) if row.arithmetic else "",
        run(row),
    ]


def _worth(row: Row) -> str:
    # What LoadGen says of an invalid run is in its verdict, which the figure leads to.
    said = row.state if row.state in (UNJUDGED, INVALID) or not row.reason else f"{row.state} ({row.reason})"
    return f"{said}{_marks(row)}"


def _marks(row: Row) -> str:
    """Returns what somebody has to know who wants to use or submit a variant."""
    changes = f"; {100 * row.changes_with_batch:.3g} % of its answers change with the batch"
    because = recipes.open_because(row.cell.recipe)
    division = f"; open division alone, as {' and '.join(because)}" if because else ""
    return (changes if row.changes_with_batch else "") + division


def front(own: Sequence[Row]) -> str:
    """Returns the sentence of what may count and is not surely slower, as far as none beats it in both."""
    may = [row for row in own if row.state not in WORTHLESS and ends(row, own)[1] >= 1]
    names = ", ".join(told(row) for row in pareto(may))
    if not names:
        return "Nothing that may count has a throughput." if any(row.ratio for row in own) else "Nothing was timed."
    return f"Of those that may count nothing beats in both: {names}."


def served(own: Sequence[Row]) -> list[str]:
    """Returns how the reference of a group was served, for people, and what it came out at against itself."""
    reference = reference_of(own)
    if reference is None or not reference.serving:
        return []
    lines = [f"Served by {reference.serving}, except for what a recipe asks itself: all throughputs here are of that."]
    if reference.ends:
        low, high = reference.ends
        lines.append(f"The reference against itself came out at {reference.ratio:.3f} ({low:.3f} to {high:.3f}).")
    return lines


def inverted(own: Sequence[Row]) -> list[str]:
    """Returns what is faster and worth nothing, for people, each with what it is surely faster than."""
    if not any(row.ratio for row in own):
        return []
    found = inversions(own)
    faster = {one.faster.cell: one.faster for one in found}
    lines = [_sentence(row, [one.better for one in found if one.faster is row], own) for row in faster.values()]
    return [line for line in lines if line] or [
        "No inversion: nothing that is worth nothing is surely faster than the reference, or than what may count and "
        "is no slower."
    ]


def _sentence(faster: Row, better: Sequence[Row], own: Sequence[Row]) -> str:
    """Returns the sentence of an inversion, empty where it beats only what is slower than the reference itself."""
    names = [f"`{row.cell.title}` ({speed(faster) / speed(row):.2f} times)" for row in better if ends(row, own)[1] >= 1]
    if not names:
        return ""
    why = f"{faster.state}, {points(faster)} from the reference" if faster.state == MISSES else faster.state
    return f"{named(faster)} ({times(faster)}) is worth nothing ({why}), and surely faster than {some(names)}."


def left_out(rows: Sequence[Row]) -> list[str]:
    """Returns what was not judged, not measured, or disturbed, a line each."""
    unjudged = sum(row.state == UNJUDGED and not row.untimed for row in rows)
    invalid = [place(row) for row in rows if row.state == INVALID]
    broke = [f"{place(row)} ({row.reason.rstrip('.')})" for row in rows if row.state == BROKE]
    unmeasured = [place(row) for row in rows if row.state == LEFT_OUT]
    untimed = [place(row) for row in rows if row.untimed]
    unrepeated = [f"{place(row)} ({', '.join(map(str, row.missing))})" for row in rows if row.missing]
    lists = {
        "Full runs not valid (--retry-failed makes them again)": invalid,
        "Full runs failed (likewise)": broke,
        "Not measured, for lack of time": unmeasured,
        "The accuracy alone, for lack of time": untimed,
        "Repetitions that are missing": unrepeated,
    }
    return [
        *(
            [f"- No full runs: {unjudged} that meet their target; the fastest of each group get them."]
            if unjudged
            else []
        ),
        *(f"- {name}: {', '.join(found)}." for name, found in lists.items() if found),
        *(f"- {place(row)}: {row.reason}" for row in rows if row.state == FAILED),
        *(f"- To doubt: {place(row)}: {'; '.join(row.notes)}." for row in rows if row.notes),
    ]


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Returns a table's lines."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(text.replace('|', '/') for text in line)} |" for line in lines),
    ]


def picture(title: str, *, chains: bool = False) -> str:
    """Returns the name, without its ending, of a group's picture, or of that of its chains."""
    return title.replace(" on ", "-").replace(", ", "-").replace(" ", "-") + ("-chains" if chains else "")
