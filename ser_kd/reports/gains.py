"""What distillation gave: each distilled student against its sister alone, on the same clips."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ser_kd.contracts.errors import DataError
from ser_kd.reports.answers import Answers, read_test_sets
from ser_kd.reports.significance import RESAMPLES, Interval, bootstrap_difference, pool_metric
from ser_kd.reports.systems import ProtocolBoard, SystemRow
from ser_kd.reports.teacher_rows import name_ensemble


@dataclass(frozen=True)
class Gain:
    """One distilled student against the same student without a teacher.

    Args:
        distilled: The distilled system.
        alone: Its sister.
        teacher: The teacher on the same folds, or None.
        interval: UA(distilled) - UA(alone), or of the mean CCC where there are no classes, and its paired interval.
        folds: The folds that both ran.
        before: UA of the sister on those folds, pooled.
        after: UA of the distilled student on them.
        metric: What the gain is in.
    """

    distilled: SystemRow
    alone: SystemRow
    teacher: SystemRow | None
    interval: Interval
    folds: tuple[int, ...]
    before: float
    after: float
    metric: str = "ua"

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.interval.low > 0 or self.interval.high < 0


def find_gains(board: ProtocolBoard, *, resamples: int = RESAMPLES) -> list[Gain]:
    """Compare every distilled student with its sister on the folds both ran.

    The sister is the student alone of the same paper with the same parameter counts; of several, the one that is best on
    validation, never on test. Without a sister, or where the clips differ, there is no gain to tell.
    """
    gains = []
    for row in board.rows:
        if row.role != "distilled":
            continue
        sister = choose_by_validation(
            [other for other in board.rows if other.role == "alone" and other.paper == row.paper and other.parameters == row.parameters]
        )
        folds = tuple(sorted(set(row.folds) & set(sister.folds))) if sister else ()
        if sister is None or not folds:
            continue
        try:
            answers = (_take_folds(row, folds), _take_folds(sister, folds))
            interval = bootstrap_difference(*answers, metric=board.main_metric, resamples=resamples)
        except DataError:
            continue
        after, before = (pool_metric(part, board.main_metric) for part in answers)
        gains.append(Gain(row, sister, find_teacher(board, row), interval, folds, before, after, board.main_metric))
    return gains


def find_teacher(board: ProtocolBoard, student: SystemRow) -> SystemRow | None:
    """Give the teacher, or the ensemble, that a student's first run names; None where it has none."""
    named = student.runs[0].record.teachers if student.runs else []
    if not named:
        return None
    if len(named) > 1:
        ensemble = name_ensemble(student.runs[0].record)
        return next((row for row in board.rows if row.experiment == ensemble), None)
    name = named[0].experiment or f"{student.paper}/{named[0].name}".lstrip("/")
    run = named[0].run or ""
    known = [row for row in board.rows if row.experiment == name]
    # of several trainings of one teacher, the one that the student's record points at
    return next((row for row in known if any(entry.name == run for entry in row.runs)), known[0] if known else None)


def choose_by_validation(rows: list[SystemRow]) -> SystemRow | None:
    """Give the system that is best on validation; the first by name where none was validated."""
    if not rows:
        return None
    return max(rows, key=lambda row: -math.inf if math.isnan(row.validation_score) else row.validation_score)


def _take_folds(row: SystemRow, folds: tuple[int, ...]) -> tuple[Answers, ...]:
    if row.predictions is None:
        raise DataError(f"{row.experiment} left no predictions.")
    return read_test_sets(row.predictions[row.predictions["fold"].isin(folds)], row.runs[0].record.protocol.classes)
