"""Accuracy against what it costs: which systems and engines are not beaten in both at once."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from ser_kd.contracts.benchmark_record import BenchmarkRecord, LatencyRecord
from ser_kd.reports.style import INK, MUTED, SERIES, SURFACE, in_house_style, tidy_axes

REFERENCE_S = 5.27
"""The length that is drawn is the measured one nearest to this, the fixed clip of system 000."""

_LARGEST_AREA = 520.0
_LEAST_AREA = 14.0
_NEAR_POINTS = 12.0
_ENGINE_NAMES = {"onnx_fp32": "ONNX fp32", "onnx_int8": "ONNX int8", "eager": "eager", "compiled": "compiled"}


@dataclass(frozen=True)
class ParetoPoint:
    """One system in one engine.

    Args:
        system: Its name, one colour each.
        role: ``teacher`` or ``student``, for the marker.
        label: What stands beside the marker.
        cost: Latency, bytes or the like, above 0; smaller is better.
        accuracy: UA or CCC; larger is better.
        size_bytes: Area of the marker.
    """

    system: str
    role: str
    label: str
    cost: float
    accuracy: float
    size_bytes: int


def find_pareto_front(points: Sequence[ParetoPoint]) -> list[ParetoPoint]:
    """Give the points that no other beats: cheaper and at least as accurate, or more accurate and at least as cheap.

    Returns:
        By ascending cost, and so by ascending accuracy; of equal points the first.
    """
    front: list[ParetoPoint] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.accuracy)):
        if not front or point.accuracy > front[-1].accuracy:
            front.append(point)
    return front


def plot_benchmark(record: BenchmarkRecord) -> Figure | None:
    """Draw a benchmark's systems and engines at the fewest threads and the length nearest to 5.27 s.

    Returns:
        The figure; None where no system has an accuracy.
    """
    cells = choose_cells(record)
    measure = choose_measure(record)
    points, without = [], []
    for cell in cells:
        system, engine = record.find_system(cell.system), record.find_engine(cell.system, cell.engine)
        size = engine.size_bytes if engine else 0
        name = name_engine(cell.engine)
        accuracy = find_accuracy(record, cell.system, cell.engine, measure)
        if accuracy is None:
            without.append(f"{cell.system}, {name}: {cell.p50_ms:,.1f} ms")
        else:
            label = f"{name}\n{cell.p50_ms:,.1f} ms, {size / 1e6:.1f} MB"
            points.append(ParetoPoint(cell.system, system.role, label, cell.p50_ms, accuracy, size))
    if not points:
        return None
    title = f"Accuracy against latency: {describe_cells(cells)}"
    told = f"{measure}: of the file's sign-off where it has one, else of the run's own test."
    notes = [f"Marker area: size of the model. {told} Line: Pareto front."]
    if without:
        notes.append(f"Without a known accuracy, not drawn: {'; '.join(without)}.")
    return plot_pareto(points, title, notes, measure)


def choose_cells(record: BenchmarkRecord) -> list[LatencyRecord]:
    """Give the times that are drawn: whole answers at the fewest threads and the length nearest to 5.27 s."""
    if not record.latency:
        return []
    seconds = min({cell.seconds for cell in record.latency}, key=lambda length: abs(length - REFERENCE_S))
    threads = min(cell.threads for cell in record.latency)
    return [cell for cell in record.latency if (cell.part, cell.threads, cell.seconds) == ("whole", threads, seconds)]


def describe_cells(cells: Sequence[LatencyRecord]) -> str:
    """Tell length and threads of the chosen times."""
    noun = "thread" if cells[0].threads == 1 else "threads"
    return f"clips of {cells[0].seconds:g} s, {cells[0].threads} {noun}"


def choose_measure(record: BenchmarkRecord) -> str:
    """Choose what the vertical axis is: UA where a system has it, else CCC."""
    has_ua = any(system.test_ua is not None for system in record.systems) or any(engine.test_ua is not None for engine in record.engines)
    has_ccc = any(system.test_ccc is not None for system in record.systems) or any(engine.test_ccc is not None for engine in record.engines)
    return "CCC" if has_ccc and not has_ua else "UA"


def find_accuracy(record: BenchmarkRecord, system: str, engine: str, measure: str) -> float | None:
    """Find what a system in an engine reached on its test split: of the file's sign-off, else of the run."""
    places = [record.find_engine(system, engine), record.find_system(system)]
    values = [None if place is None else place.test_ccc if measure == "CCC" else place.test_ua for place in places]
    return next((value for value in values if value is not None), None)


def name_engine(engine: str) -> str:
    """Name an engine for a reader."""
    return _ENGINE_NAMES.get(engine, engine.replace("_", " "))


