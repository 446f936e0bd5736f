"""Rows for teachers that are known from their students' records: foreign ones, and ensembles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ser_kd.contracts.records import RunRecord, TeacherRecord
from ser_kd.reports.confusion_metrics import METRICS
from ser_kd.reports.systems import (
    SPLIT,
    Estimate,
    SystemRow,
    average_within_folds,
    estimate_runs,
    mean_of_known,
    name_main_metric,
    sum_confusion,
)

_OF_TEACHER = f"{SPLIT}/teacher_"


def warn_of_teacher(teacher: TeacherRecord, record: RunRecord) -> list[str]:
    """Say what a reader must know of a run's teacher."""
    warnings = []
    if "unknown" in teacher.trained_on:
        warnings.append(f"which speakers its teacher {teacher.name} was trained on is unknown")
    if teacher.protocol_fingerprint is not None and teacher.protocol_fingerprint != record.protocol.fingerprint:
        warnings.append(f"its teacher {teacher.name} was trained under another protocol ({teacher.protocol_fingerprint})")
    return warnings


_NAMED = 4
"""An ensemble of more members is named by their number."""

_PLAIN_TEACHING = {"weights": "uniform", "combine": "probabilities", "calibrate": False, "answers": "all"}


def name_ensemble(student: RunRecord) -> str:
    """Name the ensemble of a student by its members and by whatever is unusual in how they are combined."""
    paper = student.experiment.rpartition("/")[0]
    unusual = [
        name if value is True else "given weights" if isinstance(value, dict) else f"{value}".replace("_", " ")
        for name, value in student.teaching.items()
        if value != _PLAIN_TEACHING.get(name)
    ]
    names = [teacher.name for teacher in student.teachers]
    members = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} teachers"
    return f"{paper}/ensemble of {members}".lstrip("/") + (f" ({', '.join(unusual)})" if unusual else "")


def make_foreign_teachers(rows: Sequence[SystemRow]) -> list[SystemRow]:
    """Make a row for each teacher that has no run here, from what its students' records say of it."""
    here = {row.experiment for row in rows}
    foreign: dict[str, list[tuple[RunRecord, TeacherRecord]]] = {}
    for row in rows:
        for entry in row.runs:
            for teacher in entry.record.teachers:
                if teacher.experiment not in here:
                    name = teacher.experiment or f"{row.paper}/{teacher.name}".lstrip("/")
                    foreign.setdefault(name, []).append((entry.record, teacher))
    made = []
    for name, told in foreign.items():
        # one sister's records are enough: every student of a fold met the same teacher
        sisters = [(record, teacher) for record, teacher in told if record.experiment == told[0][0].experiment]
        metrics = {key for _, teacher in sisters for key in teacher.metrics if key.startswith(f"{SPLIT}/")}
        estimates = {
            key.removeprefix(f"{SPLIT}/"): estimate_runs([teacher.metrics.get(key, math.nan) for _, teacher in sisters])
            for key in sorted(metrics)
        }
        alone = all(len(record.teachers) == 1 for record, _ in sisters)
        confusion = sum_confusion([record.teacher_confusion.get(SPLIT) for record, _ in sisters]) if alone else None
        if confusion is not None:
            for metric, score in METRICS.items():
                estimates.setdefault(metric, Estimate(float(score(confusion)), runs=1))
        teacher = told[0][1]
        notes = ["no run of its own here: read from its students' records", *warn_of_teacher(teacher, told[0][0])]
        made.append(SystemRow(name, "", "teacher", (), estimates, confusion, None, {"total": teacher.parameters}, notes=tuple(notes)))
    return made


def make_ensembles(rows: Sequence[SystemRow]) -> list[SystemRow]:
    """Make a row for each ensemble of several teachers, from what its students' records say of its combined answers."""
    found: dict[str, list[RunRecord]] = {}
    for row in rows:
        for entry in row.runs:
            if len(entry.record.teachers) > 1:
                found.setdefault(name_ensemble(entry.record), []).append(entry.record)
    made = []
    for name, records in found.items():
        # students of several experiments and seeds met the same ensemble, which counts once
        apart = {(record.protocol.fold, *sorted(f"{teacher.run}" for teacher in record.teachers)): record for record in reversed(records)}
        sisters = [apart[key] for key in sorted(apart)]
        folds = [record.protocol.fold for record in sisters]
        metrics = sorted({key for record in sisters for key in record.metrics if key.startswith(_OF_TEACHER)})
        estimates = {
            key.removeprefix(_OF_TEACHER): estimate_runs(
                average_within_folds([record.metrics.get(key, math.nan) for record in sisters], folds)
            )
            for key in metrics
        }
        made.append(
            SystemRow(
                experiment=name,
                identity="",
                role="teacher",
                runs=(),
                estimates={key: value for key, value in estimates.items() if not key.startswith(("agreement", "divergence"))},
                confusion=sum_confusion([record.teacher_confusion.get(SPLIT) for record in sisters]),
                parameters={"total": sum(teacher.parameters for teacher in sisters[0].teachers)},
                validation_score=mean_of_known(
                    [record.metrics.get(f"validation/teacher_{name_main_metric(record.protocol)}", math.nan) for record in sisters]
                ),
                notes=("an ensemble: read from its students' records",),
            )
        )
    return made
