"""UA over the signal-to-noise ratio, a panel for each noise."""

from __future__ import annotations

import math

from matplotlib.figure import Figure

from ser_kd.contracts.robustness_record import CLEAN
from ser_kd.reports.robustness_systems import RobustnessBoard, RobustSystem
from ser_kd.reports.style import MUTED, ROLE_COLOURS, SERIES, in_house_style, tidy_axes

_STYLES = ("-", "--", "-.", ":")
_PANELS_ACROSS = 3


@in_house_style
def plot_robustness(board: RobustnessBoard, chance: float = math.nan) -> Figure:
    """Draw UA of each system over the ratio with its interval, clean speech at the right end.

    Args:
        board: The systems.
        chance: What guessing reaches; NaN draws no line.
    """
    noises = board.noises or ("",)
    across = min(len(noises), _PANELS_ACROSS)
    down = -(-len(noises) // across)
    figure = Figure(figsize=(1.0 + 2.9 * across, 0.9 + 2.4 * down), layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    rising = sorted(board.ratios)
    step = rising[-1] - rising[-2] if len(rising) > 1 else 5.0
    end = (rising[-1] if rising else 0.0) + step
    handles = {}
    for axes, noise in zip(panels, noises, strict=False):
        for place, system in enumerate(board.systems):
            points = [(x, (noise, x)) for x in rising] + [(end, (CLEAN, None))]
            known = [(x, system.intervals[key]["ua"]) for x, key in points if key in system.intervals]
            if not known:
                continue
            colour, line = _choose_look(board, system, place)
            places = [x for x, _ in known]
            handle = axes.plot(places, [told.value for _, told in known], color=colour, linestyle=line, marker="o", markersize=3.5)[0]
            axes.fill_between(places, [t.low for _, t in known], [t.high for _, t in known], color=colour, alpha=0.12, linewidth=0)
            handles[system.name] = handle
        if not math.isnan(chance):
            axes.axhline(chance, color=MUTED, linewidth=0.8, linestyle=":")
        ticks = [*rising, *([end] if board.has_clean else [])]
        axes.set_xticks(ticks, [*(f"{x:g}" for x in rising), *(["clean"] if board.has_clean else [])])
        axes.set_title(noise, fontsize=8.5)
        axes.set_xlabel("SNR, dB")
        tidy_axes(axes)
    for axes in panels[len(noises) :]:
        axes.set_visible(False)
    panels[0].set_ylabel("UA")
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure


def _choose_look(board: RobustnessBoard, system: RobustSystem, place: int) -> tuple[str, str]:
    """Give colour and line: the teacher's own, the same broken behind an enhancement, one after the other for students."""
    if system.role == "teacher":
        return ROLE_COLOURS["teacher"], "-"
    if system.role == "enhanced":
        return SERIES[4], "--"
    students = [each for each in board.systems if each.role in ("alone", "distilled")]
    number = students.index(system)
    colours = (SERIES[1], SERIES[2], SERIES[3])
    return colours[number % 3], _STYLES[(number // 3) % len(_STYLES)]
