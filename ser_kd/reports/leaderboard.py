"""The tables every report shares: systems of one protocol side by side, and what distillation gave."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.reports.aggregate import build_boards
from ser_kd.reports.confusion_metrics import METRICS
from ser_kd.reports.dimension_metrics import DIMENSION_METRICS
from ser_kd.reports.gains import Gain
from ser_kd.reports.ledger import Ledger
from ser_kd.reports.systems import MAIN_NAMES, ROLES, Estimate, ProtocolBoard, SystemRow
from ser_kd.reports.tables import NOTHING, Column, Table, format_count, format_points, format_share

FEW_SPEAKERS = 10
"""Below this an interval over speakers holds the truth clearly less often than it says."""


def leaderboards(ledger: Ledger, experiments: Sequence[str] = ()) -> list[Table]:
    """Make the tables of all finished runs, one per protocol.

    Args:
        ledger: The runs.
        experiments: Shell patterns; none takes every experiment.
    """
    return [leaderboard(board) for board in build_boards(ledger.select(experiments))]


def leaderboard(board: ProtocolBoard) -> Table:
    """Make the table of one protocol's systems: teachers, students alone, distilled students.

    A single run shows its value and 95 % interval; several show mean ± standard deviation over runs, and then the
    interval of their pooled clips has its own column.
    """
    several = any(len(row.runs) > 1 for row in board.rows)
    main, others, agreement = list_columns(board)
    columns = [Column("model"), Column("role"), Column(MAIN_NAMES[main], "right")]
    columns += [Column(f"{MAIN_NAMES[main]} pooled", "right"), Column("runs")] if several else []
    columns += [Column(name, "right") for name in ("chance", *others.values())]
    columns += [Column(name, "right") for name in ("trainable", "parameters", "agreement", "epochs")]
    names = name_systems(board.rows)
    rows = []
    for row, name in zip(board.rows, names, strict=True):
        mark = {"test": " (selected on test)", "refit": " (refit)"}.get(row.selections[-1] if row.selections else "", "")
        cells = [name + mark, ROLES[row.role], format_estimate(row.estimate(main))]
        cells += [format_interval(row.estimate(main)), describe_folds(row)] if several else []
        cells += [format_share(board.chance.get(main, math.nan))]
        cells += [format_estimate(row.estimate(metric), brief=metric in METRICS) for metric in others]
        cells += [format_count(row.parameters.get(kind)) for kind in ("trainable", "total")]
        cells += [format_estimate(row.estimate(agreement), brief=True), format_epochs(row)]
        rows.append(tuple(cells))
    title = f"{board.corpus}, {board.protocol.name}, fingerprint {board.protocol.fingerprint}"
    return Table(tuple(columns), tuple(rows), tuple(_explain(board, names)), title)


def list_columns(board: ProtocolBoard) -> tuple[str, dict[str, str], str]:
    """Give the main metric of a board, what else is shown of it (metric -> head), and the metric of agreement with the teacher."""
    others = {} if not board.protocol.classes else {"wa": "WA", "f1_macro": "F1 macro", "f1_weighted": "F1 weighted"}
    if board.protocol.learns_dimensions:
        others |= {"ccc_mean": "mean CCC"} if others else {}
        others |= {f"ccc_{name}": f"CCC {name}" for name in DIMENSIONS}
        others |= {f"{kind}_{name}": f"{head} {name}" for kind, head in (("pearson", "r"), ("rmse", "RMSE")) for name in DIMENSIONS}
    return board.main_metric, others, "teacher_agreement" if board.main_metric == "ua" else "teacher_agreement_ccc_mean"


def leaderboard_numbers(boards: Sequence[ProtocolBoard]) -> Table:
    """Make one table of all protocols for a program: a number per cell at full precision, empty where undefined."""
    heads = ["experiment", "identity", "role", "corpus", "protocol", "fingerprint", "selection", "runs", "folds", "seeds"]
    for metric in METRICS:
        heads += [metric, f"{metric}_std", f"{metric}_low", f"{metric}_high"]
    heads += ["resampled", "chance_ua", "chance_wa", "trainable_parameters", "total_parameters", "teacher_agreement", "validation_ua"]
    shown = [name for name in DIMENSION_METRICS if any(board.protocol.learns_dimensions for board in boards)]
    heads += [f"{metric}{kind}" for metric in shown for kind in ("", "_std", "_low", "_high")]
    rows = [(*_number_row(board, row), *_score_cells(row, shown)) for board in boards for row in board.rows]
    return Table(tuple(Column(name) for name in heads), tuple(rows))


def gain_table(gains: Sequence[Gain]) -> Table:
    """Make the table of what distillation gave, paired on the same clips."""
    columns = (
        Column("distilled"),
        Column("alone"),
        Column(f"gain in {MAIN_NAMES[gains[0].metric] if gains else 'UA'}, points", "right"),
        Column("95 % interval", "right"),
        Column("folds"),
    )
    rows = []
    for gain in gains:
        told = gain.interval
        ends = f"[{format_points(told.low)}, {format_points(told.high)}]"
        folds = ", ".join(map(str, gain.folds))
        rows.append((gain.distilled.experiment, gain.alone.experiment, format_points(told.value), ends, folds))
    units = sorted({f"{gain.interval.units} {gain.interval.unit}" for gain in gains})
    notes = (f"Both systems on the same clips, resampled together ({', '.join(units)}); an interval that holds 0 leaves the gain open.",)
    return Table(columns, tuple(rows), notes if gains else (), "What distillation gave")


def name_systems(rows: Sequence[SystemRow]) -> list[str]:
    """Name systems as briefly as stays clear: without the paper where all share it, with the identity where one name is trained twice."""
    one_paper = len({row.paper for row in rows}) == 1
    plain = [row.variant if one_paper else row.experiment for row in rows]
    return [f"{name} {row.identity[:6]}".strip() if plain.count(name) > 1 else name for name, row in zip(plain, rows, strict=True)]


def describe_folds(row: SystemRow) -> str:
    """Tell over which folds and seeds a system ran, such as ``5 (folds 0-4)``."""
    if not row.runs:
        return NOTHING
    folds, seeds = row.folds, row.seeds
    if len(row.runs) == 1:
        return f"fold {folds[0]}"
    whole = len(folds) > 2 and folds == list(range(folds[0], folds[-1] + 1))
    text = f"folds {folds[0]}–{folds[-1]}" if whole else f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
    return f"{len(row.runs)} ({text}{f', {len(seeds)} seeds' if len(seeds) > 1 else ''})"


def format_estimate(estimate: Estimate, brief: bool = False) -> str:
    """Write ``0.612 [0.553, 0.668]`` for a single run and ``0.612 ± 0.031`` for several; briefly, a single run's value alone."""
    text = format_share(estimate.mean)
    if estimate.std is not None:
        return f"{text} ± {estimate.std:.3f}"
    if estimate.interval is not None and not brief:
        return f"{text} {format_interval(estimate, value=False)}"
    return text


