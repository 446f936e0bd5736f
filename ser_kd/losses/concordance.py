"""One less the concordance of arousal, dominance and valence over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.concordance import measure_concordance, measure_moments
from ser_kd.losses.dimension_targets import DimensionTerm, take_dimensions

SMALLEST_DEVIATION = 1e-3
"""Targets of a batch that deviate less (of a scale from 0 to 1) count as constant: the slope of a CCC grows as one over it."""


class Concordance(DimensionTerm):
    """The weighted mean over arousal, dominance and valence of 1 - CCC, each CCC taken over the whole batch.

    CCC = 2 cov / (var_x + var_y + (mean_x - mean_y)^2) with moments divided by n, as the metric has it. It is a property of the batch: its
    mean over batches is not the CCC of the split, and large batches serve it (64 or more).

    A dimension counts in a batch only where two clips or more are annotated and their targets deviate by ``SMALLEST_DEVIATION`` at
    least; the others then share its weight. A batch without such a dimension gives zero, with a gradient of zero. So the value is never
    NaN, and the slope towards one clip's prediction is at most 4 / (sqrt(n) SMALLEST_DEVIATION). Predictions may be constant: their CCC
    is 0, and its slope leads to the targets.

    Args:
        target: ``labels`` (masked where a clip is not annotated) or ``teacher``.
        teacher: ``combined``, or the name of the member to listen to.
        weights: Of arousal, dominance and valence; None is alike.

    Raises:
        ConfigError: If the target is unknown, or weights are not three numbers from 0.

    Source:
        Lin: A Concordance Correlation Coefficient to Evaluate Reproducibility, Biometrics 45, 1989.
    """

    term = "concordance"
    minimum_batch = 2

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compute the loss of the batch.

        Args:
            student: With ``dimensions`` (B, 3).
            batch: With ``dimensions`` (B, 3) and ``dimension_mask`` where labels are followed.
            teacher: With ``dimensions`` (B, 3) of the same clips where the teacher is; it gets no gradient.

        Returns:
            () at least float32, in [0, 2].

        Raises:
            ConfigError: If student or teacher has no dimensions, or there is no such teacher.
            ShapeError: If they are not of the same clips.
        """
        prediction, target, mask = take_dimensions(student, batch, teacher, self.target, self.teacher, self.term)
        found = measure_moments(target, target, mask)
        varies = (found.count >= 2) & (found.target_variance >= SMALLEST_DEVIATION**2)  # (3,)
        concordance = measure_concordance(measure_moments(prediction, target, mask & varies))
        weights = torch.tensor(self.weights, dtype=concordance.dtype, device=prediction.device) * varies
        losses = torch.where(varies, 1.0 - concordance, torch.zeros_like(concordance))
        return (weights * losses).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
