"""A drawing with its words, ready for a page."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its place in the report.

    Args:
        name: File name without suffix, unique in the report.
        kind: ``confusion``, ``curves``, ``comparison`` or ``surface``.
        title: Heading.
        caption: What it shows, in a sentence.
        figure: The drawing.
    """

    name: str
    kind: str
    title: str
    caption: str
    figure: Figure
