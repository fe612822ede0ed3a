"""A study's report in Markdown.

The first lines answer which optimization to use here, and which ones lie. Every figure of a full run names its
evidence.
"""

from collections.abc import Iterable, Sequence

from accuracy_scripts.paired import CERTIFIED
from suite import arithmetic, recipes
from tools.study.chain import chains
from tools.study.details import details
from tools.study.findings import (
    COUNTS,
    FAILED,
    LEFT_OUT,
    UNJUDGED,
    WORTHLESS,
    Row,
    inversions,
    pareto,
    recommended,
    treacherous,
)
from tools.study.plan import REFERENCE

Group = tuple[str, list[Row]]

HEAD = ("recipe", "throughput", "95 %", "top-1", "points", "p", "changed", "worst class", "counts?", "full run")


def groups(rows: Sequence[Row]) -> list[Group]:
    """Returns the rows of each workload and setting that were tried, with their title."""
    return _grouped([row for row in rows if row.state != LEFT_OUT])


def _grouped(rows: Sequence[Row]) -> list[Group]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(f"{row.cell.workload} on {row.cell.setting}", []).append(row)
    return list(found.items())


def markdown(rows: Sequence[Row], about: Sequence[str]) -> str:
    """Returns the report as Markdown."""
    parts = ["# Which optimization pays, and which ones lie", "", *(f"- {line}" for line in answers(rows)), ""]
    for title, own in groups(rows):
        parts += [f"## {title}", "", *markdown_table(HEAD, [cells(row) for row in own]), ""]
        parts += [*(f"- {line}" for line in (*served(own), *inverted(own))), ""]
        for about_it, head, lines in details(own):
            parts += [about_it, "", *markdown_table(head, lines), ""]
        parts += [front(own), ""]
        parts += [f"![accuracy against throughput]({picture(title)}.svg)", ""]
        if chains(own):
            parts += [f"![what each step of a chain added]({picture(title, chains=True)}.svg)", ""]
    parts += ["## How to read it", "", *(f"- {line}" for line in (*READING, *about)), *left_out(rows), ""]
    return "\n".join(parts)


READING_ROWS = (
    "throughput: the variant's over the reference's, the geometric mean of blocks in which the two take turns, loaded "
    "side by side in one process. Offline and in Server it is samples/s with all sessions busy, in the batches of "
    "either; in the streams one over the percentile of a query's latency. 95 %: Student's t on the logarithms of the "
    "blocks' ratios, by the spread of those that told how many there had to be (Stein); one block has none. Of several "
    "processes (repetitions, or what a budget had time for) it is Student's t on their ratios; of one it does not say "
    "how much another would differ. The reference's own row is the reference against itself: the noise floor.",
    "What is emulated has an accuracy, and no throughput of its own.",
    "points: top-1 against the reference on the same samples, with Newcombe's interval; p: McNemar's exact test, by "
    "Holm for all rows of the study together; changed: answers that are not the reference's; worst class: what the "
    "class that lost most lost.",
    "counts?: the verdict of full runs through LoadGen where there were some; else whether the target was met when it "
    "was measured. In Server a full run is at the highest load that was found. Certified: the loss is within the "
    "margin that the target allows, with 95 % confidence.",
)
READING = (
    *READING_ROWS,
    "counts for: the throughput where full runs count, 0 where they do not, and not judged where there were none. "
    "Certified: the lower end of its interval, where the loss is certified too. Right answers/s: of the full run, in "
    "Server those within the limit. Loss: each row's certificate is at 95 %; by itself: not for all rows of the study "
    "together (Holm). Least change seen: of the throughput, by an interval as wide. Errors: wrong "
    "answers over the reference's, with the interval of paired counts (Bonett and Price). Ranks: ✗ is worth nothing, ? "
    "had no full runs.",
    "pictures: green counts, red is worth nothing, grey had no full runs; a triangle lies deeper than is drawn; the "
    "line joins what nothing else beats in both.",
)


def answers(rows: Sequence[Row]) -> Iterable[str]:
    """Yields the sentences that somebody in a hurry wants."""
    for title, own in groups(rows):
        if not any(row.ratio for row in own):
            yield f"**{title}**: no throughput was measured."
            continue
        best = recommended(own)
        fast = best.ratio if best else 1.0
        liars = [row for row in own if row.state in WORTHLESS and row.ratio > fast]
        lies = f" Faster, and worth nothing: {', '.join(_named(row) for row in liars)}." if liars else ""
        if best is None:
            yield f"**{title}**: nothing that counts is surely faster than the reference.{lies}"
        else:
            sure = "certified" if best.certificate and best.certificate.outcome == CERTIFIED else "not certified"
            sure += ", by itself" if best.certified_alone else ""
            yield f"**{title}**: use `{best.cell.title}`: {_times(best)} the reference, {_points(best)}, {sure}.{lies}"
    for title, own in _grouped(rows):
        if all(row.state == LEFT_OUT for row in own):
            yield f"**{title}**: {LEFT_OUT}."
    for recipe, safe, ruinous in treacherous(rows):
        good, bad = (", ".join(f"{row.cell.workload} ({_points(row)})" for row in side) for side in (safe, ruinous))
        yield f"`{recipe}` meets the target on {good} and misses it on {bad}."


