"""How closely the student follows its teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ser_kd.contracts.shapes import check_finite, check_rank, check_same_shape
from ser_kd.functional.softening import distillation_divergence


class TeacherAgreement(Metric):
    """The share of clips on which student and teacher name the same class, and their mean divergence at temperature 1.

    No label is needed, so every clip counts. The divergence is KL(teacher || student).

    Args:
        arguments: Further arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    agreeing: Tensor
    divergence: Tensor
    count: Tensor

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.add_state("agreeing", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("divergence", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, student_logits: Tensor, teacher_logits: Tensor) -> None:
        """Take in a batch.

        Args:
            student_logits: (B, C) before softmax.
            teacher_logits: (B, C) before softmax, or log-probabilities.

        Raises:
            ShapeError: If the two differ in shape, or the student's logits are not finite.
        """
        check_rank(student_logits, 2, "student_logits", "(B, C)")
        check_same_shape(student_logits, teacher_logits, "student_logits", "teacher_logits")
        check_finite(student_logits, "student_logits")
        self.agreeing += (student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)).sum()
        self.divergence += distillation_divergence(student_logits.double(), teacher_logits.double(), 1.0).sum()
        self.count += len(student_logits)

    def compute(self) -> dict[str, Tensor]:
        """Compute both over everything seen.

        Returns:
            ``agreement`` in [0, 1] and ``divergence`` in [0, inf), () float64, NaN without any clip; ``count``, the clips.
        """
        count = self.count.double()
        return {"agreement": self.agreeing / count, "divergence": self.divergence / count, "count": self.count.clone()}
