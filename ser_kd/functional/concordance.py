"""Pearson's correlation and Lin's concordance from one set of moments, for the loss and the metric alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ser_kd.contracts.shapes import check_rank, check_same_shape
from ser_kd.functional.softening import raise_precision


@dataclass(frozen=True)
class Moments:
    """First and second moments of predictions and targets, column by column; all (K,) and biased (divided by n).

    Args:
        count: n, annotated clips.
        prediction_mean: Mean of the predictions.
        target_mean: Mean of the targets.
        prediction_variance: Variance of the predictions; exactly 0 where they are constant up to rounding.
        target_variance: Variance of the targets, likewise.
        covariance: Covariance of both.
    """

    count: Tensor
    prediction_mean: Tensor
    target_mean: Tensor
    prediction_variance: Tensor
    target_variance: Tensor
    covariance: Tensor


def _centre(values: Tensor, mask: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    zero = torch.zeros((), dtype=values.dtype, device=values.device)
    known = torch.where(mask, values, zero)  # a NaN where nothing is annotated must reach neither sum nor gradient
    mean = known.sum(dim=0) / count.clamp_min(1)
    deviation = torch.where(mask, known - mean, zero)
    variance = deviation.square().sum(dim=0) / count.clamp_min(1)
    # A constant column leaves deviations of a few rounding steps; its variance would look like one.
    rounding = 4.0 * torch.finfo(values.dtype).eps * known.abs().amax(dim=0)
    return mean, deviation, torch.where(variance <= rounding.square(), zero, variance)


def measure_moments(prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> Moments:
    """Measure means, variances and covariance in two passes.

    Args:
        prediction: (N, K), N clips and K dimensions.
        target: (N, K).
        mask: (N, K) bool, True where annotated; None where every value is.

    Returns:
        The moments of each column, at least float32. Gradient flows to the annotated values.

    Raises:
        ShapeError: If the three differ in shape.
    """
    check_rank(prediction, 2, "prediction", "(N, K)")
    check_same_shape(prediction, target, "prediction", "target")
    if mask is None:
        mask = torch.ones_like(prediction, dtype=torch.bool)
    check_same_shape(mask, prediction, "mask", "prediction")
    prediction, target = raise_precision(prediction), raise_precision(target)
    count = mask.sum(dim=0)
    if not len(prediction):
        empty = prediction.sum(dim=0)
        return Moments(count, empty, empty, empty, empty, empty)
    prediction_mean, prediction_deviation, prediction_variance = _centre(prediction, mask, count)
    target_mean, target_deviation, target_variance = _centre(target, mask, count)
    covariance = (prediction_deviation * target_deviation).sum(dim=0) / count.clamp_min(1)
    return Moments(count, prediction_mean, target_mean, prediction_variance, target_variance, covariance)


def _divide(numerator: Tensor, denominator: Tensor, is_defined: Tensor) -> Tensor:
    # The inner where keeps the gradient of an undefined column at zero instead of NaN.
    safe = torch.where(is_defined, denominator, torch.ones_like(denominator))
    return torch.where(is_defined, numerator / safe, torch.full_like(numerator, torch.nan))


def correlate(moments: Moments) -> Tensor:
    """Compute Pearson's correlation: cov / sqrt(var_x var_y).

    Returns:
        (K,) in [-1, 1]; NaN with fewer than two clips or where predictions or targets are constant.
    """
    product = moments.prediction_variance * moments.target_variance
    is_defined = (moments.count >= 2) & (product > 0)
    safe = torch.where(is_defined, product, torch.ones_like(product))
    return _divide(moments.covariance, safe.sqrt(), is_defined)


def measure_concordance(moments: Moments) -> Tensor:
    """Compute the concordance correlation coefficient: 2 cov / (var_x + var_y + (mean_x - mean_y)^2).

    Moments are divided by n, as Lin and audmetric do; torchmetrics divides by n - 1 and differs on small sets.

    Args:
        moments: Of the whole split for a metric; a mean of batch values is another number.

    Returns:
        (K,) in [-1, 1], 1 where all predictions equal their targets; NaN with fewer than two clips or where both are
        constant and equal. Gradient flows to the annotated predictions; an undefined column gives zero gradient.

    Source:
        Lin: A Concordance Correlation Coefficient to Evaluate Reproducibility, Biometrics 45, 1989.

    Example:
        >>> target = torch.tensor([[1.0], [2.0], [3.0]])
        >>> round(measure_concordance(measure_moments(target + 1, target)).item(), 4)
        0.5714
    """
    spread = moments.prediction_variance + moments.target_variance + (moments.prediction_mean - moments.target_mean).square()
    return _divide(2.0 * moments.covariance, spread, (moments.count >= 2) & (spread > 0))
