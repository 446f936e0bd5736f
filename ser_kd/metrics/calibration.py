"""How well a model's confidence tells its accuracy."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError

from ser_kd.functional.softening import soften
from ser_kd.metrics.recalls import check_scores


class CalibrationError(MulticlassCalibrationError):
    """The expected calibration error: the gap between confidence and accuracy over 15 equal bins, weighted by clips.

    It takes logits and applies the softmax itself, because the library guesses from their range whether scores are
    probabilities and would take logits inside [0, 1] for such.

    Args:
        class_count: C.
        arguments: Further arguments of ``torchmetrics.Metric``.

    Source:
        Guo et al.: On Calibration of Modern Neural Networks, 2017, eq. 3.
    """

    def __init__(self, class_count: int, **arguments: Any) -> None:
        super().__init__(num_classes=class_count, n_bins=15, norm="l1", validate_args=False, **arguments)

    def update(self, logits: Tensor, classes: Tensor) -> None:
        """Take in a batch.

        Args:
            logits: (B, C) before softmax.
            classes: (B,) int64, -1 where a clip has none; such clips are skipped.

        Raises:
            ShapeError: If they do not fit each other or the classes, or a logit is not finite.
        """
        check_scores(logits, classes, self.num_classes)
        known = classes >= 0
        if known.any():
            super().update(soften(logits[known], 1.0), classes[known])

    def compute(self) -> Tensor:
        """Compute the error over everything seen.

        Returns:
            () in [0, 1]; NaN without any clip that has a class.
        """
        if isinstance(self.confidences, list) and not self.confidences:
            return torch.tensor(torch.nan, device=self.device)
        return super().compute()
