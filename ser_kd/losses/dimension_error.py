"""The mean squared error of arousal, dominance and valence."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.softening import raise_precision
from ser_kd.losses.dimension_targets import DimensionTerm, take_dimensions


class DimensionError(DimensionTerm):
    """sum m w (x - y)^2 / sum m w over clips and dimensions, m being 1 where annotated and w a dimension's weight.

    A batch without annotation gives zero, with a gradient of zero.

    Args:
        target: ``labels`` (masked where a clip is not annotated) or ``teacher``.
        teacher: ``combined``, or the name of the member to listen to.
        weights: Of arousal, dominance and valence; None is alike.

    Raises:
        ConfigError: If the target is unknown, or weights are not three numbers from 0.
    """

    term = "dimension_error"
    needs_whole_batch = True  # the divisor is the number of annotated values

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compute the loss of the batch; arguments and errors are those of ``Concordance``.

        Returns:
            () at least float32, 0 or more.
        """
        prediction, target, mask = take_dimensions(student, batch, teacher, self.target, self.teacher, self.term)
        prediction, target = raise_precision(prediction), raise_precision(target)
        weights = torch.tensor(self.weights, dtype=prediction.dtype, device=prediction.device) * mask  # (B, 3)
        # the inner where keeps the NaN of a missing label out of the gradient
        errors = torch.where(mask, prediction - torch.where(mask, target, torch.zeros_like(target)), torch.zeros_like(prediction))
        return (weights * errors.square()).sum() / weights.sum().clamp_min(torch.finfo(prediction.dtype).tiny)
