"""Write a comparison's files: Markdown for people, CSV for programs, LaTeX for papers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_kd.reports.comparison import Comparison
from ser_kd.reports.comparison_tables import (
    comparison_numbers,
    metric_table,
    name_sides,
    overview_table,
    paired_test_table,
    render_comparison,
)
from ser_kd.reports.tables import render_csv, render_latex
from ser_kd.storage.atomic import write_text


@dataclass(frozen=True)
class ComparisonFiles:
    """Where a comparison lies.

    Args:
        markdown: Everything, to be read.
        numbers: Every figure at full precision.
        latex: The tables.
    """

    markdown: Path
    numbers: Path
    latex: Path


def write_comparison(comparisons: Sequence[Comparison], folder: Path) -> ComparisonFiles:
    """Write all comparisons into one folder; an earlier comparison there is replaced file by file.

    Args:
        comparisons: At least one, all with the same reference.
        folder: Made where missing.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    files = ComparisonFiles(*(folder / f"comparison.{kind}" for kind in ("md", "csv", "tex")))
    names = name_sides(comparisons)
    tables = [overview_table(comparisons, names)] if len(comparisons) > 1 else []
    for item, sides in zip(comparisons, names, strict=True):
        tables += [metric_table(item, sides), paired_test_table(item, sides)]
    write_text(files.markdown, render_comparison(comparisons))
    write_text(files.numbers, render_csv(comparison_numbers(comparisons)))
    write_text(files.latex, "\n".join(f"% {table.title}\n{render_latex(table)}" for table in tables))
    return files