@in_house_style
def plot_pareto(points: Sequence[ParetoPoint], title: str, notes: Sequence[str] = (), measure: str = "UA") -> Figure:
    """Draw accuracy against latency, the Pareto front as a line.

    Args:
        points: At least one.
        title: Heading.
        notes: Sentences below the figure.
        measure: What accuracy is: UA or CCC.
    """
    wrapped = [line for note in notes for line in textwrap.wrap(note, 120)]
    figure = Figure(figsize=(6.6, 4.2 + 0.15 * len(wrapped)))
    FigureCanvasAgg(figure)  # labels are placed by their drawn size
    height = figure.get_size_inches()[1]
    bottom = (0.62 + 0.15 * len(wrapped)) / height
    names = list(dict.fromkeys(point.system for point in points))
    axes = figure.add_axes((0.09, bottom, 0.88, 1 - bottom - (0.42 + 0.2 * -(-len(names) // 2)) / height))
    colours = {name: SERIES[(2 + place) % len(SERIES)] for place, name in enumerate(names)}
    largest = max(point.size_bytes for point in points) or 1
    front = find_pareto_front(points)
    draw_front(axes, front)
    for point in sorted(points, key=lambda p: -p.size_bytes):  # small ones in front of large ones
        area = max(_LEAST_AREA, _LARGEST_AREA * point.size_bytes / largest)
        colour, marker = colours[point.system], "s" if point.role == "teacher" else "o"
        axes.scatter(point.cost, point.accuracy, s=area, color=colour, marker=marker, alpha=0.35, linewidth=0, zorder=3)
        axes.scatter(point.cost, point.accuracy, s=area, facecolor="none", edgecolor=colour, marker=marker, linewidth=1, zorder=4)
    for name in names:
        shares = [point.accuracy for point in points if point.system == name]
        marker = "s" if any(point.role == "teacher" for point in points if point.system == name) else "o"
        told = f"{min(shares):.3f}" + (f" to {max(shares):.3f}" if f"{min(shares):.3f}" != f"{max(shares):.3f}" else "")
        axes.plot([], [], linestyle="", marker=marker, color=colours[name], label=f"{name} ({measure} {told})")
    axes.legend(loc="lower left", bbox_to_anchor=(-0.01, 1), ncols=2, handletextpad=0.3, columnspacing=1.4, borderaxespad=0.2)
    set_limits(axes, points)
    axes.set(xlabel="latency, milliseconds (median, raw waveform to answer)", ylabel=f"test {measure}")
    tidy_axes(axes, grid="both")
    figure.text(0.012, 1 - 0.1 / height, title, ha="left", va="top", fontsize=9.5, fontweight="bold", color=INK)
    figure.text(0.012, 0.06 / height, "\n".join(wrapped), ha="left", va="bottom", fontsize=7, color=MUTED, linespacing=1.35)
    place_labels(figure, axes, points, largest, {id(point) for point in front})
    return figure


def draw_front(axes: Axes, front: Sequence[ParetoPoint]) -> None:
    """Draw the edge of what can be had: level until the next better point, from the fastest upwards."""
    times = [point.cost for point in front]
    shares = [point.accuracy for point in front]
    axes.plot([times[0], *times, times[-1] * 1e6], [0.0, *shares, shares[-1]], drawstyle="steps-post", color=MUTED, linewidth=1, alpha=0.7)


def set_limits(axes: Axes, points: Sequence[ParetoPoint]) -> None:
    times = np.array([point.cost for point in points])
    shares = np.array([point.accuracy for point in points])
    axes.set_xscale("log")
    room = max(1.8, (times.max() / times.min()) ** 0.18)
    axes.set_xlim(times.min() / room, times.max() * room)
    middle, half = (shares.max() + shares.min()) / 2, max(0.05, 0.75 * (shares.max() - shares.min()))
    axes.set_ylim(max(0.0, middle - half), min(1.0, middle + half))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    low, high = axes.get_xlim()
    ticks = [base * 10.0**power for power in range(-3, 6) for base in (1, 2, 5)]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_minor_locator(axes.xaxis.get_major_locator())


def place_labels(figure: Figure, axes: Axes, points: Sequence[ParetoPoint], largest: int, best: set[int]) -> None:
    """Put each label at the first place around its marker where it covers no marker, no other label and no edge."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    per_point = figure.dpi / 72.0
    frame = axes.get_window_extent(renderer)
    centres = [axes.transData.transform((point.cost, point.accuracy)) for point in points]
    radii = [np.sqrt(max(_LEAST_AREA, _LARGEST_AREA * point.size_bytes / largest)) / 2 * per_point for point in points]
    taken = [Bbox.from_bounds(x - r, y - r, 2 * r, 2 * r) for (x, y), r in zip(centres, radii, strict=True)]
    for place in sorted(range(len(points)), key=lambda number: points[number].cost):
        point, radius = points[place], radii[place]
        for dx, dy, side, base in _around(radius / per_point):
            text = axes.annotate(
                point.label, (point.cost, point.accuracy), xytext=(dx, dy), textcoords="offset points", ha=side, va=base,
                fontsize=7.5, color=INK if id(point) in best else MUTED, zorder=6,
                bbox={"facecolor": SURFACE, "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
                arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": radius / per_point},
            )  # fmt: skip
            if max(abs(dx), abs(dy)) < radius / per_point + _NEAR_POINTS and text.arrow_patch is not None:
                text.arrow_patch.set_visible(False)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer).padded(1.5)  # without the line to its marker
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()  # where none is free, among very many points, the tables name it


def _around(radius: float) -> list[tuple[float, float, str, str]]:
    """List offsets in points around a marker, near ones first, with the side of the text that stands there."""
    places = []
    for gap in (4, 16, 30, 46, 64, 84, 106):
        far = radius + gap
        places += [
            (0, far, "center", "bottom"), (0, -far, "center", "top"), (far, 0, "left", "center"), (-far, 0, "right", "center"),
            (0.7 * far, 0.7 * far, "left", "bottom"), (-0.7 * far, 0.7 * far, "right", "bottom"), (0.7 * far, -0.7 * far, "left", "top"),
            (-0.7 * far, -0.7 * far, "right", "top"),
        ]  # fmt: skip
    return places
