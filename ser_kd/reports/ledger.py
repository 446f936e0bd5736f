"""Find and read what runs left behind under one folder; what is damaged is listed, never a crash."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import pandas as pd

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import DataError, SerKdError
from ser_kd.contracts.records import RunRecord
from ser_kd.contracts.robustness_record import ROBUSTNESS_FOLDER, RobustnessRecord
from ser_kd.contracts.sweep_record import SWEEP_FOLDER, SweepRecord

_NOT_SEARCHED = frozenset({"checkpoints", "evaluations", "figures", "wandb", "logs"})
_PROBABILITY = "probability_"
DIMENSION_COLUMNS = tuple(f"{side}_{name}" for side in ("truth", "prediction") for name in DIMENSIONS)
"""Columns of predictions that hold arousal, dominance and valence."""


@dataclass(frozen=True)
class RunEntry:
    """One run: its record and where it lies.

    Args:
        record: What the run says of itself, whatever its status.
        folder: The run folder.
        name: The folder relative to the runs root, with forward slashes.
    """

    record: RunRecord
    folder: Path
    name: str


@dataclass(frozen=True)
class SweepEntry:
    """One sweep: its record, and the folder below which its trials lie."""

    record: SweepRecord
    runs_root: Path


@dataclass(frozen=True)
class RobustnessEntry:
    """What a system answers in noise, and where that lies."""

    record: RobustnessRecord
    path: Path


@dataclass(frozen=True)
class LedgerFault:
    """A file that should belong to a run and cannot be used.

    Args:
        path: The file or folder, relative to the runs root.
        problem: What is wrong with it, in one line.
    """

    path: str
    problem: str


@dataclass(frozen=True)
class Ledger:
    """All runs under one root, sorted by experiment, identity, fold and seed.

    Args:
        root: The folder that was searched.
        runs: Every readable run: finished, failed, running and stopped, trials of sweeps among them.
        faults: What could not be read.
        sweeps: Every readable sweep, by name.
        robustness: Every readable record of robustness.
    """

    root: Path
    runs: tuple[RunEntry, ...]
    faults: tuple[LedgerFault, ...] = ()
    sweeps: tuple[SweepEntry, ...] = ()
    robustness: tuple[RobustnessEntry, ...] = ()

    def with_status(self, status: str) -> tuple[RunEntry, ...]:
        """Give the runs that are ``finished``, ``failed`` or ``running``; a killed run still says ``running``."""
        return tuple(entry for entry in self.runs if entry.record.status == status)

    def without_trials(self) -> Ledger:
        """Leave out the runs that are no more than trials of sweeps."""
        return replace(self, runs=tuple(entry for entry in self.runs if not entry.record.sweep))

    def experiments(self) -> list[str]:
        """Give the names of all experiments, sorted."""
        return sorted({entry.record.experiment for entry in self.runs})

    def select(self, patterns: Sequence[str]) -> Ledger:
        """Keep the runs and sweeps whose experiment fits one of the patterns.

        Args:
            patterns: Shell patterns such as ``wav_to_mfcc/*``; none keeps everything.
        """
        if not patterns:
            return self

        def fits(entry: RunEntry | SweepEntry | RobustnessEntry) -> bool:
            return any(fnmatchcase(entry.record.experiment, pattern) for pattern in patterns)

        robustness = tuple(filter(fits, self.robustness))
        return replace(self, runs=tuple(filter(fits, self.runs)), sweeps=tuple(filter(fits, self.sweeps)), robustness=robustness)


def find_runs(root: Path) -> Ledger:
    """Read every ``record.json`` below a folder, and every sweep's record.

    A seed folder with a configuration but without a record (stopped before it wrote one) is a fault, as is a record
    that is no JSON, of another schema version, or holds values of the wrong kind.

    Raises:
        DataError: If the folder does not exist.
    """
    if not root.is_dir():
        raise DataError(
            "There is no such folder of runs.",
            expected="a folder that `ser-kd train` or `ser-kd demo` wrote",
            got=str(root),
            remedy="name it: ser-kd report path/to/runs, or train something first: ser-kd demo",
        )
    runs: list[RunEntry] = []
    faults: list[LedgerFault] = []
    sweeps: list[SweepEntry] = []
    robustness: list[RobustnessEntry] = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _NOT_SEARCHED)
        folder = Path(place)
        name = folder.relative_to(root).as_posix()
        if folder.name == SWEEP_FOLDER:
            sweeps += _read_sweeps(folder, name, files, faults)
        elif folder.name == ROBUSTNESS_FOLDER:
            robustness += _read_robustness(folder, name, files, faults)
        elif "record.json" in files:
            try:
                runs.append(RunEntry(_read_record(folder / "record.json"), folder, name))
            except (SerKdError, OSError, UnicodeDecodeError, AttributeError) as fault:
                faults.append(LedgerFault(f"{name}/record.json", _in_one_line(fault)))
        elif "config.yaml" in files and folder.name.startswith("seed="):
            faults.append(LedgerFault(name, "no record.json: the run was stopped before it wrote one; train it again"))
    runs.sort(key=lambda entry: (entry.record.experiment, entry.record.identity, entry.record.protocol.fold, entry.record.seed, entry.name))
    return Ledger(root, tuple(runs), tuple(faults), tuple(sorted(sweeps, key=lambda entry: entry.record.name)), tuple(robustness))


def read_predictions(folder: Path) -> pd.DataFrame | None:
    """Read a run's ``predictions.csv``.

    Names stay text as written (speaker ``01``, a class called ``none``); only probabilities, and truth and prediction of dimensions,
    become numbers, NaN where a clip is not annotated or a dimension was never learned. A run without classes has the columns
    ``truth_<dimension>`` and ``prediction_<dimension>`` instead of ``truth`` and ``prediction``.

    Returns:
        One row per clip, or None where the run wrote no such file.

    Raises:
        DataError: If the file is damaged or misses a column.
    """
    path = folder / "predictions.csv"
    if not path.is_file():
        return None
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        answers = (
            list(DIMENSION_COLUMNS) if DIMENSION_COLUMNS[0] in frame.columns and "truth" not in frame.columns else ["truth", "prediction"]
        )
        missing = [name for name in ("split", "id", "speaker", *answers) if name not in frame.columns]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}")
        for name in frame.columns:
            if str(name).startswith(_PROBABILITY) or name in DIMENSION_COLUMNS:
                frame[name] = pd.to_numeric(frame[name])
    except (ValueError, OSError) as fault:  # pandas' own errors are ValueErrors
        raise DataError(
            f"{path} cannot be read.",
            expected="columns split, id, speaker, truth, prediction, probability_<class>",
            got=_in_one_line(fault),
            remedy="evaluate the run again: ser-kd evaluate",
        ) from fault
    return frame


def read_curves(folder: Path) -> pd.DataFrame | None:
    """Read a run's ``logs/metrics.csv`` and draw its sparse rows together to one row per epoch.

    Training values are averaged over the epoch's rows; of all others the last one stands. What was logged when the chosen
    checkpoint was judged after training is no epoch and is left out.

    Returns:
        Indexed by epoch, counted from 1; None where nothing was logged.

    Raises:
        DataError: If the file is damaged.
    """
    path = folder / "logs" / "metrics.csv"
    if not path.is_file():
        return None
    try:
        frame = pd.read_csv(path).apply(pd.to_numeric)
        if "epoch" not in frame.columns:
            raise ValueError("no column epoch")
    except pd.errors.EmptyDataError:
        return None
    except (ValueError, TypeError, OSError) as fault:
        raise DataError(
            f"{path} cannot be read.",
            expected="the columns epoch, step and logged values",
            got=_in_one_line(fault),
            remedy="the curves are left out; train the run again to have them",
        ) from fault
    frame = frame.dropna(subset=["epoch"])
    columns = [str(name) for name in frame.columns if name not in ("epoch", "step")]
    if frame.empty or not columns:
        return None
    trained = [name for name in columns if name.startswith("train/")]
    if trained:
        frame = frame[frame["epoch"].isin(frame.loc[frame[trained].notna().any(axis=1), "epoch"])]
    how = {name: "mean" if name.startswith("train/") else "last" for name in columns}
    curves = frame.groupby(frame["epoch"].astype(int) + 1)[columns].agg(how).dropna(axis=1, how="all")
    return curves if len(curves.columns) else None


def find_probability_columns(frame: pd.DataFrame, classes: Iterable[str]) -> list[str] | None:
    """Give the probability columns in class order, or None where one is missing."""
    columns = [f"{_PROBABILITY}{name}" for name in classes]
    return columns if columns and all(name in frame.columns for name in columns) else None


def _read_sweeps(folder: Path, name: str, files: Iterable[str], faults: list[LedgerFault]) -> list[SweepEntry]:
    found = []
    for file in sorted(file for file in files if file.endswith(".json")):
        try:
            record = SweepRecord.from_json((folder / file).read_text(encoding="utf-8"), source=file)
            found.append(SweepEntry(record, folder.parent))
        except (SerKdError, OSError, UnicodeDecodeError, AttributeError) as fault:
            faults.append(LedgerFault(f"{name}/{file}", _in_one_line(fault)))
    return found


def _read_robustness(folder: Path, name: str, files: Iterable[str], faults: list[LedgerFault]) -> list[RobustnessEntry]:
    found = []
    for file in sorted(file for file in files if file.endswith(".json")):
        try:
            record = RobustnessRecord.from_json((folder / file).read_text(encoding="utf-8"), source=file)
            found.append(RobustnessEntry(record, folder / file))
        except (SerKdError, OSError, UnicodeDecodeError, AttributeError) as fault:
            faults.append(LedgerFault(f"{name}/{file}", _in_one_line(fault)))
    return found


def _read_record(path: Path) -> RunRecord:
    record = RunRecord.from_json(path.read_text(encoding="utf-8"), source=path.name)
    problem = _find_wrong_kind(record)
    if problem:
        raise DataError(f"{path.name} holds a value of the wrong kind: {problem}.")
    return record


def _find_wrong_kind(record: RunRecord) -> str | None:
    protocol = record.protocol
    for name in ("experiment", "identity", "status", "corpus"):
        if not isinstance(getattr(record, name), str):
            return f"{name} is no text"
    if not (_is_count(protocol.fold) and _is_count(record.seed)):
        return "fold or seed is no whole number"
    if not all(isinstance(name, str) for name in [protocol.fingerprint, *protocol.classes]):
        return "the fingerprint or a class is no text"
    numbers = {**record.metrics, **record.parameters, **record.epochs, **record.timings}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"{name} is no number"
        # What the panel calls a share can never lie outside [0, 1]; a figure that does would bend every axis.
        if name.endswith(("/ua", "/wa", "/f1_macro", "/f1_weighted")) and not (math.isnan(value) or 0.0 <= value <= 1.0):
            return f"{name} = {value:g} lies outside [0, 1]"
    size = len(protocol.classes)
    for name, matrix in {**record.confusion, **{f"teacher {k}": v for k, v in record.teacher_confusion.items()}}.items():
        square = isinstance(matrix, list) and len(matrix) == size and all(isinstance(row, list) and len(row) == size for row in matrix)
        if not square or not all(_is_count(cell) for row in matrix for cell in row):
            return f"the confusion matrix of {name} is not {size} x {size} counts"
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _in_one_line(fault: Exception) -> str:
    return "; ".join(part.strip() for part in str(fault).splitlines() if part.strip()) or type(fault).__name__
