"""Truth and answer of the clips of a split, as read from predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ser_kd.contracts.errors import DataError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Truth and answer of N clips.

    A clip may stand here several times (several seeds); its copies are then resampled together.

    Args:
        truth: (N,) class indices.
        prediction: (N,) class indices.
        speakers: (N,) speaker names.
        ids: (N,) utterance ids.
        classes: C.
    """

    truth: Integers
    prediction: Integers
    speakers: NDArray[np.str_]
    ids: NDArray[np.str_]
    classes: int


def read_answers(predictions: pd.DataFrame, classes: Sequence[str], split: str = "test") -> Answers:
    """Take the labelled clips of one split out of a table of predictions.

    Raises:
        DataError: If a truth or prediction is none of the classes, or no labelled clip is left.
    """
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


def list_seeds(answers: Answers | Sequence[Answers]) -> list[Answers]:
    """Give the answers of one training as a list of one."""
    return [answers] if isinstance(answers, Answers) else list(answers)
