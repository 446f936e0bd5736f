"""Write the files of ``ser-kd robustness``: the long table for programs, tables for people, a figure of each board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ser_kd.contracts.robustness_record import RobustnessRecord
from ser_kd.reports.robustness_section import RobustnessSection, gather_robustness
from ser_kd.reports.robustness_systems import RobustnessBoard
from ser_kd.reports.robustness_tables import write_long
from ser_kd.reports.style import save_figure
from ser_kd.reports.tables import render_csv, render_markdown
from ser_kd.storage.atomic import write_text


def write_robustness(
    records: Sequence[RobustnessRecord], folder: Path, experiment_roots: Sequence[Path] = (), *, resamples: int, teacher: str | None = None
) -> tuple[list[RobustnessBoard], dict[str, Path]]:
    """Write everything into one folder; what an earlier call wrote there is replaced file by file.

    Args:
        records: Of the systems that are to stand beside each other.
        folder: Made where missing.
        experiment_roots: Folders that hold ``<paper_slug>/published.csv``.
        resamples: Bootstrap resamples.
        teacher: Identity of the teacher; None takes whoever taught another system.

    Returns:
        The boards, and what -> file.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    sections = gather_robustness(records, experiment_roots, resamples=resamples, teacher=teacher)
    boards = [section.board for section in sections]
    files = {"numbers": folder / "robustness.csv", "Markdown": folder / "robustness.md"}
    write_text(files["numbers"], write_long(boards))
    lines = ["# Robustness in noise", ""]
    for number, section in enumerate(sections, start=1):
        suffix = f"_{number}" if len(sections) > 1 else ""
        files[f"figure{suffix}"] = save_figure(section.figure.figure, folder / f"robustness{suffix}", ("png", "svg"))[0]
        for place, table in enumerate(section.tables, start=1):
            path = folder / "robustness_tables" / f"{section.board.key}_{place:02d}.csv"
            write_text(path, render_csv(table))
            files["tables"] = path.parent
        lines += _tell_section(section, f"robustness{suffix}.png")
    write_text(files["Markdown"], "\n".join(lines))
    return boards, files


def _tell_section(section: RobustnessSection, figure: str) -> list[str]:
    lines = [
        f"## {section.board.title}",
        "",
        f"**{section.headline}**",
        "",
        f"![{section.figure.title}]({figure})",
        "",
        section.figure.caption,
    ]
    for table in section.tables:
        lines += ["", f"### {table.title}", "", render_markdown(table)]
    return [*lines, "", *(f"- {note}" for note in section.board.notes), ""]
