"""Figures of a run or of several systems; plain arrays in, a Matplotlib figure out, no global state."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from ser_kd.reports.confusion_metrics import class_recalls
from ser_kd.reports.style import GRID, INK, MUTED, ON_FILL, ROLE_COLOURS, ROLE_MARKERS, SERIES, SURFACE, in_house_style, tidy_axes

_MOST_NUMBERED = 12
"""Beyond this many classes cells are too small for numbers."""

_SCORES = {"ua", "wa", "accuracy", "f1_macro", "f1_weighted", "ccc_mean"}


@dataclass(frozen=True)
class IntervalBar:
    """One system of an interval plot.

    Args:
        name: Its label.
        role: ``teacher``, ``alone`` or ``distilled``.
        value: The point.
        low: Lower end, NaN where there is none.
        high: Upper end, NaN where there is none.
    """

    name: str
    role: str
    value: float
    low: float
    high: float


@in_house_style
def plot_confusion(counts: ArrayLike, classes: Sequence[str], title: str = "", role: str = "distilled") -> Figure:
    """Draw a confusion matrix: shade and large number are the share of the true class in percent, the small one counts clips.

    Args:
        counts: (C, C), rows true, columns predicted.
        classes: C names in logit order.
        title: Heading.
        role: Gives the colour.
    """
    matrix = np.asarray(counts, dtype=np.float64)
    size = len(classes)
    support = matrix.sum(1, keepdims=True)
    shares = np.divide(matrix, support, out=np.zeros_like(matrix), where=support > 0)
    figure = Figure(figsize=(3.6, 3.65), layout="constrained")
    axes = figure.add_subplot()
    colour = ROLE_COLOURS.get(role, SERIES[2])
    for row in range(size):
        for column in range(size):
            share = shares[row, column]
            axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=GRID, alpha=0.35, linewidth=0))
            if share:
                axes.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=colour, alpha=float(share), linewidth=0))
            if matrix[row, column] and size <= _MOST_NUMBERED:
                ink = ON_FILL if share > 0.55 else INK
                axes.text(column, row - 0.08, f"{100 * share:.0f}", ha="center", va="center", color=ink, fontsize=8.5)
                axes.text(column, row + 0.28, f"{matrix[row, column]:.0f}", ha="center", va="center", color=ink, fontsize=6)
        if not support[row, 0]:
            axes.text(size / 2 - 0.5, row, "no clips", ha="center", va="center", color=MUTED, fontsize=7)
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal", xlabel="predicted", ylabel="true", title=title)
    axes.set_xticks(range(size), classes, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(size), classes)
    axes.spines[:].set_visible(False)
    tidy_axes(axes, grid="none")
    return figure


@in_house_style
def plot_learning_curves(curves: pd.DataFrame, best_epoch: int | None = None, title: str = "") -> Figure:
    """Draw losses above and validation UA below, over epochs.

    Args:
        curves: One row per epoch (counted from 1), columns ``train/<part>``, ``validation/<part>``, ``validation/ua``.
        best_epoch: The epoch that was kept.
        title: Heading.
    """
    losses = _find_losses([str(name) for name in curves.columns])
    scores = [name for name in ("train/ua", "validation/ua") if name in curves.columns]
    figure = Figure(figsize=(3.7, 4.2 if losses and scores else 2.7), layout="constrained")
    panels = [names for names in (losses, scores) if names]
    grid = figure.subplots(max(len(panels), 1), 1, sharex=True, squeeze=False)[:, 0]
    parts = list(dict.fromkeys(_part_of(name) for name in losses))
    for axes, names in zip(grid, panels, strict=False):
        for name in names:
            series = curves[name].dropna()
            place = parts.index(_part_of(name)) if names is losses else 2
            is_training = name.startswith("train/")
            axes.plot(
                series.index,
                series.to_numpy(),
                color=SERIES[place % len(SERIES)],
                linestyle=(0, (4, 2)) if is_training else "-",
                linewidth=1.6 if name.endswith(("/loss", "/ua")) else 1.1,
                marker="o" if len(series) == 1 else None,
                label=name.replace("_", " ").replace("/", " · "),
            )
        if best_epoch is not None:
            axes.axvline(best_epoch, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.set_ylabel("UA" if names is scores else "loss")
        _put_legend_above(axes, 2)
        tidy_axes(axes)
    grid[-1].set_xlabel("epoch" + (f" (dotted: the one kept, {best_epoch})" if best_epoch is not None else ""))
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    if title:  # above the legends, which stand where the axes' own titles would
        figure.suptitle(title, x=0.01, ha="left", fontsize=9.5, fontweight="bold", color=INK)
    return figure


@in_house_style
def plot_intervals(bars: Sequence[IntervalBar], chance: float, metric: str = "UA") -> Figure:
    """Draw each system's value with its interval, and the chance line.

    Args:
        bars: Systems from top to bottom.
        chance: What guessing reaches; NaN draws no line.
        metric: Name on the axis.
    """
    figure = Figure(figsize=(4.8, 0.9 + 0.34 * max(len(bars), 1)), layout="constrained")
    axes = figure.add_subplot()
    for place, bar in enumerate(bars):
        colour = ROLE_COLOURS.get(bar.role, SERIES[4])
        axes.plot([bar.low, bar.high], [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="round")
        axes.plot(bar.value, place, marker=ROLE_MARKERS.get(bar.role, "o"), color=colour, markersize=6)
        right = bar.high if np.isfinite(bar.high) else bar.value
        axes.annotate(f"{bar.value:.3f}", (right, place), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8)
    if np.isfinite(chance):
        axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        axes.annotate("chance", (chance, -0.62), xytext=(4, 0), textcoords="offset points", fontsize=7.5, color=MUTED, va="center")
    lowest = min((min(bar.value, bar.low) for bar in bars if np.isfinite(bar.low)), default=0.0)  # a CCC may be negative
    axes.set(xlim=(min(0.0, lowest - 0.02) if lowest < 0 else 0, 1.0), ylim=(max(len(bars), 1) - 0.4, -0.95), xlabel=metric)
    axes.set_yticks(range(len(bars)), [textwrap.fill(bar.name, 30) for bar in bars])
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines["left"].set_visible(False)
    tidy_axes(axes, grid="x")
    return figure


@in_house_style
def plot_recalls(confusions: Mapping[str, ArrayLike], classes: Sequence[str], roles: Mapping[str, str]) -> Figure:
    """Draw each class's recall for several systems on one line per class.

    Args:
        confusions: System -> (C, C) counts.
        classes: C names.
        roles: System -> role, for colour and marker.
    """
    recalls = {name: class_recalls(np.asarray(counts)) for name, counts in confusions.items()}
    figure = Figure(figsize=(3.7, 1.0 + 0.37 * len(classes)), layout="constrained")
    axes = figure.add_subplot()
    table = np.array(list(recalls.values()))
    for place in range(len(classes)):
        known = table[:, place][np.isfinite(table[:, place])]
        if len(known):
            axes.plot([known.min(), known.max()], [place, place], color=GRID, linewidth=4, solid_capstyle="round", zorder=1)
    looks = _choose_looks(list(recalls), roles)
    for name, values in recalls.items():
        colour, marker = looks[name]
        axes.plot(values, range(len(classes)), linestyle="", marker=marker, color=colour, label=name, markersize=6, zorder=2)
    axes.set(xlim=(-0.03, 1.03), ylim=(len(classes) - 0.5, -0.5), xlabel="recall")
    axes.set_yticks(range(len(classes)), classes)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines["left"].set_visible(False)
    _put_legend_above(axes, len(recalls))
    tidy_axes(axes, grid="x")
    return figure


@in_house_style
def plot_reliability(
    answers: Mapping[str, tuple[NDArray, NDArray]],
    roles: Mapping[str, str],
    bins: int = 10,
    calibration_errors: Mapping[str, float] | None = None,
) -> Figure:
    """Draw how often a system is right against how sure it is; the diagonal is a system that knows what it knows.

    Args:
        answers: System -> ((N,) probability of the predicted class, (N,) whether it was right).
        roles: System -> role.
        bins: Equal bins of [0, 1]; a larger marker stands for more clips.
        calibration_errors: System -> expected calibration error for the legend.
    """
    figure = Figure(figsize=(3.6, 3.5 + 0.17 * len(answers)), layout="constrained")
    axes = figure.add_subplot()
    errors = calibration_errors or {}
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 2)))
    looks = _choose_looks(list(answers), roles)
    for name, (confidence, correct) in answers.items():
        colour, marker = looks[name]
        places = np.clip((np.asarray(confidence) * bins).astype(int), 0, bins - 1)
        counts = np.bincount(places, minlength=bins)
        filled = counts > 0
        sure = np.bincount(places, weights=confidence, minlength=bins)[filled] / counts[filled]
        right = np.bincount(places, weights=np.asarray(correct, dtype=np.float64), minlength=bins)[filled] / counts[filled]
        error = errors.get(name)
        label = name if error is None or not np.isfinite(error) else f"{name}, calibration error {error:.3f}"
        axes.plot(sure, right, color=colour, linewidth=1.1, alpha=0.55)
        area = 12 + 110 * counts[filled] / counts.sum()
        axes.scatter(sure, right, s=area, color=colour, marker=marker, edgecolor=SURFACE, linewidth=0.6, zorder=3)
        axes.plot([], [], color=colour, marker=marker, linestyle="", label=label)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="how sure (probability of its answer)", ylabel="how often right", aspect="equal")
    _put_legend_above(axes, 1)
    tidy_axes(axes, grid="both")
    return figure


@in_house_style
def plot_groups(values: Mapping[str, Mapping[str, float]], roles: Mapping[str, str], chance: float = float("nan")) -> Figure:
    """Draw UA by group (gender, intensity) as bars, one colour per system.

    Args:
        values: System -> {``gender: female`` -> UA}.
        roles: System -> role.
        chance: What guessing reaches.
    """
    groups = list(dict.fromkeys(group for told in values.values() for group in told))
    figure = Figure(figsize=(3.7, 1.0 + (0.18 + 0.16 * len(values)) * max(len(groups), 1)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / max(len(values), 1)
    looks = _choose_looks(list(values), roles)
    for number, (name, told) in enumerate(values.items()):
        colour, _ = looks[name]
        places = np.arange(len(groups)) - 0.4 + height * (number + 0.5)
        widths = np.array([told.get(group, np.nan) for group in groups])
        axes.barh(places, widths, height=height * 0.86, color=colour, label=name)
        for place, width in zip(places, widths, strict=True):
            if np.isfinite(width):
                axes.annotate(
                    f"{width:.2f}", (width, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7, color=MUTED
                )
    if np.isfinite(chance):
        axes.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
    axes.set(xlim=(0, 1.0), ylim=(len(groups) - 0.5, -0.5), xlabel="UA" + (" (dashed: chance)" if np.isfinite(chance) else ""))
    axes.set_yticks(range(len(groups)), groups)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.spines["left"].set_visible(False)
    _put_legend_above(axes, len(values))
    tidy_axes(axes, grid="x")
    return figure


def _choose_looks(names: Sequence[str], roles: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Give each system a colour and a marker: its role's own to the first of a role, unused ones to the others."""
    spare = [colour for colour in SERIES if colour not in ROLE_COLOURS.values()]
    looks: dict[str, tuple[str, str]] = {}
    for name in names:
        role = roles.get(name, "")
        own = (ROLE_COLOURS.get(role, ""), ROLE_MARKERS.get(role, ""))
        others = len(looks) - sum(colour in ROLE_COLOURS.values() for colour, _ in looks.values())
        looks[name] = own if own[0] and own not in looks.values() else (spare[others % len(spare)], "^v"[others % 2])
    return looks


def _put_legend_above(axes: Axes, columns: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=min(columns, 3),
        handlelength=1,
        handletextpad=0.4,
        columnspacing=1.2,
        borderaxespad=0,
    )


def _find_losses(columns: Sequence[str]) -> list[str]:
    """Give the loss columns: every part of the training loss, and on validation the sum and the same parts."""
    trained = {_part_of(name) for name in columns if name.startswith("train/")} - _SCORES
    if len(trained) == 2 and "loss" in trained:
        trained = {"loss"}  # the only part is the sum
    losses = [name for name in columns if name.startswith(("train/", "validation/")) and _part_of(name) in trained | {"loss"}]
    return sorted(losses, key=lambda name: (not name.endswith("/loss"), name))


def _part_of(name: str) -> str:
    return name.partition("/")[2]
