"""The CSV log of a run, which an interruption does not shorten."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger


class ResumableCsvLogger(CSVLogger):
    """Lightning's CSV logger, which deletes an earlier ``metrics.csv``, but keeps what was logged before a checkpoint.

    Args:
        folder: Run folder; the file is ``logs/metrics.csv``.
        resume_step: Optimizer steps of the checkpoint from which training goes on. Rows of later steps are made anew and therefore
            dropped; None begins a new log.
    """

    def __init__(self, folder: Path, resume_step: int | None = None) -> None:
        super().__init__(folder, name="logs", version="")
        self._earlier = [] if resume_step is None else _read_rows(folder / "logs" / "metrics.csv", resume_step)

    @property
    def experiment(self) -> Any:
        """The writer; the earlier rows are its first."""
        is_new = self._experiment is None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
            writer = super().experiment
        if is_new and self._earlier:
            writer.metrics = [*self._earlier, *writer.metrics]
            writer.save()
        return writer


def _read_rows(path: Path, resume_step: int) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # a row that was cut off by the interruption has no step
    return [row for row in rows if (row.get("step") or "").isdecimal() and int(row["step"]) < resume_step]
