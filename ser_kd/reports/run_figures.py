"""The figures of one run, as they are written into its own folder right after training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ser_kd.contracts.records import RunRecord
from ser_kd.reports.figures import plot_confusion, plot_groups, plot_learning_curves, plot_recalls, plot_reliability
from ser_kd.reports.ledger import find_probability_columns, read_curves, read_predictions
from ser_kd.reports.style import save_figure


def write_run_figures(folder: Path, record: RunRecord) -> list[Path]:
    """Draw whatever a run folder's files allow and save it as PNG and SVG under ``figures/``.

    Confusion matrices of each split (and of the teacher), learning curves, recalls beside the teacher's, reliability, and
    UA by group; a missing file or metric leaves its figure out.

    Args:
        folder: The run folder with ``predictions.csv`` and ``logs/metrics.csv``.
        record: The run's record.

    Returns:
        The files written.

    Raises:
        DataError: If a file is damaged or the folder cannot be written.
    """
    figures = draw_run_figures(record, read_predictions(folder), read_curves(folder))
    return [path for name, figure in figures.items() for path in save_figure(figure, folder / "figures" / name)]


def draw_run_figures(record: RunRecord, predictions: pd.DataFrame | None, curves: pd.DataFrame | None) -> dict[str, Figure]:
    """Draw the figures of one run; file name without suffix -> figure."""
    classes = record.protocol.classes
    role = "distilled" if record.teachers else "alone"
    roles = {"student": role, "teacher": "teacher"}
    figures: dict[str, Figure] = {}
    counted = {split: counts for split, counts in record.confusion.items() if classes}
    for split, counts in counted.items():
        figures[f"confusion_{split}"] = plot_confusion(counts, classes, f"{record.experiment}, {split}", role)
    for split, counts in record.teacher_confusion.items():
        figures[f"teacher_confusion_{split}"] = plot_confusion(counts, classes, f"teacher, {split}", "teacher")
    if curves is not None:
        figures["learning_curves"] = plot_learning_curves(curves, record.epochs.get("best"), record.experiment)
    for split, counts in counted.items():
        both = {"student": counts}
        if split in record.teacher_confusion:
            both["teacher"] = record.teacher_confusion[split]
        figures[f"recalls_{split}"] = plot_recalls(both, classes, roles)
        sure = None if predictions is None else find_confidence(predictions[predictions["split"] == split], classes)
        if sure is not None:
            error = {"student": record.metrics.get(f"{split}/calibration_error", float("nan"))}
            figures[f"reliability_{split}"] = plot_reliability({"student": sure}, roles, calibration_errors=error)
        groups = {
            describe_group(name.removeprefix(f"{split}/ua_")): value
            for name, value in record.metrics.items()
            if name.startswith(f"{split}/ua_") and "=" in name
        }
        if groups:
            figures[f"groups_{split}"] = plot_groups({"student": groups}, roles, 1.0 / len(classes))
    return figures


def find_confidence(predictions: pd.DataFrame, classes: list[str]) -> tuple[NDArray, NDArray] | None:
    """Give the probability of each labelled clip's answer and whether it was right; None without finite probabilities."""
    columns = find_probability_columns(predictions, classes)
    rows = predictions[predictions["truth"] != ""]
    if columns is None or rows.empty:
        return None
    confidence = rows[columns].to_numpy(np.float64).max(1)
    if not np.isfinite(confidence).all():
        return None
    return confidence, (rows["truth"] == rows["prediction"]).to_numpy()


def describe_group(name: str) -> str:
    """Turn ``gender=female`` into ``gender: female``."""
    return name.replace("=", ": ").replace("_", " ")
