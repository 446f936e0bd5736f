"""The divergence between the softened answers of teacher and student."""

from __future__ import annotations

from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.softening import Direction, check_direction, check_temperature, distillation_divergence
from ser_kd.losses.slots import listen, take_logits, take_temperature


class SoftTargets(nn.Module):
    """Knowledge distillation by logits: the mean over clips of KL(softmax(z_T / T), softmax(z_S / T)).

    Every clip counts, with or without a label. The value is a true divergence (zero where student and teacher agree), and it
    carries T^2 or not by ``scale_by_temperature_squared`` alone, whatever weights the objective gives to its terms.

    Args:
        temperature: T. None takes the objective's, which sets the attribute ``temperature`` before the first step and may
            move it by a schedule; ``owns_temperature`` tells the objective whether it may.
        direction: ``teacher_first`` is the usual order, ``student_first`` the literal one of EmoDistill.
        scale_by_temperature_squared: Multiply by T^2.
        teacher: ``combined``, or the name of the member to listen to.

    Raises:
        ConfigError: If the temperature is not positive or the direction unknown.

    Source:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, section 2.
    """

    needs_teacher = True
    needs_targets = "classes"

    def __init__(
        self,
        temperature: float | None = None,
        direction: Direction = "teacher_first",
        scale_by_temperature_squared: bool = False,
        teacher: str = "combined",
    ) -> None:
        super().__init__()
        check_direction(direction)
        if temperature is not None:
            check_temperature(temperature)
        self.owns_temperature = temperature is not None
        self.temperature = temperature
        self.direction: Direction = direction
        self.scale_by_temperature_squared = scale_by_temperature_squared
        self.teacher = teacher

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compute the mean divergence of the batch.

        Args:
            student: With ``logits`` (B, C).
            batch: Not used.
            teacher: Its answers to the same clips; they get no gradient.

        Returns:
            () at least float32, 0 or more.

        Raises:
            ConfigError: If there is no teacher, no member of that name, no logits or no temperature.
            ShapeError: If student and teacher differ in clips or classes.
        """
        student_logits, teacher_logits = take_logits(student, listen(teacher, self.teacher, "soft_targets"), self.teacher, "soft_targets")
        temperature = take_temperature(self.temperature, "soft_targets")
        return distillation_divergence(
            student_logits, teacher_logits, temperature, self.direction, self.scale_by_temperature_squared
        ).mean()
