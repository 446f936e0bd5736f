"""A sweep's part of the report: its trials as a table, the response surface, and how far either is to be trusted."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ser_kd.contracts.records import RunRecord
from ser_kd.contracts.sweep_record import FINISHED, REPEATS, SweepRecord, SweepTrial, SweptParameter, key_of_point, name_sweep_file
from ser_kd.reports.ledger import SweepEntry
from ser_kd.reports.report_figure import ReportFigure
from ser_kd.reports.sweep_figures import plot_pair, plot_parameter, shorten_key, tell_value
from ser_kd.reports.sweep_surface import (
    Point,
    estimate_sampling_error,
    gather_points,
    is_choice,
    list_axes,
    measure_noise,
)
from ser_kd.reports.tables import NOTHING, Column, Table, format_share

_MOST_TRIALS, _MOST_PAIRS, _MOST_SLICES = 120, 10, 6
_SHARES = ("ua", "wa")


@dataclass(frozen=True)
class SweepSection:
    """One sweep.

    Args:
        record: Its record.
        headline: What came out, in a sentence.
        table: The trials, the best first.
        links: Run folder of each row of the table, relative to the report; empty where there is none.
        figures: The response surface.
    """

    record: SweepRecord
    headline: str
    table: Table
    links: tuple[str, ...]
    figures: tuple[ReportFigure, ...]


def gather_sweep(entry: SweepEntry, runs: Mapping[Path, RunRecord], out: Path | None = None) -> SweepSection:
    """Compute a sweep's table and draw its figures.

    Args:
        entry: The sweep.
        runs: Run folder -> record, where clips are counted.
        out: Folder of the report, for links; None makes none.
    """
    record = entry.record
    points = gather_points(record)
    shown = _sort(record)[:_MOST_TRIALS]
    folders = [entry.runs_root / trial.run if trial.run else None for trial in shown]
    links = [os.path.relpath(folder, out).replace(os.sep, "/") if folder and out and folder.is_dir() else "" for folder in folders]
    best = next((trial for trial in record.trials if trial.number == record.best), None)
    best_run = runs.get(entry.runs_root / best.run) if best is not None and best.run else None
    notes = _explain(record, points, best, best_run)
    if len(record.trials) > len(shown):
        notes.append(f"{len(record.trials) - len(shown)} more trials stand in {name_sweep_file(record.name, record.storage)}.json.")
    return SweepSection(record, _tell_result(record, points, best), _make_table(record, shown, notes), tuple(links), _draw(record, points))


def _sort(record: SweepRecord) -> list[SweepTrial]:
    """Sort the finished ones by value, the others behind them by number."""
    sign = -1.0 if record.maximize else 1.0
    finished = [trial for trial in record.trials if trial.state == FINISHED]
    others = [trial for trial in record.trials if trial.state != FINISHED]
    return [*sorted(finished, key=lambda trial: (trial.number != record.best, sign * trial.value, trial.number)), *others]


def _make_table(record: SweepRecord, trials: list[SweepTrial], notes: list[str]) -> Table:
    names = [parameter.name for parameter in record.parameters]
    columns = [Column("trial", "right"), *(Column(shorten_key(name), "right") for name in names)]
    columns += [Column(record.metric, "right"), Column("status"), Column("epochs", "right"), Column("run")]
    rows = []
    for trial in trials:
        status = trial.state + (", best" if trial.number == record.best else "") + (f": {trial.message}" if trial.message else "")
        cells = [tell_value(trial.parameters[name]) for name in names]
        epochs = NOTHING if trial.epochs is None else str(trial.epochs)
        rows.append((str(trial.number), *cells, format_share(trial.value), status, epochs, trial.run or NOTHING))
    return Table(tuple(columns), tuple(rows), tuple(notes), f"Sweep {record.name}: {record.metric} of {record.experiment}")


def _tell_result(record: SweepRecord, points: list[Point], best: SweepTrial | None) -> str:
    done = sum(trial.state == FINISHED for trial in record.trials)
    if best is None:
        return f"No trial of {record.name} is finished yet."
    names = [parameter.name for parameter in record.parameters if parameter.name not in REPEATS]
    chosen = ", ".join(f"{shorten_key(name)} {tell_value(best.parameters[name])}" for name in names)
    tried = f"best of {done} finished trials" + (f" of {record.planned}" if record.planned != done else "")
    point = next(point for point in points if key_of_point(point.parameters) == key_of_point(best.parameters))
    value = f"{point.mean:.3f}" + (f", the mean of {len(point.values)}" if len(point.values) > 1 else "")
    return f"Sweep {record.name}, {tried}: {chosen} ({record.metric} {value})."


def _explain(record: SweepRecord, points: list[Point], best: SweepTrial | None, run: RunRecord | None) -> list[str]:
    """Tell how far the figures are to be trusted."""
    notes = []
    noise = measure_noise(points)
    if noise is not None:
        notes.append(
            f"Repetitions of one point lie ± {noise[0]:.3f} apart (standard deviation within {noise[1]} repeated points): "
            "means of points that differ by less are not told apart. The best point is the one with the best mean."
        )
    else:
        notes.append("Each point was trained once, so what chance does to a value is not measured; seeds as a parameter would tell.")
    clips = run.protocol.counts.get("validation", 0) if run is not None else 0
    if best is not None and clips and record.metric.rpartition("/")[2] in _SHARES:
        error = estimate_sampling_error(best.value, clips)
        notes.append(f"By the draw of its {clips} validation clips alone a value of {best.value:.3f} is uncertain by about ± {error:.3f}.")
    done = sum(trial.state == FINISHED for trial in record.trials)
    if done > 1:
        notes.append(
            f"The best of {done} is better on these validation clips than it will be elsewhere. Trials are in no leaderboard; "
            f"as an ordinary run the best one is: {record.best_command}"
        )
    open_trials = [state for state in ("running", "interrupted") if any(trial.state == state for trial in record.trials)]
    if open_trials:
        notes.append(
            f"States are those of {record.updated_at.replace('T', ' ').removesuffix('+00:00')} UTC, when the sweep last wrote them; "
            f"what was {' or '.join(open_trials)} then goes on with: {record.command}"
        )
    if record.storage:
        notes.append(f"Trials are kept in {record.storage}; a sweep of the same name in another storage is another sweep.")
    cut = sum(trial.state == "stopped early" for trial in record.trials)
    if cut:
        notes.append(f"{cut} trials were stopped early ({record.early_terminate}) and have no value; means without them are too good.")
    return notes


def _draw(record: SweepRecord, points: list[Point]) -> tuple[ReportFigure, ...]:
    if not any(point.values for point in points):
        return ()
    key, axes = f"sweep_{name_sweep_file(record.name, record.storage)}", list_axes(record)
    figures = [
        ReportFigure(
            f"{key}_{parameter.name}",
            "surface",
            f"Over {shorten_key(parameter.name)}",
            _describe_axis(parameter, alone=len(axes) == 1),
            plot_parameter(points, parameter, record.metric),
        )
        for parameter in axes
    ]  # fmt: skip
    for across, upwards in itertools.islice(itertools.combinations(axes, 2), _MOST_PAIRS):
        rest = [part for part in axes if part.name not in (across.name, upwards.name)]
        slices = rest[0] if len(rest) == 1 and 1 < len(rest[0].values) <= _MOST_SLICES and (across, upwards) == tuple(axes[:2]) else None
        names = [shorten_key(part.name) for part in (across, upwards)]
        others = ", ".join(shorten_key(part.name) for part in rest)
        at = f", at each {shorten_key(slices.name)}" if slices is not None else ""
        cells = is_choice(across) and is_choice(upwards)
        told = (
            "n: finished trials, of those begun"
            if cells
            else "a dot is a point that was trained (the best with their values), a cross one without"
        )
        pooled = f" Pooled over {others}." if rest and slices is None else ""
        figures.append(
            ReportFigure(
                f"{key}_{across.name}_{upwards.name}",
                "surface",
                f"{names[0]} × {names[1]}{at}",
                f"Darker is better; {told}.{pooled}",
                plot_pair(points, across, upwards, record.metric, record.maximize, slices),
            )
        )
    return tuple(figures)


def _describe_axis(parameter: SweptParameter, alone: bool) -> str:
    if not is_choice(parameter):
        return "Dots: trials" + ("." if alone else ", whose other parameters differ.")
    if alone:
        return "Dots: trials. Line: their mean; bar: ± standard deviation of repetitions."
    told = "Diamonds: mean over all other parameters; bar: ± standard deviation, most of which can be theirs."
    return f"Dots: trials. {told} A line joins means over equally many points; others stand alone, for they are not of the same points."