def _explain(board: ProtocolBoard, names: Sequence[str]) -> list[str]:
    """Tell how to read a board: unit of resampling, selection, warnings, reasons of what is undefined."""
    notes = []
    for name, row in zip(names, board.rows, strict=True):
        if "test" in row.selections:
            notes.append(f"SELECTED ON TEST: {name} was chosen by its test figures, which are therefore too good; it does not compare.")
    units: dict[str, list[str]] = {}
    for name, row in zip(names, board.rows, strict=True):
        told = row.estimate(board.main_metric).interval
        if told:
            kind = f"{told.units} {told.unit}"
            if told.unit == "utterances":
                within = " within each class" if board.protocol.classes else ""
                kind += f"{within}; it says nothing about other speakers"
            elif told.units < FEW_SPEAKERS:
                kind += "; with so few it is somewhat too narrow"
            units.setdefault(f"{100 * told.level:.0f} % bootstrap, {told.resamples} resamples of {kind}", []).append(name)
    notes += [f"Interval: {text}" + (f" ({', '.join(which)})" if len(units) > 1 else "") + "." for text, which in units.items()]
    if any(row.estimate(board.main_metric).std is not None for row in board.rows):
        pooled = MAIN_NAMES[board.main_metric]
        notes.append(f"± standard deviation over runs; {pooled} pooled counts the clips of all folds as one test set, seed by seed.")
    if "ua" in board.chance:
        wa = f"; always naming the largest class gives WA {board.chance['wa']:.3f}" if "wa" in board.chance else ""
        notes.append(f"Chance: UA 1/{len(board.protocol.classes)}{wa}. UA leaves out a class without a test clip.")
    if board.protocol.learns_dimensions:
        notes.append(
            "CCC, Pearson's r and RMSE (scale 0 to 1, lower is better) over the whole split, divided by n; mean CCC of the dimensions that "
            "have one; one constant answer has a CCC of 0."
        )
    agreement = "clips on which a student answers as its teacher" if board.main_metric == "ua" else "mean CCC of a student with its teacher"
    notes.append(f"Trainable parameters, and all of them with running statistics; agreement: {agreement}.")
    if any("refit" in row.selections for row in board.rows):
        notes.append("Refit: epochs were chosen on validation, then training and validation clips trained together; test was touched once.")
    notes += board.notes
    notes += _unique(warning for protocol in board.protocols for warning in protocol.warnings)
    for name, row in zip(names, board.rows, strict=True):
        notes += [f"{name}: {note}." for note in row.notes]
        undefined = {metric: told.reason for metric, told in row.estimates.items() if math.isnan(told.mean) and told.reason}
        notes += [f"{name}: {metric} is undefined: {reason}." for metric, reason in undefined.items()]
    return notes