def cells(row: Row) -> list[str]:
    """Returns a row's cells under HEAD; figures name the file that they are from."""
    name = f"`{row.cell.title}`"
    if row.outcomes is None or row.worst is None:
        return [name, *[""] * 7, f"{row.state}: {row.reason}" if row.reason else row.state, ""]
    low, high = (100 * end for end in row.outcomes.interval())
    reference = row.cell.recipe == REFERENCE
    none = "none of its own" if recipes.emulated(row.cell.recipe) else "not measured"
    return [
        name,
        f"[{row.ratio:.3f}]({row.record})" if row.ratio else none,
        f"{row.ends[0]:.3f} to {row.ends[1]:.3f}" if row.ends else "one block" if row.ratio else "",
        f"[{row.accuracy:.2f}]({row.record})",
        "" if reference else f"{100 * row.outcomes.difference:+.2f} ({low:+.2f} to {high:+.2f})",
        "" if reference else f"{row.p_holm:.2g}",
        f"{100 * row.outcomes.changed / row.outcomes.total:.2f} %",
        "" if reference else f"{row.worst.label}: {100 * row.worst.outcomes.difference:+.1f}",
        _worth(row),
        f"[{row.figure:,.0f} {row.unit}]({row.evidence}/verdict.json)" if row.figure else "",
    ]


def _worth(row: Row) -> str:
    said = row.state if row.state == UNJUDGED or not row.reason else f"{row.state} ({row.reason})"
    ran = f"; {arithmetic.shares(row.arithmetic)}" if row.arithmetic and row.cell.recipe else ""
    certificate = f", {row.certificate.outcome}" if row.certificate and row.state in (COUNTS, UNJUDGED) else ""
    return f"{said}{certificate if row.cell.recipe else ''}{ran}{_marks(row)}"


def _marks(row: Row) -> str:
    """Returns what somebody has to know who wants to use or submit a variant."""
    changes = f"; {100 * row.changes_with_batch:.2g} % of its answers change with the batch"
    because = recipes.open_because(row.cell.recipe)
    division = f"; open division alone, as {' and '.join(because)}" if because else ""
    return (changes if row.changes_with_batch else "") + division


def front(own: Sequence[Row]) -> str:
    """Returns the sentence of what no other row beats in both."""
    names = ", ".join(_named(row) for row in pareto(own))
    return f"On the front of accuracy against throughput: {names or 'nothing, as no throughput was measured'}."


def served(own: Sequence[Row]) -> list[str]:
    """Returns how the reference of a group was served, for people: all ratios of the group are of that."""
    layouts = [row.serving for row in own if row.cell.recipe == REFERENCE and row.serving]
    return [f"Served by {layout}, except for what a recipe asks itself." for layout in layouts]


def inverted(own: Sequence[Row]) -> list[str]:
    """Returns what is faster and worth nothing, for people, each with all that it is surely faster than."""
    if not any(row.ratio for row in own):
        return []
    found = inversions(own)
    faster = {one.faster.cell: one.faster for one in found}
    lines = [_sentence(row, [one.better for one in found if one.faster is row]) for row in faster.values()]
    return lines or ["No pair is inverted beyond the noise."]


def _sentence(faster: Row, better: Sequence[Row]) -> str:
    """Returns the sentence of an inversion; what is certainly slower than the reference, too, is named last."""
    useful = [row for row in better if row.cell.recipe == REFERENCE or row.known_ends[1] >= 1]
    names = [f"`{row.cell.title}` ({faster.ratio / row.ratio:.2f} times)" for row in useful]
    if slow := ", ".join(f"`{row.cell.title}`" for row in better if row not in useful):
        names.append(f"what is slower than the reference itself: {slow}")
    why = f"is worth nothing, {faster.state} ({_points(faster)})"
    return f"`{faster.cell.title}` {why}, and faster than {', '.join(names)}."


def _named(row: Row) -> str:
    return f"`{row.cell.title}` ({_times(row)}, {row.accuracy:.2f} %)"


def _times(row: Row) -> str:
    return f"{row.ratio:.2f} times"


def _points(row: Row) -> str:
    return f"{100 * row.outcomes.difference:+.2f} points" if row.outcomes else "unknown"


def left_out(rows: Sequence[Row]) -> list[str]:
    """Returns what was not judged, not measured, or disturbed, a line each."""
    disturbed = [_place(row) for row in rows if row.notes]
    unjudged = [row for row in rows if row.state == UNJUDGED and not row.untimed]
    unmeasured = [_place(row) for row in rows if row.state == LEFT_OUT]
    untimed = [_place(row) for row in rows if row.untimed]
    unrepeated = [f"{_place(row)} ({', '.join(map(str, row.missing))})" for row in rows if row.missing]
    return [
        *([f"- No full runs: {', '.join(_named(row) for row in unjudged)}."] if unjudged else []),
        *([f"- Not measured, for lack of time: {', '.join(unmeasured)}."] if unmeasured else []),
        *([f"- The accuracy alone, for lack of time: {', '.join(untimed)}."] if untimed else []),
        *([f"- Repetitions that are missing: {', '.join(unrepeated)}."] if unrepeated else []),
        *(f"- {_place(row)}: {row.reason}" for row in rows if row.state == FAILED),
        *([f"- What to doubt (`notes` in study.csv): {', '.join(disturbed)}."] if disturbed else []),
    ]


def _place(row: Row) -> str:
    return f"`{row.cell.title}` on {row.cell.workload}, {row.cell.setting}"


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
