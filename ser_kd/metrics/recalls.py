"""Recalls, accuracies and F1 of a whole split, from one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_confusion_matrix

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.shapes import check_finite, check_rank
from ser_kd.functional.recalls import f1_macro, f1_weighted, recall_per_class, unweighted_accuracy, weighted_accuracy


def check_scores(scores: Tensor, classes: Tensor, class_count: int) -> None:
    """Check that scores and true classes belong together.

    Args:
        scores: (B, C), one number per class.
        classes: (B,) int64, -1 where a clip has no class.
        class_count: C.

    Raises:
        ShapeError: If clips or classes differ in number, an index lies outside [-1, C) or a score is not finite.
    """
    check_rank(scores, 2, "scores", "(B, C)")
    check_rank(classes, 1, "classes", "(B,)")
    if scores.shape[1] != class_count or len(scores) != len(classes) or (len(classes) and int(classes.max()) >= class_count):
        raise ShapeError(
            "Scores and classes do not fit the label set.",
            expected=f"scores (B, {class_count}) and B classes from 0 to {class_count - 1} (-1: none)",
            got=f"scores {tuple(scores.shape)}, {len(classes)} classes up to {int(classes.max()) if len(classes) else 'none'}",
            remedy="give the model as many outputs as the label set has classes",
        )
    check_finite(scores, "scores")  # argmax would turn a NaN into a class


class Recalls(Metric):
    """UA, WA, F1 and the recall of each class over all clips that have one.

    The state is a matrix of counts, so that batches and processes add up exactly.

    Args:
        classes: Class names in logit order.
        arguments: Further arguments of ``torchmetrics.Metric``.

    Raises:
        ConfigError: If there are fewer than two classes.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    confusion: Tensor

    def __init__(self, classes: Sequence[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        if len(classes) < 2:
            raise ConfigError(
                "Recalls need classes to tell apart.",
                expected="two class names or more",
                got=str(list(classes)),
                remedy="hand over the classes of the protocol's label set",
            )
        self.classes = tuple(classes)
        self.add_state("confusion", torch.zeros(len(classes), len(classes), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, classes: Tensor) -> None:
        """Count a batch.

        Args:
            scores: (B, C), logits or probabilities; the largest is the prediction.
            classes: (B,) int64, -1 where a clip has none; such clips are skipped.

        Raises:
            ShapeError: If they do not fit each other or the classes, or a score is not finite.
        """
        check_scores(scores, classes, len(self.classes))
        known = classes >= 0
        self.confusion += multiclass_confusion_matrix(
            scores[known].argmax(dim=1), classes[known], num_classes=len(self.classes), validate_args=False
        )

    def compute(self) -> dict[str, Tensor]:
        """Compute everything from the counts.

        Returns:
            ``ua``, ``wa``, ``f1_macro``, ``f1_weighted`` and ``recall_<class>`` as () float64 in [0, 1], NaN where
            undefined; ``confusion`` as (C, C) int64 counts, rows true, columns predicted.
        """
        counts = self.confusion
        recalls = {f"recall_{name}": recall for name, recall in zip(self.classes, recall_per_class(counts), strict=True)}
        return {
            "ua": unweighted_accuracy(counts),
            "wa": weighted_accuracy(counts),
            "f1_macro": f1_macro(counts),
            "f1_weighted": f1_weighted(counts),
            **recalls,
            "confusion": counts.clone(),
        }
