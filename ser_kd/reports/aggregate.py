"""Group runs into systems and systems into boards, one board per protocol; nothing is averaged across protocols."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import ProtocolRecord, RunRecord, TeacherRecord
from ser_kd.reports.ledger import Ledger, RunEntry, read_predictions
from ser_kd.reports.significance import (
    METRICS,
    RESAMPLES,
    Interval,
    bootstrap_metrics,
    count_confusion,
    read_answers,
)

ROLES = {"teacher": "teacher", "alone": "student alone", "distilled": "student distilled"}
"""Role of a system -> how it is called where a reader sees it."""

SPLIT = "test"
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Estimate:
    """One metric of one system.

    Args:
        mean: Mean over runs, or the value of the single run; NaN where no run defines it.
        std: Standard deviation over runs (n - 1); None for a single run.
        runs: Runs that define it.
        interval: Interval over the clips of all runs pooled; None without predictions.
        reason: Why it is NaN.
    """

    mean: float
    std: float | None = None
    runs: int = 0
    interval: Interval | None = None
    reason: str = ""


@dataclass(frozen=True)
class SystemRow:
    """One system: the runs of one experiment and identity under one protocol.

    Args:
        experiment: ``<paper_slug>/<variant>``.
        identity: Hash of what changes the science; empty for a foreign teacher.
        role: A key of ``ROLES``.
        runs: Its finished runs; none for a teacher that is known from a student's record alone.
        estimates: Metric without its split (``ua``, ``recall_angry``) -> estimate on the test split.
        confusion: (C, C) counts of the test split summed over runs; None where no run counted.
        predictions: All runs' predictions of the test split with ``fold`` and ``seed``; None where one is missing.
        parameters: ``trainable`` and ``total``.
        validation_ua: Mean UA on validation, by which a system may be chosen; NaN where unknown.
        notes: What a reader must know.
    """

    experiment: str
    identity: str
    role: str
    runs: tuple[RunEntry, ...]
    estimates: dict[str, Estimate]
    confusion: np.ndarray | None = None
    predictions: pd.DataFrame | None = None
    parameters: dict[str, int] = field(default_factory=dict)
    validation_ua: float = math.nan
    notes: tuple[str, ...] = ()

    @property
    def paper(self) -> str:
        """The paper's folder: what stands before the last slash; empty for a user's own experiment."""
        return self.experiment.rpartition("/")[0]

    @property
    def variant(self) -> str:
        """The variant's name within its paper."""
        return self.experiment.rpartition("/")[2]

    @property
    def folds(self) -> list[int]:
        """Folds of its runs, sorted."""
        return sorted({entry.record.protocol.fold for entry in self.runs})

    @property
    def seeds(self) -> list[int]:
        """Seeds of its runs, sorted."""
        return sorted({entry.record.seed for entry in self.runs})

    @property
    def selections(self) -> list[str]:
        """On which splits its models were selected."""
        return sorted({entry.record.protocol.selection for entry in self.runs})

    def estimate(self, metric: str) -> Estimate:
        """Give a metric's estimate, NaN where no run has it."""
        return self.estimates.get(metric, Estimate(math.nan, reason="not measured"))


@dataclass(frozen=True)
class ProtocolBoard:
    """All systems that were judged under one protocol, and therefore compare.

    Args:
        corpus: Corpus name.
        protocol: The protocol as its first run recorded it.
        protocols: Every distinct fold of it, in order.
        rows: Teachers, students alone, distilled students; within a role by experiment.
        chance: Metric -> what guessing reaches.
        notes: What a reader must know to compare the rows.
    """

    corpus: str
    protocol: ProtocolRecord
    protocols: tuple[ProtocolRecord, ...]
    rows: tuple[SystemRow, ...]
    chance: dict[str, float]
    notes: tuple[str, ...] = ()


