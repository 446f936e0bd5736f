"""Whose arousal, dominance and valence a term follows, how much each counts, and what is told where they are missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.contracts.shapes import check_same_shape
from ser_kd.losses.slots import listen

Source = Literal["labels", "teacher"]


class DimensionTerm(nn.Module):
    """A term that learns arousal, dominance and valence: whom it follows, and how much each counts.

    Args:
        target: ``labels`` (masked where a clip is not annotated) or ``teacher``.
        teacher: ``combined``, or the name of the member to listen to.
        weights: Of arousal, dominance and valence; None is alike.

    Raises:
        ConfigError: If the target is unknown, or weights are not three numbers from 0.
    """

    term: str
    """Its name in messages."""

    needs_targets = "dimensions"
    needs_whole_batch = True

    def __init__(self, target: Source = "labels", teacher: str = "combined", weights: Sequence[float] | None = None) -> None:
        super().__init__()
        check_source(target, self.term)
        self.target: Source = target
        self.needs_teacher = target == "teacher"
        self.needs_labels = target == "labels"
        self.teacher = teacher
        self.weights = read_weights(weights, self.term)


def check_source(source: str, term: str) -> None:
    """Check that a term follows labels or a teacher.

    Raises:
        ConfigError: If it names something else.
    """
    if source not in get_args(Source):
        raise ConfigError(
            f"'{term}' does not know whom to follow.",
            expected=" or ".join(get_args(Source)),
            got=str(source),
            remedy=f"set {term}.target to one of them",
        )


def read_weights(weights: Sequence[float] | None, term: str) -> tuple[float, ...]:
    """Read the weights of arousal, dominance and valence; None is 1 each.

    Raises:
        ConfigError: If they are not three numbers from 0, not all of them 0.
    """
    if weights is None:
        return (1.0,) * len(DIMENSIONS)
    numbers = tuple(float(weight) for weight in weights)
    if len(numbers) != len(DIMENSIONS) or not all(math.isfinite(n) and n >= 0 for n in numbers) or not any(numbers):
        raise ConfigError(
            f"The weights of '{term}' do not fit.",
            expected="one number from 0 for each of arousal, dominance, valence, in this order, not all 0",
            got=str(list(weights)),
            remedy=f"set {term}.weights=[1,1,1], or null",
        )
    return numbers


def take_dimensions(
    student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None, source: str, teacher_name: str, term: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Give what the student says, what it should say, and which of it is known.

    Args:
        student: With ``dimensions`` (B, 3).
        batch: The labels; a batch without any is all masked.
        teacher: Its answers to the same clips; they get no gradient.
        source: ``labels`` or ``teacher``.
        teacher_name: ``combined``, or the name of a member.
        term: Name of the term, for messages.

    Returns:
        Prediction, target and mask, (B, 3) each.

    Raises:
        ConfigError: If student or teacher has no dimensions, or there is no such teacher.
        ShapeError: If they are not of the same clips.
    """
    if student.dimensions is None:
        raise ConfigError(
            f"'{term}' needs a student that answers with arousal, dominance and valence.",
            expected="protocol.targets=dimensions or both, with a head that can do it",
            got="outputs without dimensions",
            remedy=f"set protocol.targets=dimensions, or take {term} out of the objective",
        )
    prediction = student.dimensions
    if source == "teacher":
        answers = listen(teacher, teacher_name, term)
        if answers.dimensions is None:
            raise ConfigError(
                f"'{term}' follows a teacher that does not answer with arousal, dominance and valence.",
                expected="a teacher that was trained with protocol.targets=dimensions or both",
                got=f"teacher '{teacher_name}' without dimensions",
                remedy=f"choose such a teacher, or set {term}.target=labels (objective=ccc)",
            )
        target = answers.dimensions.detach()
        # a column of NaN beside others is a dimension that the teacher never learned; any other NaN is a fault to be seen
        learned = ~target.isnan().all(dim=0)
        mask = (learned | ~learned.any()).expand_as(target)
    elif batch.dimensions is None:
        target, mask = torch.zeros_like(prediction), torch.zeros_like(prediction, dtype=torch.bool)
    else:
        target = batch.dimensions
        mask = ~target.isnan() if batch.dimension_mask is None else batch.dimension_mask
    check_same_shape(prediction, target, "student.dimensions", "target")
    return prediction, target.to(prediction.dtype), mask
