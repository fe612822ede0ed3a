"""A study's report as one page of HTML that needs no other file."""

import html
from collections.abc import Iterable, Sequence

from tools.study.answers import answers
from tools.study.details import details
from tools.study.findings import COUNTS, WORTHLESS, Row
from tools.study.ranking import groups
from tools.study.reading import READING
from tools.study.report import HEAD, cells, front, inverted, left_out, picture, served
from tools.study.words import LINK


def page(rows: Sequence[Row], about: Sequence[str], pictures: dict[str, str]) -> str:
    """Returns the report as one page that needs no other file; `pictures` are SVG by the names that the report has."""
    parts = ["<h1>Which optimization pays, and which ones lie</h1>", _list((*answers(rows), *about))]
    for title, own in groups(rows):
        parts += [
            f"<h2>{_text(title)}</h2>",
            _drawing(pictures[picture(title)]),
            _html_table(HEAD, [cells(row) for row in own], own),
        ]
        parts += [_list([*served(own), *inverted(own)])]
        for about_it, heads, lines in details(own):
            parts += [f"<p>{_text(about_it)}</p>", _html_table(heads, lines, ())]
        if (steps := picture(title, chains=True)) in pictures:
            parts += [_drawing(pictures[steps])]
        parts += [f"<p>{_text(front(own))}</p>"]
    left = [line.removeprefix("- ") for line in left_out(rows)]
    parts += ["<h2>How to read it</h2>", _list((*READING, *left))]
    head = f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>Study</title>\n{STYLE}"
    return f"{head}\n<main>{''.join(parts)}</main></html>\n"


STYLE = """<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 0; color: #1b1f24; background: #fff }
main { max-width: 78rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; width: 100% }
th, td { text-align: left; padding: .3rem .5rem; border-bottom: 1px solid #d8dee4; vertical-align: top }
th { background: #f6f8fa }
code { font: 12.5px ui-monospace, monospace }
tr.bad td:first-child { border-left: 4px solid #e45756 }
tr.good td:first-child { border-left: 4px solid #54a24b }
svg { max-width: 100%; height: auto }
@media print { main { max-width: none } }
</style>"""


def _drawing(svg: str) -> str:
    """Returns the drawing without what only a file of its own has."""
    return svg[svg.index("<svg") :]


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>"


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]], own: Sequence[Row]) -> str:
    kinds = [_kind(row) for row in own] or [""] * len(lines)
    body = "".join(
        f"<tr class='{kind}'>{''.join(f'<td>{_text(text)}</td>' for text in line)}</tr>"
        for kind, line in zip(kinds, lines, strict=True)
    )
    return f"<table><tr>{''.join(f'<th>{_text(one)}</th>' for one in head)}</tr>{body}</table>"


def _kind(row: Row) -> str:
    return "good" if row.state == COUNTS else "bad" if row.state in WORTHLESS else ""


def _text(line: str) -> str:
    """Returns a line of the report's little Markdown (code, bold, links) as HTML, everything else escaped."""
    safe = html.escape(line)
    for mark, tag in (("**", "b"), ("`", "code")):
        pieces = safe.split(mark)
        safe = "".join(piece if number % 2 == 0 else f"<{tag}>{piece}</{tag}>" for number, piece in enumerate(pieces))
    return LINK.sub(r'<a href="\2">\1</a>', safe)
