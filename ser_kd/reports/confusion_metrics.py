"""Metrics of confusion matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def unweighted_accuracy(confusion: NDArray) -> Floats:
    """Average the recall over the classes that have clips.

    A class without a clip is left out of the mean and does not count as 0; without any clip the answer is NaN.

    Args:
        confusion: (..., C, C) counts, rows true, columns predicted.

    Returns:
        (...) in [0, 1].
    """
    recalls = class_recalls(confusion)
    known = ~np.isnan(recalls)
    return divide_known(np.where(known, recalls, 0.0).sum(-1), known.sum(-1))


def class_recalls(confusion: NDArray) -> Floats:
    """Give the share of each class's clips that was found; (..., C, C) -> (..., C), NaN for a class without a clip."""
    return divide_known(np.diagonal(confusion, axis1=-2, axis2=-1), np.sum(confusion, axis=-1))


def weighted_accuracy(confusion: NDArray) -> Floats:
    """Give the share of all clips that was found; (..., C, C) -> (...)."""
    return divide_known(np.trace(confusion, axis1=-2, axis2=-1), np.sum(confusion, axis=(-2, -1)))


def f1_macro(confusion: NDArray) -> Floats:
    """Average F1 over the classes that occur or are predicted (scikit-learn's default); (..., C, C) -> (...)."""
    scores = _class_f1(confusion)
    known = ~np.isnan(scores)
    return divide_known(np.where(known, scores, 0.0).sum(-1), known.sum(-1))


def f1_weighted(confusion: NDArray) -> Floats:
    """Average F1 over classes, weighted by their clips; (..., C, C) -> (...)."""
    support = np.sum(confusion, axis=-1)
    return divide_known(np.sum(np.nan_to_num(_class_f1(confusion)) * support, axis=-1), support.sum(-1))


METRICS: Mapping[str, Callable[[NDArray], Floats]] = {
    "ua": unweighted_accuracy,
    "wa": weighted_accuracy,
    "f1_macro": f1_macro,
    "f1_weighted": f1_weighted,
}


def _class_f1(confusion: NDArray) -> Floats:
    counts = np.asarray(confusion)
    return divide_known(2.0 * np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1) + counts.sum(-2))


def divide_known(above: NDArray, below: NDArray) -> Floats:
    """Give the quotients, NaN where nothing lies below."""
    above = np.asarray(above, dtype=np.float64)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=np.asarray(below) > 0)
