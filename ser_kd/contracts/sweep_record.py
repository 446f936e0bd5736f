"""What a sweep leaves behind as plain data: its parameters, its trials, and which is best."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ser_kd.contracts.record_json import SCHEMA_VERSION, format_record, restore_record

SWEEP_FOLDER = "sweeps"
"""Where the records of sweeps lie, within the runs root: ``sweeps/<name>.json`` (see ``name_sweep_file``)."""

REPEATS = ("seed", "fold")
"""Parameters that repeat a trial instead of changing what is trained."""

FINISHED = "finished"


@dataclass
class SweptParameter:
    """One key that trials differ in.

    Args:
        name: Key of the training's configuration.
        values: What it can be, in the file's order; empty where it is a continuous range.
        low: Least value of a range; None where it is a choice.
        high: Greatest value of a range; None where it is a choice.
        is_log: Whether its logarithm is drawn.
    """

    name: str
    values: list[Any] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    is_log: bool = False


@dataclass
class SweepTrial:
    """One trial.

    Args:
        number: Its number in the sweep, from 0.
        parameters: Key -> value.
        state: ``finished``, ``stopped early``, ``failed``, ``running``, or ``interrupted``: its process ended, and the next session of
            the sweep goes on with it.
        value: The metric; NaN where the trial is not finished.
        epochs: Epochs after which the metric was last told; None where it never was.
        run: Its run folder, relative to the runs root; empty where it is not known.
        message: Why it failed, in one line.
    """

    number: int
    parameters: dict[str, Any]
    state: str
    value: float = math.nan
    epochs: int | None = None
    run: str = ""
    message: str = ""


@dataclass
class SweepRecord:
    """Everything a report needs to know of a sweep.

    Args:
        name: Its name.
        experiment: The experiment whose parameters it tries.
        method: ``grid``, ``random`` or ``bayes``.
        metric: Name of a metric of validation.
        maximize: Whether more is better.
        parameters: What trials differ in.
        planned: Trials there will be in all.
        trials: Those begun so far, by number.
        best: Number of the best trial (see ``find_best_trial``); None where none is finished.
        early_terminate: ``hyperband``, ``median`` or ``none``.
        command: The command line that goes on with it.
        best_command: The command line that trains as the best trial was; empty where none is finished.
        updated_at: ISO time, UTC.
        storage: Where its trials are kept, without a password, if not in the place that its name gives.
    """

    name: str
    experiment: str
    method: str
    metric: str
    maximize: bool
    parameters: list[SweptParameter]
    planned: int
    trials: list[SweepTrial] = field(default_factory=list)
    best: int | None = None
    early_terminate: str = "none"
    command: str = ""
    best_command: str = ""
    updated_at: str = ""
    storage: str = ""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Write the record as strict JSON; NaN becomes null."""
        return format_record(asdict(self))

    @classmethod
    def from_json(cls, text: str, source: str = "sweep.json") -> SweepRecord:
        """Read the record back; null values become NaN, unknown keys of later versions are refused.

        Args:
            text: The file's text.
            source: Named in errors.

        Raises:
            DataError: If the text is no JSON, of another schema version, or misses a key.
        """
        again = "run the sweep's command again, which repeats no trial"
        return restore_record(cls, text, source, holds="a sweep", remedy=again, again=again, restore=_restore)


def name_sweep_file(name: str, storage: str = "") -> str:
    """Give a sweep's file name without suffix, below ``sweeps/``.

    Args:
        name: Its name; a slash becomes a hyphen.
        storage: Where its trials are kept, if not in the place that its name gives: sweeps of one name in several storages are several
            sweeps, whose records must not replace each other.
    """
    plain = name.replace("/", "-")
    return f"{plain}-{hashlib.sha256(f'{name} {storage}'.encode()).hexdigest()[:8]}" if storage else plain


def key_of_point(parameters: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Give what tells a point from others: its parameters, less those that repeat it."""
    return tuple(sorted((name, repr(value)) for name, value in parameters.items() if name not in REPEATS))


def find_best_trial(trials: Sequence[SweepTrial], maximize: bool) -> SweepTrial | None:
    """Find the best finished trial; where seeds or folds are swept over, the first trial of the best point.

    A lucky seed is no better point: points are compared by their mean over repetitions, and only those with the most
    finished repetitions compete. Of equals the first wins.

    Args:
        trials: By number.
        maximize: Whether more is better.

    Returns:
        None where no trial is finished.
    """
    points: dict[Any, list[SweepTrial]] = {}
    for trial in trials:
        if trial.state == FINISHED and math.isfinite(trial.value):
            points.setdefault(key_of_point(trial.parameters), []).append(trial)
    most = max(map(len, points.values()), default=0)
    whole = [repeated for repeated in points.values() if len(repeated) == most]
    sign = 1.0 if maximize else -1.0
    best = max(whole, key=lambda repeated: sign * statistics.fmean(trial.value for trial in repeated), default=None)
    return best[0] if best else None


def _restore(data: dict[str, Any]) -> dict[str, Any]:
    parameters = [SweptParameter(**part) for part in data["parameters"]]
    trials = [SweepTrial(**{**trial, "value": math.nan if trial["value"] is None else trial["value"]}) for trial in data["trials"]]
    names = {parameter.name for parameter in parameters}
    for trial in trials:
        if isinstance(trial.value, bool) or not isinstance(trial.value, (int, float)):
            raise TypeError(f"trial {trial.number} has the value {trial.value!r}, which is no number")
        if trial.parameters.keys() != names:
            raise KeyError(f"trial {trial.number} has the parameters {sorted(trial.parameters)}, the sweep {sorted(names)}")
    if data["best"] is not None and data["best"] not in {trial.number for trial in trials}:
        raise KeyError(f"the best trial is {data['best']}, which is not there")
    return {**data, "parameters": parameters, "trials": trials}
