"""Metrics of arousal, dominance and valence from sums over clips, so that a resample of speakers is a sum of their sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.reports.confusion_metrics import METRICS, Floats, divide_known

SUMS = 6
"""Numbers per dimension: clips, sums of x, y, x², y² and xy, x the prediction and y the truth, both less ``CENTRE``."""

CENTRE = 0.5
"""The middle of the scale: sums of squares around it lose fewer digits."""

_CONSTANT = 1e-10
"""A variance below this is rounding: annotations of one value have no concordance."""


def sum_clips(prediction: NDArray, truth: NDArray) -> Floats:
    """Give each clip's own sums; (N, 3) and (N, 3) with NaN where not annotated -> (N, 3, 6), NaN where annotated and never learned."""
    known = ~np.isnan(truth)
    x, y = (np.where(known, values - CENTRE, 0.0) for values in (prediction, truth))
    return np.stack([known.astype(np.float64), x, y, x * x, y * y, x * y], axis=-1)


def concordance(sums: NDArray) -> Floats:
    """Give Lin's concordance; (..., 3, 6) -> (..., 3), NaN with fewer than two clips or constant annotations."""
    count, means, variances, covariance = _measure(sums)
    below = variances[0] + variances[1] + (means[0] - means[1]) ** 2
    return np.where((count >= 2) & (variances[1] > _CONSTANT), divide_known(2.0 * covariance, below), np.nan)


def correlation(sums: NDArray) -> Floats:
    """Give Pearson's correlation; as ``concordance``, NaN with constant predictions too."""
    count, _, variances, covariance = _measure(sums)
    is_defined = (count >= 2) & (np.minimum(*variances) > _CONSTANT)
    return np.where(is_defined, divide_known(covariance, np.sqrt(variances[0] * variances[1])), np.nan)


def root_mean_square_error(sums: NDArray) -> Floats:
    """Give the root of the mean squared error; (..., 3, 6) -> (..., 3), NaN without a clip."""
    squares = sums[..., 3] + sums[..., 4] - 2.0 * sums[..., 5]
    return np.sqrt(np.maximum(divide_known(squares, sums[..., 0]), 0.0))


def mean_concordance(sums: NDArray) -> Floats:
    """Give the mean concordance of the dimensions that have one; (..., 3, 6) -> (...)."""
    scores = concordance(sums)
    known = ~np.isnan(scores)
    return divide_known(np.where(known, scores, 0.0).sum(-1), known.sum(-1))


def _measure(sums: NDArray) -> tuple[NDArray, tuple[Floats, Floats], tuple[Floats, Floats], Floats]:
    count = sums[..., 0]
    x, y, xx, yy, xy = (divide_known(sums[..., place], count) for place in range(1, SUMS))
    with np.errstate(invalid="ignore"):
        return count, (x, y), (np.maximum(xx - x * x, 0.0), np.maximum(yy - y * y, 0.0)), xy - x * y


def _take(place: int, score: Callable[[NDArray], Floats], sums: NDArray) -> Floats:
    return score(sums)[..., place]


DIMENSION_METRICS: Mapping[str, Callable[[NDArray], Floats]] = {
    "ccc_mean": mean_concordance,
    **{
        f"{name}_{dimension}": partial(_take, place, score)
        for name, score in (("ccc", concordance), ("pearson", correlation), ("rmse", root_mean_square_error))
        for place, dimension in enumerate(DIMENSIONS)
    },
}

SCORES: Mapping[str, Callable[[NDArray], Floats]] = {**METRICS, **DIMENSION_METRICS}
"""Every metric by name: of (..., C, C) counts, or of (..., 3, 6) sums."""
