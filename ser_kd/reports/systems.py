"""What a report compares: systems, their estimates, and the board of one protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ser_kd.contracts.records import ProtocolRecord
from ser_kd.reports.ledger import RunEntry
from ser_kd.reports.significance import Interval

ROLES = {"teacher": "teacher", "alone": "student alone", "distilled": "student distilled"}
"""Role of a system -> how it is called where a reader sees it."""

SPLIT = "test"


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
        validation_score: Mean of the main metric (see ``name_main_metric``) on validation, by which a system may be chosen; NaN where
            unknown.
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
    validation_score: float = math.nan
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

    @property
    def main_metric(self) -> str:
        """By which its systems are told apart: ``ua``, or ``ccc_mean`` where there are no classes."""
        return name_main_metric(self.protocol)


MAIN_NAMES = {"ua": "UA", "ccc_mean": "mean CCC"}


def name_main_metric(protocol: ProtocolRecord) -> str:
    """Name the metric by which systems of a protocol are told apart: ``ua``, or ``ccc_mean`` where there are no classes."""
    return "ua" if protocol.classes or not protocol.learns_dimensions else "ccc_mean"


def sum_confusion(matrices: Sequence[list[list[int]] | None]) -> np.ndarray | None:
    """Add up (C, C) counts; None where there are none."""
    known = [np.asarray(matrix, dtype=np.int64) for matrix in matrices if matrix is not None]
    return np.sum(known, axis=0) if known else None


def estimate_runs(values: Sequence[float] | np.ndarray, reason: str = "") -> Estimate:
    """Estimate a metric from one value per run; NaN values are left out."""
    known = [float(value) for value in values if math.isfinite(value)]
    std = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Estimate(mean_of_known(known), std, len(known), None, reason)


def average_within_folds(values: Sequence[float], folds: Sequence[int]) -> list[float]:
    """Give one value per fold, the mean over its seeds, where folds have not equally many; else the values as they are."""
    by_fold = [[value for value, at in zip(values, folds, strict=True) if at == fold] for fold in sorted(set(folds))]
    return [mean_of_known(part) for part in by_fold] if len(set(map(len, by_fold))) > 1 else list(values)


def mean_of_known(values: Sequence[float] | np.ndarray) -> float:
    """Give the mean of the finite values; NaN where there is none."""
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
