"""Figures of a sweep: the metric against one parameter, and over two."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ser_kd.contracts.sweep_record import SweptParameter
from ser_kd.reports.style import GRID, INK, MUTED, ON_FILL, ROLE_COLOURS, SERIES, in_house_style, tidy_axes
from ser_kd.reports.sweep_surface import Cell, Point, is_choice, pool, select

_COLOUR, _DOTS = ROLE_COLOURS["distilled"], SERIES[4]
_PALEST = 0.08
"""Shade of the worst cell; an empty one has none."""

_MOST_TOLD = 3
"""So many dots, the best, have their value written beside them."""

_APART = 30.0
"""Values nearer than this (pixels) would be written over one another; the better one is."""


@in_house_style
def plot_parameter(points: Sequence[Point], parameter: SweptParameter, metric: str) -> Figure:
    """Draw each finished trial over one parameter; for a choice also the mean at each value, its spread, and how many trials it has.

    Args:
        points: Of the sweep.
        parameter: A swept one.
        metric: Name on the axis.
    """
    figure = Figure(figsize=(3.7, 2.9), layout="constrained")
    axes = figure.add_subplot()
    if not is_choice(parameter):
        pairs = [(float(point.parameters[parameter.name]), value) for point in points for value in point.values]
        axes.plot([x for x, _ in pairs], [y for _, y in pairs], linestyle="", marker="o", color=_DOTS, alpha=0.75)
        if parameter.is_log:
            axes.set_xscale("log")
            _write_numbers(axes.xaxis)
    else:
        cells = [pool(select(points, **{parameter.name: value})) for value in parameter.values]
        for place, value in enumerate(parameter.values):
            values = [each for point in select(points, **{parameter.name: value}) for each in point.values]
            axes.plot([place] * len(values), values, linestyle="", marker="o", markersize=4, color=_DOTS, alpha=0.55)
        places = [place for place, cell in enumerate(cells) if cell.trials]
        means = [cells[place].mean for place in places]
        most = max((cell.points for cell in cells), default=0)
        axes.plot(places, means, color=_COLOUR, marker="D", markersize=6, linestyle="")
        for left, right in itertools.pairwise(places):  # means over other points are not to be compared by eye
            if right == left + 1 and cells[left].points == cells[right].points == most:
                axes.plot([left, right], [cells[left].mean, cells[right].mean], color=_COLOUR)
        for place, mean in zip(places, means, strict=True):
            std = cells[place].std
            if std is not None:
                axes.plot([place, place], [mean - std, mean + std], color=_COLOUR, linewidth=5, alpha=0.25, solid_capstyle="round")
        axes.set_xlim(-0.5, len(cells) - 0.5)
        axes.set_xticks(range(len(cells)), [f"{tell_value(v)}\n{_count(cell)}" for v, cell in zip(parameter.values, cells, strict=True)])
    axes.set(xlabel=shorten_key(parameter.name), ylabel=metric)
    tidy_axes(axes)
    return figure


@in_house_style
def plot_pair(
    points: Sequence[Point],
    across: SweptParameter,
    upwards: SweptParameter,
    metric: str,
    maximize: bool,
    slices: SweptParameter | None = None,
) -> Figure:
    """Draw the metric over two parameters: cells where both are choices, else a dot for each point, nothing drawn in between.

    Shade runs from the worst to the best of the figure; each cell has its mean in numbers and the trials behind it.

    Args:
        points: Of the sweep.
        across: Parameter along the horizontal axis.
        upwards: Parameter along the vertical axis.
        metric: Named in the heading.
        maximize: Whether more is better.
        slices: A third one, a choice: a panel for each of its values; None pools the points over all others.
    """
    values = list(slices.values) if slices is not None else [None]
    parts = [select(points, **{slices.name: value}) if slices is not None else list(points) for value in values]
    wide = max(len(across.values), 3) if is_choice(across) else 4
    high = max(len(upwards.values), 2) if is_choice(upwards) else 4
    size = (1.1 + 0.72 * wide * len(parts), 1.25 + 0.62 * high)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    both = is_choice(across) and is_choice(upwards)
    grids = [[[pool(select(part, **{across.name: x, upwards.name: y})) for x in across.values] for y in upwards.values] for part in parts]
    known = [cell.mean for grid in grids for row in grid for cell in row] if both else [point.mean for point in points]
    shades = _Shades([value for value in known if math.isfinite(value)], maximize)
    for axes, value, part, grid in zip(panels, values, parts, grids, strict=True):
        if both:
            _draw_cells(axes, grid, shades)
            axes.set_xticks(range(len(across.values)), [tell_value(x) for x in across.values])
            axes.set_yticks(range(len(upwards.values)), [tell_value(y) for y in upwards.values])
        else:
            _draw_dots(axes, part, across, upwards, shades)
        axes.set_xlabel(shorten_key(across.name))
        if slices is not None:
            axes.set_title(f"{shorten_key(slices.name)} {tell_value(value)}", fontsize=8.5, color=MUTED, fontweight="normal")
    panels[0].set_ylabel(shorten_key(upwards.name))
    figure.suptitle(metric, x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=INK)
    return figure


def shorten_key(name: str) -> str:
    """Give a key by its last part."""
    return name.rpartition(".")[2]


class _Shades:
    def __init__(self, values: Sequence[float], maximize: bool) -> None:
        self.low, self.high = (min(values), max(values)) if values else (0.0, 1.0)
        self.maximize = maximize

    def of(self, value: float) -> float:
        """Give a shade from the palest (worst) to 1 (best)."""
        width = self.high - self.low
        share = 0.5 if width == 0 else (value - self.low) / width
        return _PALEST + (1.0 - _PALEST) * (share if self.maximize else 1.0 - share)


def _draw_cells(axes: Axes, grid: Sequence[Sequence[Cell]], shades: _Shades) -> None:
    for row, cells in enumerate(grid):
        for column, cell in enumerate(cells):
            corner = (column - 0.47, row - 0.47)
            axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=GRID, alpha=0.35, linewidth=0))
            if not cell.trials:
                words = f"no value\n{_count(cell)}" if cell.unfinished else _count(cell)
                axes.text(column, row, words, ha="center", va="center", color=MUTED, fontsize=6.5)
                continue
            shade = shades.of(cell.mean)
            axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=_COLOUR, alpha=shade, linewidth=0))
            ink = ON_FILL if shade > 0.55 else INK
            spread = f" ± {cell.std:.3f}".replace("0.", ".") if cell.std is not None else ""
            axes.text(column, row + 0.08, f"{cell.mean:.3f}", ha="center", va="bottom", color=ink, fontsize=8.5)
            axes.text(column, row - 0.1, f"{_count(cell)}{spread}", ha="center", va="top", color=ink, fontsize=6)
    axes.set(xlim=(-0.5, len(grid[0]) - 0.5), ylim=(-0.5, len(grid) - 0.5))
    axes.spines[:].set_visible(False)
    tidy_axes(axes, grid="none")


def _draw_dots(axes: Axes, points: Sequence[Point], across: SweptParameter, upwards: SweptParameter, shades: _Shades) -> None:
    told: list[tuple[float, float]] = []
    for point in points:
        x, y = _place(point, across), _place(point, upwards)
        if not point.values:
            axes.plot(x, y, marker="x", markersize=5, color=_DOTS)
            continue
        axes.plot(x, y, marker="o", markersize=9, color=_COLOUR, alpha=shades.of(point.mean), markeredgewidth=0)
        axes.plot(x, y, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=_DOTS, markeredgewidth=0.6)
    for parameter, axis, scale in ((across, axes.xaxis, axes.set_xscale), (upwards, axes.yaxis, axes.set_yscale)):
        if is_choice(parameter):
            axis.set_ticks(np.arange(len(parameter.values)), [tell_value(value) for value in parameter.values])
        elif parameter.is_log:
            scale("log")
            _write_numbers(axis)
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    for point in sorted((point for point in points if point.values), key=lambda point: shades.of(point.mean), reverse=True):
        x, y = _place(point, across), _place(point, upwards)
        at = axes.transData.transform((x, y))
        if len(told) < _MOST_TOLD and all(math.dist(at, other) > _APART for other in told):
            axes.annotate(f"{point.mean:.3f}", (x, y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=6.5, color=INK)
            told.append((float(at[0]), float(at[1])))
    tidy_axes(axes, grid="both")


def _write_numbers(axis: Axis) -> None:
    """Let a logarithmic axis tell 1, 2, 5, 10 as they are written in the file."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _place(point: Point, parameter: SweptParameter) -> float:
    value = point.parameters[parameter.name]
    return float(parameter.values.index(value)) if is_choice(parameter) else float(value)


def tell_value(value: object) -> str:
    """Give a parameter's value in few letters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(cell: Cell) -> str:
    rest = f" of {cell.trials + cell.unfinished}" if cell.unfinished else ""
    return f"n = {cell.trials}{rest}" if cell.trials or cell.unfinished else "not tried"
