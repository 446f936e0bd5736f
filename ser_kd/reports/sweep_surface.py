"""What a sweep's trials say of its parameters: points, their spread over repetitions, and cells of two parameters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ser_kd.contracts.sweep_record import FINISHED, REPEATS, SweepRecord, SweepTrial, SweptParameter, key_of_point


@dataclass(frozen=True)
class Point:
    """One combination of parameters, trained once or, with other seeds or folds, several times.

    Args:
        parameters: Key -> value, without seed and fold.
        values: The metric of each finished repetition.
        unfinished: Repetitions that were stopped early, failed or are running.
    """

    parameters: Mapping[str, Any]
    values: tuple[float, ...]
    unfinished: int

    @property
    def mean(self) -> float:
        """The mean over finished repetitions; NaN where none is finished."""
        return statistics.fmean(self.values) if self.values else math.nan


@dataclass(frozen=True)
class Cell:
    """Several points at one place of a table or axis.

    Args:
        mean: Mean of the points' means; NaN where none is finished.
        std: Standard deviation (n - 1) of all finished trials here; None for fewer than two.
        trials: Finished trials behind it.
        unfinished: Trials here that have no value.
        points: Points with a finished trial.
    """

    mean: float
    std: float | None
    trials: int
    unfinished: int
    points: int


def gather_points(record: SweepRecord) -> list[Point]:
    """Bring the trials that differ in nothing but seed or fold together, in the order of their first."""
    groups: dict[Any, list[SweepTrial]] = {}
    for trial in record.trials:
        groups.setdefault(key_of_point(trial.parameters), []).append(trial)
    points = []
    for trials in groups.values():
        values = tuple(trial.value for trial in trials if trial.state == FINISHED and math.isfinite(trial.value))
        shown = {name: value for name, value in trials[0].parameters.items() if name not in REPEATS}
        points.append(Point(shown, values, len(trials) - len(values)))
    return points


def list_axes(record: SweepRecord) -> list[SweptParameter]:
    """List the parameters that change what is trained and have more than one value."""
    return [part for part in record.parameters if part.name not in REPEATS and (part.low is not None or len(part.values) > 1)]


def is_choice(parameter: SweptParameter) -> bool:
    """Tell whether a parameter's values can be counted."""
    return bool(parameter.values)


def pool(points: Sequence[Point]) -> Cell:
    """Put points together."""
    values = [value for point in points for value in point.values]
    means = [point.mean for point in points if point.values]
    return Cell(
        mean=statistics.fmean(means) if means else math.nan,
        std=statistics.stdev(values) if len(values) > 1 else None,
        trials=len(values),
        unfinished=sum(point.unfinished for point in points),
        points=len(means),
    )


def select(points: Sequence[Point], **wanted: Any) -> list[Point]:
    """Give the points that have certain values; keys with dots come as ``**{name: value}``."""
    return [point for point in points if all(point.parameters.get(name) == value for name, value in wanted.items())]


def measure_noise(points: Sequence[Point]) -> tuple[float, int] | None:
    """Measure how far repetitions of one point lie apart.

    Returns:
        The standard deviation within points (pooled, n - 1 each) and how many points it comes from; None where no point was
        repeated.
    """
    repeated = [point.values for point in points if len(point.values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if not freedom:
        return None
    squares = sum((len(values) - 1) * statistics.variance(values) for values in repeated)
    return math.sqrt(squares / freedom), len(repeated)


def estimate_sampling_error(share: float, clips: int) -> float:
    """Estimate how far a share of right answers moves by the draw of clips alone: ``sqrt(p (1 - p) / n)``."""
    return math.sqrt(max(share * (1.0 - share), 0.0) / clips) if clips else math.nan
