"""Decoupled knowledge distillation: what the teacher says of the true class, and of the others among themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.contracts.shapes import check_rank, check_same_shape
from ser_kd.functional.softening import check_temperature, classes_to_probabilities, distillation_divergence, raise_precision
from ser_kd.losses.labels import strongest_classes
from ser_kd.losses.slots import listen, take_logits, take_temperature


class Decoupled(nn.Module):
    """The divergence of soft targets in two parts with weights of their own, as a mean over labelled clips.

    With p the softened probabilities and y the true class: TCKD = KL((p_T,y, 1 - p_T,y), (p_S,y, 1 - p_S,y)) tells how sure
    the teacher is of the truth, and NCKD is the KL of the other classes' probabilities, normalised without y, from which the
    student learns which emotions are alike. Plain soft targets are TCKD + (1 - p_T,y) NCKD: the surer the teacher, the less it
    tells. Here the loss is target_weight TCKD + non_target_weight NCKD.

    Clips without a class count nowhere; a batch without any gives zero, which still has a gradient. Where labels are mixed, y
    is the class with the largest share.

    Args:
        temperature: T. None takes the objective's, as in ``SoftTargets``.
        target_weight: Weight of TCKD, alpha in the paper.
        non_target_weight: Weight of NCKD, beta in the paper.
        scale_by_temperature_squared: Multiply by T^2; the published weights presume it.
        teacher: ``combined``, or the name of the member to listen to.

    Raises:
        ConfigError: If the temperature is not positive, or a weight negative, or both are 0.

    Source:
        Zhao et al.: Decoupled Knowledge Distillation, CVPR 2022, eq. 6 and 7.
    """

    needs_teacher = True
    needs_labels = True
    needs_targets = "classes"
    needs_whole_batch = True  # the divisor is the number of labelled clips

    def __init__(
        self,
        temperature: float | None = None,
        target_weight: float = 1.0,
        non_target_weight: float = 8.0,
        scale_by_temperature_squared: bool = True,
        teacher: str = "combined",
    ) -> None:
        super().__init__()
        if temperature is not None:
            check_temperature(temperature)
        weights = (target_weight, non_target_weight)
        if not (all(math.isfinite(weight) and weight >= 0 for weight in weights) and any(weights)):
            raise ConfigError(
                "The weights of decoupled distillation must be numbers from 0, not both 0.",
                expected="target_weight and non_target_weight of 0 or more",
                got=f"{target_weight} and {non_target_weight}",
                remedy="1 and 8 are published",
            )
        self.owns_temperature = temperature is not None
        self.temperature = temperature
        self.target_weight = target_weight
        self.non_target_weight = non_target_weight
        self.scale_by_temperature_squared = scale_by_temperature_squared
        self.teacher = teacher

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compute the mean loss of the batch.

        Args:
            student: With ``logits`` (B, C).
            batch: With classes.
            teacher: Its answers to the same clips; they get no gradient.

        Returns:
            () at least float32, 0 or more.

        Raises:
            ConfigError: If there is no teacher, no member of that name, no logits, no temperature or no classes.
            ShapeError: If student and teacher differ in clips or classes.
        """
        student_logits, teacher_logits = take_logits(student, listen(teacher, self.teacher, "decoupled"), self.teacher, "decoupled")
        temperature = take_temperature(self.temperature, "decoupled")
        check_rank(student_logits, 2, "student.logits", "(B, C)")
        check_same_shape(student_logits, teacher_logits, "student.logits", "teacher.logits")
        if batch.class_probabilities is not None:
            check_same_shape(student_logits, batch.class_probabilities, "student.logits", "batch.class_probabilities")
        is_target = classes_to_probabilities(strongest_classes(batch, "decoupled"), student_logits.shape[1]).bool()  # (B, C)
        has_class = is_target.any(dim=1)
        student_logits, teacher_logits = raise_precision(student_logits)[has_class], raise_precision(teacher_logits)[has_class]
        is_target = is_target[has_class]
        if not len(is_target):
            return student_logits.sum()
        target_part = distillation_divergence(
            _split_target(student_logits / temperature, is_target), _split_target(teacher_logits / temperature, is_target), 1.0
        )
        others = (len(is_target), -1)
        non_target_part = distillation_divergence(
            student_logits[~is_target].view(others), teacher_logits[~is_target].view(others), temperature
        )
        loss = (self.target_weight * target_part + self.non_target_weight * non_target_part).mean()
        return loss * temperature**2 if self.scale_by_temperature_squared else loss


def _split_target(logits: Tensor, is_target: Tensor) -> Tensor:
    """Give log p_y and log (1 - p_y), (B, 2); the latter from the other classes, since 1 - p_y is 0 long before log p_y is."""
    log_probabilities = torch.log_softmax(logits, dim=1)
    others = log_probabilities.masked_fill(is_target, -torch.inf).logsumexp(dim=1)
    return torch.stack([log_probabilities[is_target], others], dim=1)
