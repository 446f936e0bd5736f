"""Accuracy against size, latency and memory, one panel each."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ser_kd.contracts.benchmark_record import BenchmarkRecord, LatencyRecord
from ser_kd.reports.benchmark_tables import find_memory
from ser_kd.reports.pareto import (
    ParetoPoint,
    choose_cells,
    choose_measure,
    describe_cells,
    draw_front,
    find_accuracy,
    find_pareto_front,
    name_engine,
    place_labels,
    set_limits,
)
from ser_kd.reports.style import INK, MUTED, SERIES, in_house_style, tidy_axes

_MARKER_BYTES = 1
_PANEL_INCHES = 2.5


def plot_costs(record: BenchmarkRecord) -> Figure | None:
    """Draw what each system reached against each of its three costs, the Pareto front of each as a line.

    Size is that of the model file (of torch: its tensors), latency the median at the fewest threads and the length nearest to 5.27 s,
    memory what the model adds to a process that runs onnxruntime, or its live tensors where no process was measured. Runs of one
    configuration that differ by fold and seed are one point, the mean of each of its numbers.

    Returns:
        The figure; None where fewer than two points have an accuracy.
    """
    cells, measure = choose_cells(record), choose_measure(record)
    known = [cell for cell in cells if find_accuracy(record, cell.system, cell.engine, measure) is not None]
    if len(known) < 2:
        return None
    engines = list(dict.fromkeys(cell.engine for cell in known))
    groups: dict[tuple[str, str, str], list[LatencyRecord]] = {}
    for cell in known:
        system = record.find_system(cell.system)
        one = (system.experiment, system.identity) if system.identity else (system.name, "")
        groups.setdefault((*one, cell.engine), []).append(cell)
    shown = _shorten([cells[0].system if len(cells) == 1 else key[0] for key, cells in groups.items()])
    counts = {len(cells) for cells in groups.values()}
    names = [f"{name}, {len(cells)} runs" if len(counts) > 1 else name for name, cells in zip(shown, groups.values(), strict=True)]
    memory = "memory above an idle runtime, MB" if _has_processes(record, known) else "live tensors, MB"
    costs: dict[str, Callable[[LatencyRecord], float | None]] = {
        "size, MB": lambda cell: _to_mb(engine.size_bytes if (engine := record.find_engine(cell.system, cell.engine)) else None),
        "latency, milliseconds (median, raw waveform to answer)": lambda cell: cell.p50_ms,
        memory: lambda cell: _find_memory_mb(record, cell, _has_processes(record, known)),
    }
    panels: dict[str, list[ParetoPoint]] = {cost: [] for cost in costs}
    for name, cells in zip(names, groups.values(), strict=True):
        accuracy = fmean(find_accuracy(record, cell.system, cell.engine, measure) or 0.0 for cell in cells)
        for cost, find in costs.items():
            values = [value for cell in cells if (value := find(cell))]
            if values:
                role = record.find_system(cells[0].system).role
                panels[cost].append(ParetoPoint(cells[0].engine, role, name, fmean(values), accuracy, _MARKER_BYTES))
    together = f"; each point the mean of {max(counts)} runs" if counts != {1} and len(counts) == 1 else ""
    title = f"Accuracy against cost: {describe_cells(known)}{together}"
    return _draw({name: found for name, found in panels.items() if found}, engines, measure, title)


@in_house_style
def _draw(panels: Mapping[str, Sequence[ParetoPoint]], engines: Sequence[str], measure: str, title: str) -> Figure:
    """Draw one panel for each cost; a point's system is its engine here, one colour each."""
    note = f"{measure} on the test split: of the file's sign-off where it has one, else of the run. Line: Pareto front of the panel."
    lines = textwrap.wrap(note, 120)
    height = _PANEL_INCHES * len(panels) + 0.75 + 0.15 * len(lines)
    figure = Figure(figsize=(6.6, height))
    FigureCanvasAgg(figure)  # labels are placed by their drawn size
    colours = {engine: SERIES[place % len(SERIES)] for place, engine in enumerate(engines)}
    for place, (name, found) in enumerate(panels.items()):
        bottom = 0.2 + 0.15 * len(lines) + 0.42 + _PANEL_INCHES * (len(panels) - 1 - place)
        axes = figure.add_axes((0.09, bottom / height, 0.88, (_PANEL_INCHES - 0.55) / height))
        front = find_pareto_front(found)
        draw_front(axes, front)
        for point in found:
            marker = "s" if point.role == "teacher" else "o"
            axes.scatter(point.cost, point.accuracy, s=26, color=colours[point.system], marker=marker, zorder=4, linewidth=0)
        set_limits(axes, found)
        axes.set(xlabel=name, ylabel=f"test {measure}")
        tidy_axes(axes, grid="both")
        if not place and len(engines) > 1:
            for engine in engines:
                axes.plot([], [], linestyle="", marker="o", color=colours[engine], label=name_engine(engine))
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(engines), borderaxespad=0.2)
        place_labels(figure, axes, found, _MARKER_BYTES, {id(point) for point in front})
    figure.text(0.012, 1 - 0.1 / height, title, ha="left", va="top", fontsize=9.5, fontweight="bold", color=INK)
    figure.text(0.012, 0.06 / height, "\n".join(lines), ha="left", va="bottom", fontsize=7, color=MUTED, linespacing=1.35)
    return figure


def _shorten(names: Sequence[str]) -> list[str]:
    """Leave out folders where the last parts tell names apart, and what all names begin with, up to a slash or an underscore.

    Example:
        >>> _shorten(["p/a_b", "q/c"]), _shorten(["p/a", "p/a"])
        (['a_b', 'c'], ['a', 'a'])
        >>> _shorten(["p/distilled_17k", "p/distilled_tokens"]), _shorten(["p/a", "p/a_b"])
        (['17k', 'tokens'], ['a', 'a_b'])
        >>> _shorten(["p/a", "q/a"]), _shorten(["p/a"])
        (['p/a', 'q/a'], ['a'])
    """
    last_parts = {name: name.rpartition("/")[2] for name in names}
    if len(set(last_parts.values())) == len(last_parts):
        names = [last_parts[name] for name in names]
    first, last = min(names), max(names)  # what these two share, all share
    differing = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    shared = 0 if first == last else next(differing, len(first))
    kept = max(first.rfind("/", 0, shared), first.rfind("_", 0, shared)) + 1
    return [name[kept:] for name in names]


def _has_processes(record: BenchmarkRecord, cells: Sequence[LatencyRecord]) -> bool:
    told = [find_memory(record, cell.system, cell.engine, cell.seconds) for cell in cells]
    return any(item is not None and item.above_identity_bytes is not None for item in told)


def _find_memory_mb(record: BenchmarkRecord, cell: LatencyRecord, of_process: bool) -> float | None:
    item = find_memory(record, cell.system, cell.engine, cell.seconds)
    return None if item is None else _to_mb(item.above_identity_bytes if of_process else item.live_bytes)


def _to_mb(size: int | None) -> float | None:
    return None if size is None else size / 1e6
