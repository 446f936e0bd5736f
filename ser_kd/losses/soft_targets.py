"""The divergence between the softened answers of teacher and student."""

from __future__ import annotations

from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.softening import Direction, check_direction, check_temperature, distillation_divergence


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
        if teacher is None:
            raise ConfigError(
                "Soft targets need a teacher.",
                expected="a teacher in the run",
                got="teacher: null",
                remedy="choose a teacher, or take soft_targets out of the objective",
            )
        if self.temperature is None:
            raise ConfigError(
                "Soft targets have no temperature.",
                expected="a temperature of their own or of the objective",
                got="null",
                remedy="set objective.temperature, or soft_targets.temperature",
            )
        try:
            answers = teacher.listen_to(self.teacher)
        except KeyError as fault:
            raise ConfigError(
                f"No teacher is called '{self.teacher}'.",
                expected=", ".join(["combined", *teacher.members]),
                got=self.teacher,
                remedy="set soft_targets.teacher to one of them",
            ) from fault
        if student.logits is None or answers.logits is None:
            silent = "student" if student.logits is None else f"teacher '{self.teacher}'"
            raise ConfigError(
                "Soft targets need class logits on both sides.",
                expected="student and teacher with a classification head",
                got=f"{silent} without logits",
                remedy="choose one that answers with classes, or take soft_targets out of the objective",
            )
        return distillation_divergence(
            student.logits, answers.logits.detach(), self.temperature, self.direction, self.scale_by_temperature_squared
        ).mean()
