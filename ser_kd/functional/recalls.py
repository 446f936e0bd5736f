"""Recalls, accuracies and F1 from a confusion matrix whose rows are the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.errors import ShapeError
from ser_kd.contracts.shapes import check_rank


def _check_confusion(confusion: Tensor) -> None:
    check_rank(confusion, 2, "confusion", "(C, C)")
    if confusion.shape[0] != confusion.shape[1]:
        raise ShapeError(
            "A confusion matrix is square.",
            expected="(C, C), rows true and columns predicted",
            got=str(tuple(confusion.shape)),
            remedy="count over one list of classes",
        )


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    # float64: counts stay exact, and 252 / 300 is 0.84; 0 / 0 is NaN, which here means undefined
    return numerator.to(torch.float64) / denominator.to(torch.float64)


def recall_per_class(confusion: Tensor) -> Tensor:
    """Compute the share of each class that was found.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        (C,) float64 in [0, 1]; NaN for a class without a clip.

    Raises:
        ShapeError: If the matrix is not square.
    """
    _check_confusion(confusion)
    return _divide(confusion.diagonal(), confusion.sum(dim=1))


def unweighted_accuracy(confusion: Tensor) -> Tensor:
    """Compute UA: the mean of the recalls, each class counting alike (UAR, macro recall, balanced accuracy).

    A class without a clip is left out of the mean; it does not count as zero.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        () float64 in [0, 1]; NaN without any clip.

    Example:
        >>> unweighted_accuracy(torch.tensor([[90, 0], [10, 0]])).item()
        0.5
    """
    return recall_per_class(confusion).nanmean()


def weighted_accuracy(confusion: Tensor) -> Tensor:
    """Compute WA: the share of clips that are right, each clip counting alike (plain accuracy, WAR).

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        () float64 in [0, 1]; NaN without any clip.

    Example:
        >>> weighted_accuracy(torch.tensor([[90, 0], [10, 0]])).item()
        0.9
    """
    _check_confusion(confusion)
    return _divide(confusion.diagonal().sum(), confusion.sum())


def f1_per_class(confusion: Tensor) -> Tensor:
    """Compute F1 of each class: 2 TP / (2 TP + FP + FN).

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        (C,) float64 in [0, 1]; NaN for a class that is neither true nor predicted, 0 for one that is only predicted.
    """
    _check_confusion(confusion)
    return _divide(2 * confusion.diagonal(), confusion.sum(dim=0) + confusion.sum(dim=1))


def f1_macro(confusion: Tensor) -> Tensor:
    """Average F1 over the classes that are true or predicted somewhere, as scikit-learn does.

    Unlike UA, a class without a clip counts (as 0) once it is predicted: its precision is known.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        () float64 in [0, 1]; NaN without any clip.
    """
    return f1_per_class(confusion).nanmean()


def f1_weighted(confusion: Tensor) -> Tensor:
    """Average F1 over classes, each weighted by its clips.

    Args:
        confusion: (C, C) counts, rows true, columns predicted.

    Returns:
        () float64 in [0, 1]; NaN without any clip.
    """
    support = confusion.sum(dim=1)
    # nan_to_num: a class without support has weight 0, but 0 times NaN is NaN
    return _divide((f1_per_class(confusion).nan_to_num(0.0) * support).sum(), support.sum())
