"""One table model, how numbers are written in it, and its rendering as Markdown, CSV, LaTeX and plain text."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

NOTHING = "—"


@dataclass(frozen=True)
class Column:
    """A column's heading and on which side its cells stand."""

    name: str
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True)
class Table:
    """Text in rows, ready to be rendered.

    Args:
        columns: Headings.
        rows: One cell per column.
        notes: What a reader must know, one sentence each.
        title: Heading; may be empty.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    title: str = ""


def format_count(count: int | None) -> str:
    """Write a count with thousands separators."""
    return NOTHING if count is None else f"{count:,}"


def format_share(value: float) -> str:
    """Write a share in [0, 1] with three decimals."""
    return NOTHING if math.isnan(value) else f"{value:.3f}"


def format_points(difference: float) -> str:
    """Write a difference of shares in percentage points with its sign."""
    return NOTHING if math.isnan(difference) else f"{100 * difference:+.1f}".replace("-", "−")


def format_p(value: float) -> str:
    """Write a p value with four decimals, which keep 0.0625 what it is; ``< 0.0001`` where they would show nothing."""
    if math.isnan(value):
        return NOTHING
    return f"{value:.4f}" if value >= 0.00005 else "< 0.0001"


def render_markdown(table: Table) -> str:
    """Render as a GitHub table with its notes below."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    lines = [line([column.name for column in table.columns])]
    lines.append("|" + "|".join("---:" if column.align == "right" else "---" for column in table.columns) + "|")
    lines += [line(row) for row in table.rows]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def render_csv(table: Table) -> str:
    """Render as CSV with a heading; notes are left out."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow([column.name for column in table.columns])
    writer.writerows(table.rows)
    return target.getvalue()


def render_latex(table: Table) -> str:
    """Render as a ``tabular`` for booktabs, notes in small print below."""
    sides = "".join("r" if column.align == "right" else "l" for column in table.columns)
    lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule"]
    lines.append(" & ".join(_escape_latex(column.name) for column in table.columns) + r" \\")
    lines.append(r"\midrule")
    lines += [" & ".join(_escape_latex(cell) for cell in row) + r" \\" for row in table.rows]
    lines += [r"\bottomrule", r"\end{tabular}"]
    lines += [rf"\par{{\footnotesize {_escape_latex(note)}}}" for note in table.notes]
    return "\n".join(lines) + "\n"


def render_plain(table: Table, width: int = 120) -> str:
    """Render for a terminal, with aligned columns and headings broken over two lines.

    Where the rows are wider than the terminal, systems become columns and stand side by side, as many as fit.

    Args:
        table: The table.
        width: Characters per line.
    """
    heads = [
        _break_head(column.name, max([len(row[place]) for row in table.rows], default=0)) for place, column in enumerate(table.columns)
    ]
    sides = [column.align for column in table.columns]
    lines = _align(heads, [list(row) for row in table.rows], sides)
    if max(map(len, lines)) > width and table.rows:
        lines = _turn(table, width)
    title = [table.title, ""] if table.title else []
    notes = [part for note in table.notes for part in textwrap.wrap(note, width, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join([*title, *lines, *([""] if notes else []), *notes]) + "\n"


def _align(heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], sides: Sequence[str]) -> list[str]:
    height = max(map(len, heads))
    padded = [[""] * (height - len(head)) + list(head) for head in heads]
    grid = [[head[number] for head in padded] for number in range(height)]
    widths = [max(len(line[place]) for line in [*grid, *rows]) for place in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        parts = [cell.rjust(size) if side == "right" else cell.ljust(size) for cell, size, side in zip(cells, widths, sides, strict=True)]
        return "  ".join(parts).rstrip()

    rule = "  ".join("─" * size for size in widths)
    return [*map(line, grid), rule, *map(line, rows)]


def _turn(table: Table, width: int) -> list[str]:
    """Set systems side by side, the column names on the left."""
    names = [column.name for column in table.columns]
    left = max(map(len, names))
    lines: list[str] = []
    start = 0
    while start < len(table.rows):
        stop, used = start, left
        while stop < len(table.rows) and (stop == start or used + 2 + max(map(len, table.rows[stop])) <= width):
            used += 2 + max(map(len, table.rows[stop]))
            stop += 1
        part = table.rows[start:stop]
        body = [[name, *(row[place] for row in part)] for place, name in enumerate(names)]
        lines += [""] if lines else []
        lines += _align([[cell] for cell in body[0]], body[1:], ["left", *["right"] * len(part)])
        start = stop
    return lines


def _break_head(name: str, cell_width: int) -> list[str]:
    return textwrap.wrap(name, max(cell_width, 10, max(map(len, name.split()), default=1)), break_long_words=False) or [""]


_LATEX = {
    "\\": r"\textbackslash{}",
    "—": "---",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "<": "$<$",
    ">": "$>$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(sign, rf"\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
