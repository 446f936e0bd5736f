"""Robustness' part of the report: tables, the curves, and the result in a sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_kd.contracts.robustness_record import CLEAN, RobustnessRecord
from ser_kd.reports.report_figure import ReportFigure
from ser_kd.reports.robustness_crossing import find_passing
from ser_kd.reports.robustness_figures import plot_robustness
from ser_kd.reports.robustness_systems import RobustnessBoard, gather_boards
from ser_kd.reports.robustness_tables import find_robustness_figures, list_tables
from ser_kd.reports.significance import RESAMPLES
from ser_kd.reports.tables import Table, format_share


@dataclass(frozen=True)
class RobustnessSection:
    """One board of systems in noise.

    Args:
        board: The systems.
        headline: What came out, in a sentence.
        tables: See ``list_tables``.
        figure: UA over the ratio.
    """

    board: RobustnessBoard
    headline: str
    tables: tuple[Table, ...]
    figure: ReportFigure


def gather_robustness(
    records: Sequence[RobustnessRecord], experiment_roots: Sequence[Path] = (), *, resamples: int = RESAMPLES, teacher: str | None = None
) -> list[RobustnessSection]:
    """Compute the tables and draw the curves of each board.

    Args:
        records: Of any systems.
        experiment_roots: Folders that hold ``<paper_slug>/published.csv``.
        resamples: Bootstrap resamples.
        teacher: Identity of the teacher; None takes whoever taught another system.
    """
    sections = []
    for number, board in enumerate(gather_boards(records, teacher=teacher, resamples=resamples), start=1):
        papers = sorted({record.experiment.rpartition("/")[0] for system in board.systems for record in system.records} - {""})
        published = find_robustness_figures(experiment_roots, papers)
        caption = "UA on the test split over the signal-to-noise ratio; bands are 95 % intervals, the dotted line is chance."
        figure = plot_robustness(board, 1.0 / len(board.first.classes))
        drawn = ReportFigure(f"robustness_{number}", "comparison", "UA in noise", caption, figure)
        sections.append(RobustnessSection(board, tell_robustness(board), tuple(list_tables(board, published)), drawn))
    return sections


def tell_robustness(board: RobustnessBoard) -> str:
    """Put a board's result into a sentence: the lowest ratio's best system, and who passes the teacher where."""
    if not board.noises or not board.ratios:
        return f"On clean speech: {', '.join(f'{s.name} {format_share(s.value((CLEAN, None)))}' for s in board.systems)}."
    lowest = min(board.ratios)
    values = {s.name: sum(s.value((noise, lowest)) for noise in board.noises) / len(board.noises) for s in board.systems}
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    if not known:
        return "No system was judged under all noises yet."
    best = max(known, key=lambda name: known[name])
    told = f"At {lowest:g} dB {best} reaches {format_share(known[best])} UA"
    if board.teacher is None:
        return told + "."
    told += f", the teacher {format_share(values[board.teacher.name])}" if best != board.teacher.name else " and is the teacher"
    for system in board.systems:
        if system.role in ("alone", "distilled") and system.name == best:
            found = find_passing(system, board.teacher, board.noises, board.ratios, resamples=board.resamples)
            told += f"; averaged over the noises it passes the teacher {found.describe()}" if found else ""
    return told + "."
