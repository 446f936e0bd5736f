"""Everything one report tells, gathered before it is written as Markdown and as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.class_panel import choose_class, class_panel
from ser_kd.reports.figures import (
    IntervalBar,
    plot_confusion,
    plot_groups,
    plot_intervals,
    plot_learning_curves,
    plot_recalls,
    plot_reliability,
)
from ser_kd.reports.gains import Gain, choose_by_validation, find_gains, find_teacher
from ser_kd.reports.leaderboard import gain_table, leaderboard, name_systems
from ser_kd.reports.ledger import Ledger, LedgerFault, RunEntry, read_curves
from ser_kd.reports.published import compare_published, find_published
from ser_kd.reports.report_figure import ReportFigure
from ser_kd.reports.robustness_section import RobustnessSection, gather_robustness
from ser_kd.reports.run_figures import describe_group, find_confidence
from ser_kd.reports.significance import RESAMPLES
from ser_kd.reports.sweep_section import SweepSection, gather_sweep
from ser_kd.reports.systems import MAIN_NAMES, ROLES, ProtocolBoard, SystemRow
from ser_kd.reports.tables import Table, format_points, format_share

_MOST_BARS = 40


@dataclass(frozen=True)
class Section:
    """One protocol's part of the report.

    Args:
        board: The systems.
        names: Their brief names, in order.
        table: The leaderboard.
        gains: What distillation gave.
        gain_table: The same as a table, or None without gains.
        class_panel: Who finds one class and what its clips are taken for; None without counts.
        headline: The result in a sentence.
        detail: What qualifies it, in another.
        intervals: The interval plot.
        figures: Close looks at teacher, student alone and student distilled of each paper.
    """

    board: ProtocolBoard
    names: tuple[str, ...]
    table: Table
    gains: tuple[Gain, ...]
    gain_table: Table | None
    class_panel: Table | None
    headline: str
    detail: str
    intervals: ReportFigure
    figures: tuple[ReportFigure, ...]


@dataclass(frozen=True)
class ReportContent:
    """A whole report.

    Args:
        title: Heading.
        sections: One per protocol.
        published: Paper -> its figures beside ours.
        finished: Finished runs.
        failed: Failed runs.
        running: Runs that are under way or were killed.
        faults: What could not be read.
        sweeps: One per sweep; its trials are in no other part.
        trials: Runs that are no more than trials of sweeps.
        robustness: One per protocol and setting of the noise.
    """

    title: str
    sections: tuple[Section, ...]
    published: dict[str, Table]
    finished: tuple[RunEntry, ...]
    failed: tuple[RunEntry, ...]
    running: tuple[RunEntry, ...]
    faults: tuple[LedgerFault, ...]
    sweeps: tuple[SweepSection, ...] = ()
    trials: tuple[RunEntry, ...] = ()
    robustness: tuple[RobustnessSection, ...] = ()


def gather_content(
    ledger: Ledger,
    experiment_roots: Sequence[Path] = (),
    *,
    resamples: int = RESAMPLES,
    label: str | None = None,
    out: Path | None = None,
) -> ReportContent:
    """Compute every table and draw every figure of a report.

    Args:
        ledger: The runs.
        experiment_roots: Folders that hold ``<paper_slug>/published.csv``.
        resamples: Bootstrap resamples.
        label: The class to look at closely; None takes the one that students alone find worst.
        out: Folder of the report, from which trials are linked; None links none.

    Raises:
        ConfigError: If no protocol has that class.
    """
    boards = build_boards(ledger, resamples=resamples)
    known = sorted({name for board in boards for name in board.protocol.classes})
    if label is not None and label not in known:
        raise ConfigError(
            f"No run knows the class '{label}'.", expected=f"one of {', '.join(known)}", got=label, remedy="set class to one of them"
        )
    figures, broken = find_published(experiment_roots)
    faults = [*ledger.faults, *broken]
    sections = []
    for number, board in enumerate(boards, start=1):
        sections.append(_gather_section(board, f"{number}", resamples, faults, label))
    shown = sorted(
        {row.paper or row.experiment for board in boards for row in board.rows if row.runs}
        or {f"sweep {entry.record.name}" for entry in ledger.sweeps}
    )
    records = {entry.folder: entry.record for entry in ledger.runs}
    trials = tuple(entry for entry in ledger.runs if entry.record.sweep)
    ordinary = ledger.without_trials()
    return ReportContent(
        title=", ".join(shown) if 0 < len(shown) <= 3 else "All experiments",
        sections=tuple(sections),
        published=compare_published(figures, boards),
        finished=ordinary.with_status("finished"),
        failed=ordinary.with_status("failed"),
        running=ordinary.with_status("running"),
        faults=tuple(faults),
        sweeps=tuple(gather_sweep(entry, records, out) for entry in ledger.sweeps),
        trials=trials,
        robustness=tuple(gather_robustness([entry.record for entry in ledger.robustness], experiment_roots, resamples=resamples)),
    )


def tell_result(board: ProtocolBoard, names: Sequence[str], gains: Sequence[Gain]) -> tuple[str, str]:
    """Put a board's result into a sentence, and what qualifies it into another.

    The gain that is told is the one whose student did best on validation: choosing it by test would flatter it.
    """
    by_row = {id(row): name for row, name in zip(board.rows, names, strict=True)}
    chosen = choose_by_validation([gain.distilled for gain in gains])
    gain = next((gain for gain in gains if gain.distilled is chosen), None)
    metric, called = board.main_metric, MAIN_NAMES[board.main_metric]
    chance = format_share(board.chance.get(metric, math.nan))
    if gain is None:
        best = choose_by_validation([row for row in board.rows if not math.isnan(row.estimate(metric).mean)])
        if best is None:
            return f"No system has a test {called} yet.", ""
        return f"{by_row[id(best)]} reaches {format_share(best.estimate(metric).mean)} {called}.", f"Guessing would give {chance}."
    same_folds = gain.alone.folds == gain.distilled.folds
    # the table's figures where they are of the same folds; else those of the folds both ran
    values = (gain.alone.estimate(metric).mean, gain.distilled.estimate(metric).mean) if same_folds else (gain.before, gain.after)
    before, after = map(format_share, values)
    told = gain.interval
    if not gain.is_certain:
        headline = f"Distilled, the student reaches {after} {called}; alone, {before}."
    elif told.value > 0:
        headline = f"Distillation lifts the student from {before} to {after} {called}."
    else:
        headline = f"Distillation takes the student down from {before} to {after} {called}."
    ends = f"{format_points(told.low)} to {format_points(told.high)}"
    where = "" if same_folds else f" on fold{'s' if len(gain.folds) > 1 else ''} {', '.join(map(str, gain.folds))}, which both ran"
    parts = [f"{format_points(told.value)} points{where}, 95 % interval {ends}, paired over {told.units} {told.unit}"]
    parts[0] += "." if gain.is_certain else ": it holds zero, so the difference is not certain."
    if gain.teacher is not None and not math.isnan(gain.teacher.estimate(metric).mean):
        parts.append(f"The teacher stands at {format_share(gain.teacher.estimate(metric).mean)}; guessing would give {chance}.")
    else:
        parts.append(f"Guessing would give {chance}.")
    return headline, " ".join(parts)


def choose_trios(board: ProtocolBoard) -> dict[str, list[SystemRow]]:
    """Choose whom to look at closely, per paper: the distilled student that is best on validation, its sister and its teacher."""
    trios: dict[str, list[SystemRow]] = {}
    for paper in dict.fromkeys(row.paper for row in board.rows):
        mine = [row for row in board.rows if row.paper == paper]
        distilled = choose_by_validation([row for row in mine if row.role == "distilled"])
        teacher = find_teacher(board, distilled) if distilled else None
        alone = [row for row in mine if row.role == "alone"]
        sister = choose_by_validation([row for row in alone if distilled and row.parameters == distilled.parameters] or alone)
        teacher = teacher or choose_by_validation([row for row in mine if row.role == "teacher"])
        trio = [row for row in (teacher, sister, distilled) if row is not None]
        if trio:
            trios[paper] = trio
    return trios


def _gather_section(board: ProtocolBoard, key: str, resamples: int, faults: list[LedgerFault], label: str | None) -> Section:
    names = tuple(name_systems(board.rows))
    gains = tuple(find_gains(board, resamples=resamples))
    headline, detail = tell_result(board, names, gains)
    figures = [
        figure
        for number, (paper, trio) in enumerate(choose_trios(board).items(), start=1)
        for figure in _draw_trio(board, paper, trio, f"{key}-{number}", faults)
    ]
    bars = []
    for row, name in zip(board.rows[:_MOST_BARS], names, strict=False):
        told = row.estimate(board.main_metric)
        ends = (told.interval.low, told.interval.high) if told.interval else (math.nan, math.nan)
        bars.append(IntervalBar(name, row.role, told.mean, *ends))
    intervals = ReportFigure(
        f"{key}_intervals",
        "comparison",
        f"{MAIN_NAMES[board.main_metric]} with 95 % interval",
        f"Each system's {MAIN_NAMES[board.main_metric]} on the test split, its interval and the chance level.",
        plot_intervals(bars, board.chance.get(board.main_metric, math.nan), MAIN_NAMES[board.main_metric]),
    )
    chosen = choose_class(board, label)
    return Section(
        board=board,
        names=names,
        table=leaderboard(board),
        gains=gains,
        gain_table=gain_table(gains) if gains else None,
        class_panel=class_panel(board, names, chosen) if chosen else None,
        headline=headline,
        detail=detail,
        intervals=intervals,
        figures=tuple(figures),
    )


def _draw_trio(board: ProtocolBoard, paper: str, trio: list[SystemRow], key: str, faults: list[LedgerFault]) -> list[ReportFigure]:
    classes = board.protocol.classes
    roles = {row.variant: row.role for row in trio}
    drawn = []
    counted = {row.variant: row.confusion for row in trio if row.confusion is not None}
    for name, counts in counted.items():
        role = roles[name]
        caption = f"{int(counts.sum())} test clips."
        figure = plot_confusion(counts, classes, "", role)
        drawn.append(ReportFigure(f"{key}_confusion_{role}", "confusion", f"{name}, {ROLES[role]}", caption, figure))
    if counted:
        figure = plot_recalls(counted, classes, roles)
        drawn.append(ReportFigure(f"{key}_recalls", "comparison", "Recall by class", "Who finds which emotion, on the test split.", figure))
    sure = {
        row.variant: found
        for row in trio
        if classes and row.predictions is not None and (found := find_confidence(row.predictions, classes))
    }
    if sure:
        errors = {row.variant: row.estimate("calibration_error").mean for row in trio}
        caption = "How often an answer is right against how sure the model was; on the dashed line they agree."
        figure = plot_reliability(sure, roles, calibration_errors=errors)
        drawn.append(ReportFigure(f"{key}_reliability", "comparison", "Reliability", caption, figure))
    groups = {row.variant: _find_groups(row) for row in trio if _find_groups(row)}
    if groups:
        figure = plot_groups(groups, roles, board.chance.get("ua", math.nan))
        drawn.append(
            ReportFigure(f"{key}_groups", "comparison", "UA by group", "Whether some speakers or intensities are served worse.", figure)
        )
    drawn.extend(_draw_curves(trio, key, faults))
    return drawn


def _draw_curves(trio: list[SystemRow], key: str, faults: list[LedgerFault]) -> list[ReportFigure]:
    drawn = []
    for row in (row for row in trio if row.runs):
        entry = row.runs[0]
        try:
            curves = read_curves(entry.folder)
        except DataError as fault:
            faults.append(LedgerFault(f"{entry.name}/logs/metrics.csv", fault.got))
            continue
        if curves is not None:
            caption = f"Fold {entry.record.protocol.fold}, seed {entry.record.seed}."
            figure = plot_learning_curves(curves, entry.record.epochs.get("best"))
            drawn.append(ReportFigure(f"{key}_curves_{row.role}", "curves", f"{row.variant}, {ROLES[row.role]}", caption, figure))
    return drawn


def _find_groups(row: SystemRow) -> dict[str, float]:
    return {
        describe_group(name.removeprefix("ua_")): told.mean
        for name, told in row.estimates.items()
        if name.startswith("ua_") and "=" in name and not math.isnan(told.mean)
    }
