"""Write a report's files: page, Markdown, figures, and the leaderboard for programs and papers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ser_kd.reports.content import ReportContent
from ser_kd.reports.leaderboard import leaderboard_numbers
from ser_kd.reports.markdown import FIGURE_FOLDER, render_markdown_report
from ser_kd.reports.page import render_page
from ser_kd.reports.style import save_figure
from ser_kd.reports.tables import render_csv, render_latex
from ser_kd.storage.atomic import write_text


@dataclass(frozen=True)
class ReportFiles:
    """Where a report lies.

    Args:
        page: The HTML page; needs no other file.
        markdown: The Markdown file; shows the figures beside it.
        numbers: The leaderboard as CSV at full precision.
        latex: The leaderboards as LaTeX tables.
        figures: Each figure as PNG and SVG.
    """

    page: Path
    markdown: Path
    numbers: Path
    latex: Path
    figures: tuple[Path, ...]


def write_report(content: ReportContent, folder: Path, made_at: str = "") -> ReportFiles:
    """Write everything into one folder; an earlier report there is replaced file by file.

    Args:
        content: What to tell.
        folder: Made where missing.
        made_at: Date on the page; empty leaves it out.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    drawings = [figure for section in content.sections for figure in (section.intervals, *section.figures)]
    drawings += [figure for sweep in content.sweeps for figure in sweep.figures]
    drawings += [section.figure for section in content.robustness]
    figures = [path for item in drawings for path in save_figure(item.figure, folder / FIGURE_FOLDER / item.name)]
    files = ReportFiles(
        folder / "report.html", folder / "report.md", folder / "leaderboard.csv", folder / "leaderboard.tex", tuple(figures)
    )
    write_text(files.page, render_page(content, made_at))
    write_text(files.markdown, render_markdown_report(content))
    write_text(files.numbers, render_csv(leaderboard_numbers([section.board for section in content.sections])))
    write_text(files.latex, "\n".join(f"% {section.table.title}\n{render_latex(section.table)}" for section in content.sections))
    return files