def _number_row(board: ProtocolBoard, row: SystemRow) -> tuple[str, ...]:
    cells = [row.experiment, row.identity, row.role, board.corpus, board.protocol.name, board.protocol.fingerprint]
    cells += [" ".join(row.selections), str(len(row.runs)), " ".join(map(str, row.folds)), " ".join(map(str, row.seeds))]
    cells += _score_cells(row, METRICS)
    interval = row.estimate(board.main_metric).interval
    cells += [f"{interval.units} {interval.unit}" if interval else ""]
    cells += [format_exactly(board.chance.get("ua")), format_exactly(board.chance.get("wa"))]
    cells += [format_exactly(row.parameters.get(kind)) for kind in ("trainable", "total")]
    cells += [
        format_exactly(row.estimate("teacher_agreement").mean),
        format_exactly(row.validation_score if board.main_metric == "ua" else None),
    ]
    return tuple(cells)


def _score_cells(row: SystemRow, metrics: Iterable[str]) -> list[str]:
    cells = []
    for metric in metrics:
        told = row.estimate(metric)
        ends = (told.interval.low, told.interval.high) if told.interval else (None, None)
        cells += [format_exactly(told.mean), format_exactly(told.std), *map(format_exactly, ends)]
    return cells


def _unique(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))


def format_interval(estimate: Estimate, value: bool = True) -> str:
    """Write ``0.612 [0.553, 0.668]``, the pooled value and its interval, or without the value the interval alone."""
    told = estimate.interval
    if told is None:
        return NOTHING
    ends = f"[{format_share(told.low)}, {format_share(told.high)}]"
    return f"{format_share(told.value)} {ends}" if value else ends


def format_epochs(row: SystemRow) -> str:
    """Tell how many epochs the runs took: one number, or the range."""
    run = sorted({entry.record.epochs["run"] for entry in row.runs if "run" in entry.record.epochs})
    if not run:
        return NOTHING
    return str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}"


def format_exactly(value: float | None) -> str:
    """Write a number at full precision for a program; nothing where it is None or NaN."""
    return "" if value is None or math.isnan(value) else repr(value)
