"""Read the figures a paper published and set ours beside them."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ser_kd.contracts.errors import DataError
from ser_kd.reports.leaderboard import describe_folds
from ser_kd.reports.ledger import LedgerFault
from ser_kd.reports.systems import SPLIT, ProtocolBoard, SystemRow
from ser_kd.reports.tables import Column, Table

COLUMNS = ("model", "variant", "metric", "value", "unit", "source", "note")
_SCALES = {"%": 100.0, "ms": 1000.0, "K": 1e-3, "M": 1e-6, "G": 1e-9}


@dataclass(frozen=True)
class PublishedFigure:
    """One line of a ``published.csv``.

    Args:
        paper: The experiment folder's name.
        model: The model as the paper calls it.
        variant: Our variant that it stands beside; empty where there is none.
        metric: A record's metric (``wa`` is short for ``test/wa``), ``parameters/total``, ``parameters/trainable``,
            ``multiply_accumulates``, ``epochs/run``, ``timings/<stage>``; any other name is shown without ours.
        value: NaN where the paper does not say; it is shown empty and never filled in.
        decimals: How many the paper prints.
        unit: ``%``, ``share``, ``count``, ``s``, ``ms``, ``K``, ``M``, ``G`` or any word; ours is scaled to it.
        source: Table and page.
        note: Conditions that differ from ours.
        corpus: Corpus it was measured on: only our runs on it stand beside it. Empty takes runs on any.
    """

    paper: str
    model: str
    variant: str
    metric: str
    value: float
    decimals: int
    unit: str
    source: str
    note: str
    corpus: str = ""


def read_published(folder: Path) -> list[PublishedFigure]:
    """Read an experiment folder's ``published.csv``.

    Its columns are ``model, variant, metric, value, unit, source, note``, and ``corpus`` where a figure should meet runs
    on its own corpus alone (else a demo run stands beside a paper's RAVDESS figure, named as such).

    Returns:
        In the file's order; empty where there is no such file.

    Raises:
        DataError: If a column is missing, a row has too few or too many cells, or a value is no number.
    """
    path = folder / "published.csv"
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, restkey="", skipinitialspace=True)
            heads = [name.strip() for name in reader.fieldnames or ()]
            reader.fieldnames = heads
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise _refuse(path, "a table of comma-separated values", str(fault)) from fault
    missing = [name for name in COLUMNS if name not in heads]
    if missing:
        raise _refuse(path, f"the columns {', '.join(COLUMNS)}", f"no {', '.join(missing)}")
    return [_read_row(path, number, row) for number, row in enumerate(rows, start=1)]


def find_published(experiment_roots: Sequence[Path]) -> tuple[list[PublishedFigure], list[LedgerFault]]:
    """Read every ``<root>/<paper_slug>/published.csv``; of two folders of one name the first root's counts.

    Returns:
        The figures, and the faults of the files that cannot be read.
    """
    figures: list[PublishedFigure] = []
    faults: list[LedgerFault] = []
    seen: set[str] = set()
    for root in experiment_roots:
        for path in sorted(root.glob("*/published.csv")):
            if path.parent.name in seen:
                continue
            seen.add(path.parent.name)
            try:
                figures.extend(read_published(path.parent))
            except DataError as fault:
                faults.append(LedgerFault(f"{path.parent.name}/{path.name}", f"{fault.got}; expected {fault.expected}"))
    return figures, faults


def compare_published(figures: Sequence[PublishedFigure], boards: Sequence[ProtocolBoard]) -> dict[str, Table]:
    """Set our systems beside each published figure, one table per paper that has a run here.

    Ours is empty where no run stands beside the figure; where several do (another corpus, another identity), each
    has its own row and names its protocol, because only some of them compare.
    """
    ran = {row.paper for board in boards for row in board.rows if row.runs}
    tables = {}
    for paper in sorted({figure.paper for figure in figures} & ran):
        rows: list[tuple[str, ...]] = []
        for figure in (figure for figure in figures if figure.paper == paper):
            ours = [
                (board, row)
                for board in boards
                for row in board.rows
                if row.runs and row.experiment == f"{paper}/{figure.variant}" and figure.corpus in ("", board.corpus)
            ]
            rows.extend(_compare(figure, board, row) for board, row in ours)
            if not ours:
                rows.append(_compare(figure, None, None))
        columns = [Column(name) for name in ("published model", "our variant", "metric")]
        columns += [Column(name, "right") for name in ("published", "ours", "difference")]
        columns += [Column(name) for name in ("ours measured on", "source", "note")]
        notes = (
            "Empty cells: not published, or not run here.",
            "A difference means something only where corpus, classes and folds are the paper's.",
        )
        tables[paper] = Table(tuple(columns), tuple(rows), notes, f"{paper}: published | ours")
    return tables


def _read_row(path: Path, number: int, row: dict[str, str | None]) -> PublishedFigure:
    if "" in row or None in row.values():
        raise _refuse(path, "as many cells as columns (a comma inside a cell wants quotes)", f"another number of cells in row {number}")
    text = {name: str(cell).strip() for name, cell in row.items()}
    written = text["value"].replace(",", "")
    try:
        value = float(written) if written else math.nan
    except ValueError as fault:
        raise _refuse(path, "a number, or nothing where the paper does not say", f"'{text['value']}' in row {number}") from fault
    rest = {name: text[name] for name in COLUMNS if name != "value"}
    return PublishedFigure(
        paper=path.parent.name, value=value, decimals=len(written.partition(".")[2]), corpus=text.get("corpus", ""), **rest
    )


def _compare(figure: PublishedFigure, board: ProtocolBoard | None, row: SystemRow | None) -> tuple[str, ...]:
    scale = _SCALES.get(figure.unit, 1.0)
    found, std = _look_up(row, figure.metric) if row else (math.nan, None)
    ours = found * scale
    decimals = figure.decimals if not math.isnan(figure.value) else {"%": 1, "count": 0}.get(figure.unit, 3)
    unit = "" if figure.unit in ("share", "count", "") else f" {figure.unit}"
    # the difference of two percentages is in points, not in percent
    difference_unit = " points" if figure.unit == "%" else unit

    def show(value: float, sign: str, unit: str) -> str:
        return "" if math.isnan(value) else f"{value:{sign},.{decimals}f}".replace("-", "−") + unit

    spread = f" ± {std * scale:,.{decimals}f}" if std is not None else ""
    ours_text = "" if math.isnan(ours) else show(ours, "", "") + spread + unit
    place = f"{_name_place(board)}, {describe_folds(row)}" if board and row and ours_text else ""
    return (
        *(figure.model, figure.variant, figure.metric.removeprefix(f"{SPLIT}/")),
        *(show(figure.value, "", unit), ours_text, show(ours - figure.value, "+", difference_unit)),
        *(place, figure.source, figure.note),
    )


def _name_place(board: ProtocolBoard) -> str:
    name = board.protocol.name
    return name if name.startswith(board.corpus) else f"{board.corpus}, {name}"


def _look_up(row: SystemRow, metric: str) -> tuple[float, float | None]:
    kind, _, rest = metric.partition("/")
    record = row.runs[0].record
    if kind == "parameters":
        return float(row.parameters.get(rest, math.nan)), None
    if kind in ("epochs", "timings"):
        values = record.epochs if kind == "epochs" else record.timings
        return float(values.get(rest, math.nan)), None
    if metric == "multiply_accumulates":
        return math.nan if record.multiply_accumulates is None else float(record.multiply_accumulates), None
    estimate = row.estimates.get(metric.removeprefix(f"{SPLIT}/"))
    return (estimate.mean, estimate.std) if estimate else (math.nan, None)


def _refuse(path: Path, expected: str, got: str) -> DataError:
    return DataError(
        f"{path} is not a table of published figures.", expected=expected, got=got, remedy="correct the file; an unknown value stays empty"
    )
