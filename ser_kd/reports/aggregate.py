"""Group runs into systems and systems into boards, one board per protocol; nothing is averaged across protocols."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.records import ProtocolRecord, RunRecord
from ser_kd.reports.answers import count_confusion, read_test_sets
from ser_kd.reports.ledger import Ledger, RunEntry, read_predictions
from ser_kd.reports.significance import RESAMPLES, Interval, bootstrap_metrics
from ser_kd.reports.systems import (
    ROLES,
    SPLIT,
    Estimate,
    ProtocolBoard,
    SystemRow,
    average_within_folds,
    estimate_runs,
    mean_of_known,
    name_main_metric,
    sum_confusion,
)
from ser_kd.reports.teacher_rows import make_ensembles, make_foreign_teachers, warn_of_teacher

_TOLERANCE = 1e-3


def build_boards(ledger: Ledger, *, resamples: int = RESAMPLES) -> list[ProtocolBoard]:
    """Group the finished runs of a ledger.

    Runs are one system where experiment, identity and protocol fingerprint are equal; systems share a board where the
    fingerprint is equal. The board with the most runs comes first. Trials of sweeps are left out: they are many configurations of one
    experiment, tried on validation.
    """
    ledger = ledger.without_trials()
    taught = _find_taught(ledger)
    systems: dict[tuple[str, str, str], list[RunEntry]] = {}
    for entry in ledger.with_status("finished"):
        record = entry.record
        systems.setdefault((record.protocol.fingerprint, record.experiment, record.identity), []).append(entry)
    boards: dict[str, list[SystemRow]] = {}
    for (fingerprint, _, _), entries in systems.items():
        boards.setdefault(fingerprint, []).append(summarise_system(entries, taught=taught, resamples=resamples))
    built = [_build_board(rows) for rows in boards.values()]
    return sorted(built, key=lambda board: (-sum(len(row.runs) for row in board.rows), board.protocol.name, board.protocol.fingerprint))


def summarise_system(
    runs: Sequence[RunEntry], *, split: str = SPLIT, taught: frozenset[str] = frozenset(), resamples: int = RESAMPLES
) -> SystemRow:
    """Draw the finished runs of one system together: the one place where folds and seeds become figures.

    Each metric's estimate holds the mean and standard deviation (n - 1) over runs, as their records say, and an interval
    whose value is pooled: the predictions of all folds of a seed count as one test set, averaged over seeds. Where folds have
    not the same seeds, those of a fold are averaged first (see ``read_test_sets``), and mean and deviation are over folds.

    Args:
        runs: Finished runs of one experiment, identity and protocol fingerprint; at least one.
        split: ``test`` or ``validation``.
        taught: Experiments that other runs name as their teacher.
        resamples: Bootstrap resamples behind each interval.

    Returns:
        The system; where a run left no usable predictions it has no interval, and its notes say why.
    """
    record = runs[0].record
    notes: list[str] = []
    with_classes = bool(record.protocol.classes)
    predictions = _pool_predictions(runs, split, notes) if with_classes or record.protocol.learns_dimensions else None
    estimates = _estimate_metrics(runs, split)
    confusion = sum_confusion([entry.record.confusion.get(split) for entry in runs]) if with_classes else None
    if predictions is not None:
        try:
            if with_classes:
                seeds = read_test_sets(predictions, record.protocol.classes, split)
                _attach_intervals(estimates, bootstrap_metrics(seeds, resamples=resamples), notes)
                confusion = np.sum([count_confusion(answers) for answers in seeds], axis=0) if confusion is None else confusion
            if record.protocol.learns_dimensions:
                _attach_intervals(estimates, bootstrap_metrics(read_test_sets(predictions, (), split), resamples=resamples), notes)
        except DataError as fault:
            notes.append(f"no interval: {fault.problem}")
            predictions = None
    if _is_uneven(runs):
        notes.append("its folds do not have the same seeds: the seeds of a fold are averaged first, so that folds count alike")
    if record.protocol.withheld:
        notes.append(f"trained without speakers {', '.join(record.protocol.withheld)}, to answer for them unseen")
    for entry in runs:
        for teacher in entry.record.teachers:
            notes.extend(warn_of_teacher(teacher, entry.record))
    return SystemRow(
        experiment=record.experiment,
        identity=record.identity,
        role=name_role(record, taught),
        runs=tuple(runs),
        estimates=estimates,
        confusion=confusion,
        predictions=predictions,
        parameters=dict(record.parameters),
        validation_score=mean_of_known(
            [entry.record.metrics.get(f"validation/{name_main_metric(record.protocol)}", math.nan) for entry in runs]
        ),
        notes=tuple(dict.fromkeys(notes)),
    )


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

    UA: 1 / C, whatever class is guessed how often. WA: the share of the largest class in the test split. CCC: 0, whatever one value.
    """
    chance = {"ua": 1.0 / len(protocol.classes)} if protocol.classes else {}
    if protocol.learns_dimensions:
        chance["ccc_mean"] = 0.0
    counts = protocol.class_counts.get(SPLIT) or ([] if confusion is None else confusion.sum(1).tolist())
    if sum(counts):
        chance["wa"] = max(counts) / sum(counts)
    return chance