def build_boards(ledger: Ledger, *, resamples: int = RESAMPLES) -> list[ProtocolBoard]:
    """Group the finished runs of a ledger.

    Runs are one system where experiment, identity and protocol fingerprint are equal; systems share a board where the
    fingerprint is equal. The board with the most runs comes first.
    """
    taught = _find_taught(ledger)
    systems: dict[tuple[str, str, str], list[RunEntry]] = {}
    for entry in ledger.with_status("finished"):
        record = entry.record
        systems.setdefault((record.protocol.fingerprint, record.experiment, record.identity), []).append(entry)
    boards: dict[str, list[SystemRow]] = {}
    for (fingerprint, _, _), entries in systems.items():
        boards.setdefault(fingerprint, []).append(_build_row(tuple(entries), taught, resamples))
    built = [_build_board(rows) for rows in boards.values()]
    return sorted(built, key=lambda board: (-sum(len(row.runs) for row in board.rows), board.protocol.name, board.protocol.fingerprint))


def name_role(record: RunRecord, taught: frozenset[str]) -> str:
    """Tell whether a run is a teacher, a student alone or a distilled student.

    Args:
        record: The run.
        taught: Experiments that other runs name as their teacher.

    Returns:
        A key of ``ROLES``. Whoever had a teacher is distilled, even where it teaches others in turn.
    """
    if record.teachers:
        return "distilled"
    variant = record.experiment.rpartition("/")[2]
    return "teacher" if record.experiment in taught or variant.startswith("teacher") else "alone"


def guess_chance(protocol: ProtocolRecord, confusion: np.ndarray | None) -> dict[str, float]:
    """Tell what guessing reaches.

    UA: 1 / C, whatever class is guessed how often. WA: the share of the largest class in the test split.
    """
    chance = {"ua": 1.0 / len(protocol.classes)} if protocol.classes else {}
    counts = protocol.class_counts.get(SPLIT) or ([] if confusion is None else confusion.sum(1).tolist())
    if sum(counts):
        chance["wa"] = max(counts) / sum(counts)
    return chance


def _find_taught(ledger: Ledger) -> frozenset[str]:
    return frozenset(teacher.experiment for entry in ledger.runs for teacher in entry.record.teachers if teacher.experiment)


def _build_row(entries: tuple[RunEntry, ...], taught: frozenset[str], resamples: int) -> SystemRow:
    record = entries[0].record
    notes: list[str] = []
    # without classes there is nothing to count: a dimensional system has no interval here
    predictions = _pool_predictions(entries, notes) if record.protocol.classes else None
    estimates = _estimate_metrics(entries)
    confusion = _sum_confusion([entry.record.confusion.get(SPLIT) for entry in entries])
    if predictions is not None:
        try:
            answers = read_answers(predictions, record.protocol.classes)
            _attach_intervals(estimates, bootstrap_metrics(answers, resamples=resamples), notes)
            confusion = count_confusion(answers) if confusion is None else confusion
        except DataError as fault:
            notes.append(f"no interval: {fault.problem}")
            predictions = None
    for entry in entries:
        for teacher in entry.record.teachers:
            notes.extend(_warn_of_teacher(teacher, entry.record))
    return SystemRow(
        experiment=record.experiment,
        identity=record.identity,
        role=name_role(record, taught),
        runs=entries,
        estimates=estimates,
        confusion=confusion,
        predictions=predictions,
        parameters=dict(record.parameters),
        validation_ua=_mean([entry.record.metrics.get("validation/ua", math.nan) for entry in entries]),
        notes=tuple(dict.fromkeys(notes)),
    )


def _estimate_metrics(entries: tuple[RunEntry, ...]) -> dict[str, Estimate]:
    prefix = f"{SPLIT}/"
    names = sorted({name for entry in entries for name in entry.record.metrics if name.startswith(prefix)})
    estimates = {}
    for name in names:
        values = np.array([entry.record.metrics.get(name, math.nan) for entry in entries], dtype=np.float64)
        known = values[np.isfinite(values)]
        reasons = [entry.record.undefined[name] for entry in entries if name in entry.record.undefined]
        std = float(known.std(ddof=1)) if len(known) > 1 else None
        estimates[name.removeprefix(prefix)] = Estimate(_mean(known), std, len(known), None, reasons[0] if reasons else "")
    return estimates


