"""The report of several studies: each machine's rows, what agrees, and what differs."""

import csv
import io
from collections.abc import Iterator, Sequence

from tools.study import merge, report, table
from tools.study.findings import Row
from tools.study.merge import Member, Shared, Side
from tools.study.ranking import groups
from tools.study.reading import ROWS
from tools.study.report import HEAD, markdown_table

ABOUT = (
    "differs in throughput: the 95 % intervals do not meet; a recipe of one block has none, and never differs.",
    "differs in whether it counts: full runs count on one machine; on another they are refused, or the target was "
    "missed.",
    "answers: of the same samples; the model is another where its file is, made of the same reference by the same "
    "recipe.",
)


def markdown(members: Sequence[Member]) -> str:
    """Returns the report as Markdown."""
    shared = merge.shared(members)
    parts = [f"# The same recipes on {len(members)} machines", "", *(f"- {line}" for line in machines(members)), ""]
    parts += ["## What agrees, and what differs", "", *(f"- {line}" for line in answers(members, shared)), ""]
    for title in _titles(members):
        own = [one for one in shared if title == _title(one.sides[0].row)]
        parts += [f"## {title}", "", *_side_by_side(members, own)]
        for member in members:
            rows = dict(groups(member.rows)).get(title, [])
            if rows:
                parts += [f"### {title}: machine {member.label}", ""]
                parts += [*markdown_table(HEAD, [report.cells(row) for row in rows]), ""]
    return "\n".join([*parts, "## How to read it", "", *(f"- {line}" for line in (*ABOUT, *ROWS)), ""])


def machines(members: Sequence[Member]) -> Iterator[str]:
    """Yields a line for each machine, and what else differs between them."""
    for one in members:
        about = one.fingerprint
        yield (
            f"**{one.label}**: {about.get('cpu_model')}, {about.get('cores')} cores, Linux {about.get('kernel')} "
            f"(study: {one.folder})"
        )
    apart = merge.told_apart(members)
    labels = [one.label for one in members]
    for name, values in apart.items():
        yield f"{name}: {', '.join(f'{label} {value}' for label, value in zip(labels, values, strict=True))}"
    if all(one.fingerprint == members[0].fingerprint for one in members):
        yield "By their fingerprints these are the same machine: what differs is its unrest."
    if not merge.ours(members):
        yield "The studies were made with other sources than this report, which has the targets of its own."


def answers(members: Sequence[Member], shared: Sequence[Shared]) -> Iterator[str]:
    """Yields what holds on all machines that measured it, and each thing that does not."""
    same = sum(one.agrees for one in shared)
    yield f"{len(shared)} variants were measured on more than one machine; {same} agree in all that was measured."
    for one in shared:
        name = f"`{one.cell.title}` ({_title(one.sides[0].row)})"
        for left, right in one.apart:
            yield f"{name} differs in throughput: {_speed(left)}, {_speed(right)}."
        if one.disputed:
            said = ", ".join(f"{side.label} {side.row.state}" for side in one.sides)
            yield f"{name} differs in whether it counts: {said}."
        for left, right, count in one.changed:
            model = "the same model" if left.model == right.model else "another model each"
            total = len(left.answers)
            yield (
                f"{name} differs in {count:,} of {total:,} answers ({100 * count / total:.2f} %) between {left.label} "
                f"and {right.label}, with {model}; accuracy {left.row.accuracy:.2f} and {right.row.accuracy:.2f} %."
            )
    known = {one.cell for one in shared}
    for member in members:
        alone = [f"`{row.cell.title}` ({_title(row)})" for row in member.rows if row.cell not in known]
        if alone:
            yield f"On machine {member.label} alone, or measured nowhere else: {', '.join(alone)}."


def csv_table(members: Sequence[Member]) -> str:
    """Returns all rows as CSV, each with the letter of its machine."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("machine", *table.COLUMNS))
    for member in members:
        lines = list(csv.reader(io.StringIO(table.table(member.rows))))
        writer.writerows([member.label, *line] for line in lines[1:])
    return file.getvalue()


def _side_by_side(members: Sequence[Member], own: Sequence[Shared]) -> list[str]:
    if not own:
        return ["Nothing here was measured on two machines.", ""]
    head = [
        "recipe",
        *(f"{one.label}: {what}" for one in members for what in ("throughput", "accuracy", "counts?")),
        "",
    ]
    return [*markdown_table(head, [_line(members, one) for one in own]), ""]


def _line(members: Sequence[Member], one: Shared) -> list[str]:
    sides = {side.label: side.row for side in one.sides}
    found = [_cells(sides.get(member.label)) for member in members]
    return [f"`{one.cell.title}`", *(text for own in found for text in own), "agrees" if one.agrees else "differs"]


def _cells(row: Row | None) -> tuple[str, str, str]:
    return (_ratio(row), f"{row.accuracy:.2f}", row.state) if row else ("", "", "")


def _speed(side: Side) -> str:
    return f"{side.label} {_ratio(side.row)}"


def _ratio(row: Row) -> str:
    if not row.ratio:
        return "none of its own"
    return f"{row.ratio:.2f} ({row.ends[0]:.2f} to {row.ends[1]:.2f})" if row.ends else f"{row.ratio:.2f} (one block)"


def _titles(members: Sequence[Member]) -> list[str]:
    return list(dict.fromkeys(title for member in members for title, _ in groups(member.rows)))


def _title(row: Row) -> str:
    ((title, _),) = groups([row])
    return title
