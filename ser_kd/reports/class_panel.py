"""One class under the glass: who finds it, and what its clips are taken for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ser_kd.reports.systems import ROLES, ProtocolBoard, SystemRow
from ser_kd.reports.tables import Column, Table, format_share


def choose_class(board: ProtocolBoard, wanted: str | None = None) -> str | None:
    """Choose the class to look at.

    Args:
        board: The systems.
        wanted: A class; where the board does not have it, nothing is shown.

    Returns:
        ``wanted``; without it the class that the students alone (else all systems) find worst; None without any counts.
    """
    classes = board.protocol.classes
    if wanted is not None:
        return wanted if wanted in classes else None
    counted = [row for row in board.rows if row.confusion is not None]
    rows = [row for row in counted if row.role == "alone"] or counted
    recalls = {label: _mean_recall(rows, place) for place, label in enumerate(classes)}
    known = {label: recall for label, recall in recalls.items() if not math.isnan(recall)}
    return min(known, key=lambda label: known[label]) if known else None


def class_panel(board: ProtocolBoard, names: Sequence[str], label: str) -> Table | None:
    """Make the table of one class: recall, precision, and the share of its clips that each other class takes.

    Args:
        board: The systems.
        names: Their brief names.
        label: The class.

    Returns:
        One row per system whose answers were counted; None where none were, or no test clip has the class.
    """
    classes = board.protocol.classes
    place = classes.index(label)
    counted = [(row, name) for row, name in zip(board.rows, names, strict=True) if row.confusion is not None and row.confusion[place].sum()]
    if not counted:
        return None
    others = [(number, other) for number, other in enumerate(classes) if number != place]
    columns = (
        Column("system"),
        Column("role"),
        Column("recall", "right"),
        Column("precision", "right"),
        *(Column(f"taken for {other}", "right") for _, other in others),
    )
    rows = []
    for row, name in counted:
        matrix = row.confusion
        if matrix is None:
            continue
        shares = matrix[place] / matrix[place].sum()
        answered = matrix[:, place].sum()
        precision = float(matrix[place, place] / answered) if answered else math.nan
        cells = [name, ROLES[row.role], format_share(float(shares[place])), format_share(precision)]
        rows.append(tuple(cells + [format_share(float(shares[number])) for number, _ in others]))
    clips = sorted({int(row.confusion[place].sum()) for row, _ in counted if row.confusion is not None})
    notes = (f"Shares of the {' or '.join(map(str, clips))} test clips of the class; precision: of the clips so called, how many are.",)
    return Table(columns, tuple(rows), notes, f"The class {label}")


def _mean_recall(rows: Sequence[SystemRow], place: int) -> float:
    shares = []
    for row in rows:
        if row.confusion is not None and row.confusion[place].sum():
            shares.append(float(row.confusion[place, place] / row.confusion[place].sum()))
    return sum(shares) / len(shares) if shares else math.nan
