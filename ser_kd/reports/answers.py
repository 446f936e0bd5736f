"""Truth and answer of the clips of a split, as read from predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import DataError
from ser_kd.reports.confusion_metrics import METRICS, Floats
from ser_kd.reports.dimension_metrics import DIMENSION_METRICS, SUMS, sum_clips

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Truth and answer of N clips.

    A clip may stand here several times (several seeds); its copies are then resampled together.

    Args:
        truth: (N,) class indices; of ``DimensionalAnswers`` (N, 3) annotations.
        prediction: (N,) class indices; (N, 3) answers.
        speakers: (N,) speaker names.
        ids: (N,) utterance ids.
        classes: C.
    """

    truth: NDArray
    prediction: NDArray
    speakers: NDArray[np.str_]
    ids: NDArray[np.str_]
    classes: int

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of what is added up over clips: counts, rows true, columns predicted."""
        return self.classes, self.classes

    @property
    def metrics(self) -> Mapping[str, Callable[[NDArray], Floats]]:
        """Metric -> its function of what is added up."""
        return METRICS

    @property
    def strata(self) -> Integers:
        """(N,) within which clips are resampled where there are too few speakers: their true class."""
        return self.truth

    def add_to(self, units: Floats, rows: Integers) -> None:
        """Add each clip to its unit.

        Args:
            units: (U, *shape), changed in place.
            rows: (N,) the unit of each clip.
        """
        np.add.at(units, (rows, self.truth, self.prediction), 1.0)


@dataclass(frozen=True)
class DimensionalAnswers(Answers):
    """Annotated and answered arousal, dominance and valence of N clips; annotations are NaN where missing, answers where never learned."""

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of what is added up over clips: see ``dimension_metrics``."""
        return len(DIMENSIONS), SUMS

    @property
    def metrics(self) -> Mapping[str, Callable[[NDArray], Floats]]:
        """Metric -> its function of what is added up."""
        return DIMENSION_METRICS

    @property
    def strata(self) -> Integers:
        """All clips are of one stratum."""
        return np.zeros(len(self.truth), dtype=np.int64)

    def add_to(self, units: Floats, rows: Integers) -> None:
        """Add each clip's sums to its unit."""
        np.add.at(units, rows, sum_clips(self.prediction, self.truth))


def read_answers(predictions: pd.DataFrame, classes: Sequence[str], split: str = "test") -> Answers:
    """Take the labelled clips of one split out of a table of predictions.

    Args:
        predictions: As ``read_predictions`` gives them.
        classes: C names; without any the answers are arousal, dominance and valence.
        split: Which split.

    Raises:
        DataError: If a truth or prediction is none of the classes, or no labelled clip is left.
    """
    if not classes:
        return _read_dimensional_answers(predictions, split)
    rows = predictions[(predictions["split"] == split) & (predictions["truth"] != "")]
    places = {name: place for place, name in enumerate(classes)}
    strangers = sorted((set(rows["truth"]) | set(rows["prediction"])) - set(places))
    if strangers or rows.empty:
        raise DataError(
            f"The predictions of the {split} split do not fit the run's classes.",
            expected=f"labelled clips of {', '.join(classes)}",
            got=", ".join(strangers) or "no labelled clip",
            remedy="evaluate the run again: ser-kd evaluate",
        )
    return Answers(
        truth=np.array([places[name] for name in rows["truth"]], dtype=np.int64),
        prediction=np.array([places[name] for name in rows["prediction"]], dtype=np.int64),
        speakers=rows["speaker"].to_numpy(np.str_),
        ids=rows["id"].to_numpy(np.str_),
        classes=len(classes),
    )


def _read_dimensional_answers(predictions: pd.DataFrame, split: str) -> DimensionalAnswers:
    columns = [[f"{side}_{name}" for name in DIMENSIONS] for side in ("truth", "prediction")]
    rows = predictions[predictions["split"] == split]
    there = all(name in rows.columns for side in columns for name in side)
    rows = rows[rows[columns[0]].notna().any(axis=1)] if there else rows[:0]
    if rows.empty:
        raise DataError(
            f"The predictions of the {split} split have no arousal, dominance or valence.",
            expected=f"annotated clips with the columns {', '.join(columns[0] + columns[1])}",
            got="no annotated clip" if there else "no such columns",
            remedy="train the run again with protocol.targets=dimensions or both",
        )
    truth, prediction = (rows[side].to_numpy(np.float64) for side in columns)
    return DimensionalAnswers(truth, prediction, rows["speaker"].to_numpy(np.str_), rows["id"].to_numpy(np.str_), 0)


def read_seeds(predictions: pd.DataFrame, classes: Sequence[str], split: str = "test") -> tuple[Answers, ...]:
    """Take the labelled clips of one split, the folds of each seed together.

    A seed is a training of its own: its folds add up to one test set, but a clip under two seeds is not two clips.

    Args:
        predictions: With a column ``seed``.
        classes: C names.
        split: Which split.

    Returns:
        One set of answers per seed, by seed.

    Raises:
        DataError: As ``read_answers``.
    """
    parts = [part for _, part in predictions.groupby("seed")] or [predictions]
    return tuple(read_answers(part, classes, split) for part in parts)


def read_test_sets(predictions: pd.DataFrame, classes: Sequence[str], split: str = "test") -> tuple[Answers, ...]:
    """Take the labelled clips of one split as whole test sets, one or more, each with every fold.

    Where every seed was trained on the same folds, these are the seeds of ``read_seeds``. Where some folds have more seeds than others,
    a fold lends its runs to the sets in turn, so that folds count alike however many seeds they have, and so do the seeds of a fold.

    Args:
        predictions: With columns ``fold`` and ``seed``.
        classes: C names.
        split: Which split.

    Returns:
        K sets of answers, K the least common multiple of the folds' numbers of seeds.

    Raises:
        DataError: As ``read_answers``.

    Example:
        Three seeds on fold 0 and one on fold 1 make three sets: seeds 0, 1 and 2 of fold 0, each with the one run of fold 1.
    """
    seeds = {fold: sorted(part["seed"].unique()) for fold, part in predictions.groupby("fold")}
    if len(set(map(tuple, seeds.values()))) <= 1:
        return read_seeds(predictions, classes, split)
    runs = dict(iter(predictions.groupby(["fold", "seed"])))
    count = math.lcm(*map(len, seeds.values()))
    sets = [pd.concat([runs[fold, told[number % len(told)]] for fold, told in seeds.items()]) for number in range(count)]
    return tuple(read_answers(part, classes, split) for part in sets)


def count_confusion(answers: Answers) -> Integers:
    """Count the answers, rows true, columns predicted; (C, C)."""
    flat = np.bincount(answers.truth * answers.classes + answers.prediction, minlength=answers.classes**2)
    return flat.reshape(answers.classes, answers.classes)


def add_up(answers: Answers) -> Floats:
    """Add up all clips; ``answers.shape``."""
    total = np.zeros((1, *answers.shape))
    answers.add_to(total, np.zeros(len(answers.ids), dtype=np.int64))
    return total[0]


def list_seeds(answers: Answers | Sequence[Answers]) -> list[Answers]:
    """Give the answers of one training as a list of one."""
    return [answers] if isinstance(answers, Answers) else list(answers)
