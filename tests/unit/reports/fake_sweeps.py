"""Sweep records as ``ser-kd sweep`` leaves them, made from a formula."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from ser_kd.contracts.sweep_record import SWEEP_FOLDER, SweepRecord, SweepTrial, SweptParameter, find_best_trial, name_sweep_file

T, ALPHA, BETA, SEED = "objective.temperature", "objective.alpha", "objective.beta", "seed"


def make_sweep(values: dict[str, list[Any]] | None = None, name: str = "demo/small", **changes: Any) -> SweepRecord:
    """A whole grid; the metric falls with the distance from T = 2, alpha = 0.5, and moves by the seed."""
    grid = values or {T: [1.0, 2.0, 4.0], ALPHA: [0.1, 0.5], BETA: [0.0, 1.0]}
    trials = []
    for number, point in enumerate(itertools.product(*grid.values())):
        parameters = dict(zip(grid, point, strict=True))
        value = 0.5 - 0.05 * abs(math.log2(parameters.get(T, 2.0)) - 1) - 0.1 * abs(parameters.get(ALPHA, 0.5) - 0.5)
        value += 0.01 * parameters.get(BETA, 0.0) + 0.02 * (parameters.get(SEED, 0) - 1)
        run = f"demo/distilled/{number:012d}/fold=0/seed={parameters.get(SEED, 0)}"
        trials.append(SweepTrial(number, parameters, "finished", round(value, 4), 12, run))
    parameters = [SweptParameter(name, values) for name, values in grid.items()]
    return complete(SweepRecord(name, "demo/distilled", "grid", "validation/ua", True, parameters, len(trials), trials), **changes)


def complete(record: SweepRecord, **changes: Any) -> SweepRecord:
    for key, value in changes.items():
        setattr(record, key, value)
    best = find_best_trial(record.trials, record.maximize)
    record.best, record.best_command = (best.number, "ser-kd train experiments=demo/distilled") if best else (None, "")
    return record


def write_sweep(root: Path, record: SweepRecord) -> Path:
    path = root / SWEEP_FOLDER / f"{name_sweep_file(record.name)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.to_json())
    return path