def _attach_intervals(estimates: dict[str, Estimate], intervals: dict[str, Interval], notes: list[str]) -> None:
    """Put the intervals beside the recorded values, unless a single run's record and predictions tell two stories."""
    for name in METRICS:
        told = estimates.get(name, Estimate(math.nan, reason="not recorded"))
        interval = intervals[name]
        if told.runs == 1 and abs(told.mean - interval.value) > _TOLERANCE:
            notes.append(f"no interval for {name}: the record says {told.mean:.4f}, predictions.csv {interval.value:.4f}")
            continue
        estimates[name] = Estimate(told.mean, told.std, told.runs, interval, told.reason)


def _pool_predictions(entries: tuple[RunEntry, ...], notes: list[str]) -> pd.DataFrame | None:
    parts = []
    for entry in entries:
        try:
            frame = read_predictions(entry.folder)
        except DataError as fault:
            notes.append(f"no interval: predictions.csv of {entry.name} is damaged ({fault.got})")
            return None
        if frame is None:
            notes.append(f"no interval: {entry.name} left no predictions.csv")
            return None
        frame = frame[frame["split"] == SPLIT]
        parts.append(frame.assign(fold=entry.record.protocol.fold, seed=entry.record.seed))
    return pd.concat(parts, ignore_index=True)


def _warn_of_teacher(teacher: TeacherRecord, record: RunRecord) -> list[str]:
    warnings = []
    if "unknown" in teacher.trained_on:
        warnings.append(f"which speakers its teacher {teacher.name} was trained on is unknown")
    if teacher.protocol_fingerprint is not None and teacher.protocol_fingerprint != record.protocol.fingerprint:
        warnings.append(f"its teacher {teacher.name} was trained under another protocol ({teacher.protocol_fingerprint})")
    return warnings


def _build_board(rows: list[SystemRow]) -> ProtocolBoard:
    entries = [entry for row in rows for entry in row.runs]
    first = entries[0].record
    folds = {entry.record.protocol.fold: entry.record.protocol for entry in reversed(entries)}
    protocols = tuple(folds[fold] for fold in sorted(folds))
    rows = [*rows, *_add_foreign_teachers(rows)]
    rows.sort(key=lambda row: (list(ROLES).index(row.role), row.experiment, row.identity))
    chances = [guess_chance(protocol, None) for protocol in protocols]
    if not any("wa" in chance for chance in chances):
        chances = [guess_chance(first.protocol, next((row.confusion for row in rows if row.confusion is not None), None))]
    chance = {name: _mean([part[name] for part in chances if name in part]) for name in ("ua", "wa")}
    notes = []
    if len({tuple(row.folds) for row in rows if row.runs}) > 1:
        notes.append("The rows do not all cover the same folds, and folds differ in difficulty: compare rows with equal folds.")
    return ProtocolBoard(first.corpus, first.protocol, protocols, tuple(rows), chance, tuple(notes))


def _add_foreign_teachers(rows: list[SystemRow]) -> list[SystemRow]:
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
        estimates = {}
        for key in sorted(metrics):
            values = [teacher.metrics.get(key, math.nan) for _, teacher in sisters]
            known = [value for value in values if math.isfinite(value)]
            std = float(np.std(known, ddof=1)) if len(known) > 1 else None
            estimates[key.removeprefix(f"{SPLIT}/")] = Estimate(_mean(known), std, len(known))
        alone = all(len(record.teachers) == 1 for record, _ in sisters)
        confusion = _sum_confusion([record.teacher_confusion.get(SPLIT) for record, _ in sisters]) if alone else None
        if confusion is not None:
            for metric, score in METRICS.items():
                estimates.setdefault(metric, Estimate(float(score(confusion)), runs=1))
        teacher = told[0][1]
        notes = ["no run of its own here: read from its students' records", *_warn_of_teacher(teacher, told[0][0])]
        made.append(SystemRow(name, "", "teacher", (), estimates, confusion, None, {"total": teacher.parameters}, notes=tuple(notes)))
    return made


def _sum_confusion(matrices: Sequence[list[list[int]] | None]) -> np.ndarray | None:
    known = [np.asarray(matrix, dtype=np.int64) for matrix in matrices if matrix is not None]
    return np.sum(known, axis=0) if known else None


def _mean(values: Sequence[float] | np.ndarray) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