def _find_taught(ledger: Ledger) -> frozenset[str]:
    return frozenset(teacher.experiment for entry in ledger.runs for teacher in entry.record.teachers if teacher.experiment)


def _is_uneven(runs: Sequence[RunEntry]) -> bool:
    folds: dict[int, set[int]] = {}
    for entry in runs:
        folds.setdefault(entry.record.seed, set()).add(entry.record.protocol.fold)
    return len(set(map(frozenset, folds.values()))) > 1


def _estimate_metrics(entries: Sequence[RunEntry], split: str) -> dict[str, Estimate]:
    prefix = f"{split}/"
    names = sorted({name for entry in entries for name in entry.record.metrics if name.startswith(prefix)})
    estimates = {}
    for name in names:
        values = [entry.record.metrics.get(name, math.nan) for entry in entries]
        values = average_within_folds(values, [entry.record.protocol.fold for entry in entries])
        reasons = [entry.record.undefined[name] for entry in entries if name in entry.record.undefined]
        estimates[name.removeprefix(prefix)] = estimate_runs(values, reasons[0] if reasons else "")
    return estimates


def _attach_intervals(estimates: dict[str, Estimate], intervals: dict[str, Interval], notes: list[str]) -> None:
    """Put the intervals beside the recorded values, unless a single run's record and predictions tell two stories."""
    for name in intervals:
        told = estimates.get(name, Estimate(math.nan, reason="not recorded"))
        interval = intervals[name]
        if told.runs == 1 and abs(told.mean - interval.value) > _TOLERANCE:
            notes.append(f"no interval for {name}: the record says {told.mean:.4f}, predictions.csv {interval.value:.4f}")
            continue
        estimates[name] = Estimate(told.mean, told.std, told.runs, interval, told.reason)


def _pool_predictions(entries: Sequence[RunEntry], split: str, notes: list[str]) -> pd.DataFrame | None:
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
        frame = frame[frame["split"] == split]
        parts.append(frame.assign(fold=entry.record.protocol.fold, seed=entry.record.seed))
    return pd.concat(parts, ignore_index=True)


def _build_board(rows: list[SystemRow]) -> ProtocolBoard:
    entries = [entry for row in rows for entry in row.runs]
    first = entries[0].record
    folds = {entry.record.protocol.fold: entry.record.protocol for entry in reversed(entries)}
    protocols = tuple(folds[fold] for fold in sorted(folds))
    rows = [*rows, *make_foreign_teachers(rows), *make_ensembles(rows)]
    rows.sort(key=lambda row: (list(ROLES).index(row.role), row.experiment, row.identity))
    chances = [guess_chance(protocol, None) for protocol in protocols]
    if not any("wa" in chance for chance in chances):
        chances = [guess_chance(first.protocol, next((row.confusion for row in rows if row.confusion is not None), None))]
    chance = {
        name: mean_of_known([part[name] for part in chances if name in part])
        for name in ("ua", "wa", "ccc_mean")
        if any(name in part for part in chances)
    }
    notes = []
    if len({tuple(row.folds) for row in rows if row.runs}) > 1:
        notes.append("The rows do not all cover the same folds, and folds differ in difficulty: compare rows with equal folds.")
    return ProtocolBoard(first.corpus, first.protocol, protocols, tuple(rows), chance, tuple(notes))
