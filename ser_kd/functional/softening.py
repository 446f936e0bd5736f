"""Class probabilities: softened by a temperature, made from labels, and how far two of them lie apart."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.shapes import check_rank, check_same_shape

Direction = Literal["teacher_first", "student_first"]
DIRECTIONS: tuple[Direction, ...] = ("teacher_first", "student_first")


def raise_precision(tensor: Tensor) -> Tensor:
    """Turn half and bfloat16 into float32 and leave wider numbers as they are; logarithms of probabilities need it."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_temperature(temperature: float) -> None:
    """Check that a temperature can divide logits.

    Raises:
        ConfigError: If it is not a finite number above zero.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(
            "A temperature must be positive.",
            expected="a finite number above 0 (1 leaves the probabilities as they are)",
            got=str(temperature),
            remedy="set temperature to 1 or more, 4 is usual",
        )


def check_direction(direction: str) -> None:
    """Check the order of the two distributions in a divergence.

    Raises:
        ConfigError: If it is neither of ``DIRECTIONS``.
    """
    if direction not in DIRECTIONS:
        raise ConfigError(
            "Unknown direction of the divergence.",
            expected=" or ".join(DIRECTIONS),
            got=str(direction),
            remedy="teacher_first is the usual KL(teacher || student)",
        )


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Turn logits into probabilities softened by a temperature: p_c = exp(z_c / T) / sum_k exp(z_k / T).

    Args:
        logits: (B, C) before softmax.
        temperature: T; 1 is the plain softmax, larger is flatter.

    Returns:
        (B, C), at least float32; rows sum to one. Gradient flows to the logits.

    Raises:
        ConfigError: If the temperature is not positive.

    Source:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, eq. 1.
    """
    check_temperature(temperature)
    return torch.softmax(raise_precision(logits) / temperature, dim=-1)


def distillation_divergence(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: float,
    direction: Direction = "teacher_first",
    scale_by_temperature_squared: bool = False,
) -> Tensor:
    """Measure the Kullback-Leibler divergence between softened teacher and student, clip by clip.

    ``teacher_first``: sum_c p_T log(p_T / p_S); ``student_first``: sum_c p_S log(p_S / p_T). The entropy of the first
    distribution is part of it, so that the value is zero exactly where both are equal (logits equal up to an additive
    constant), which the cross-entropy form found in many codebases is not.

    Args:
        student_logits: (B, C) before softmax.
        teacher_logits: (B, C) before softmax, or log-probabilities; -inf is a class that the teacher excludes.
        temperature: T, divides both.
        direction: Which distribution stands first.
        scale_by_temperature_squared: Multiply by T^2, which keeps gradients comparable over temperatures.

    Returns:
        (B,) at least float32, in [0, inf). Gradient flows to both; detach the teacher where it must not learn.

    Raises:
        ConfigError: If the temperature is not positive or the direction unknown.
        ShapeError: If the two do not have the same clips and classes.

    Source:
        Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015, section 2.

    Example:
        >>> same = torch.tensor([[1.0, 2.0, 4.0]])
        >>> distillation_divergence(same, same + 3, 4.0).abs().max().item() < 1e-6
        True
    """
    check_temperature(temperature)
    check_direction(direction)
    check_rank(student_logits, 2, "student_logits", "(B, C)")
    check_same_shape(student_logits, teacher_logits, "student_logits", "teacher_logits")
    log_student = torch.log_softmax(raise_precision(student_logits) / temperature, dim=-1)
    log_teacher = torch.log_softmax(raise_precision(teacher_logits) / temperature, dim=-1)
    first, second = (log_teacher, log_student) if direction == "teacher_first" else (log_student, log_teacher)
    # 0 log 0 is 0, but -inf times zero is NaN
    first_filled = first.masked_fill(first == -torch.inf, 0.0)
    second_filled = second.masked_fill(first == -torch.inf, 0.0)
    divergence = (first.exp() * (first_filled - second_filled)).sum(dim=-1)
    return divergence * temperature**2 if scale_by_temperature_squared else divergence


def classes_to_probabilities(classes: Tensor, class_count: int) -> Tensor:
    """Turn class indices into one-hot rows.

    Args:
        classes: (B,) int64, -1 where a clip has none.
        class_count: C.

    Returns:
        (B, C) float32; a clip without a class is a row of zeros.

    Raises:
        ShapeError: If an index lies outside [-1, C).

    Example:
        >>> classes_to_probabilities(torch.tensor([1, -1]), 2).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    check_rank(classes, 1, "classes", "(B,)")
    if len(classes) and not -1 <= int(classes.min()) <= int(classes.max()) < class_count:
        raise ShapeError(
            "A class index lies outside the classes of the model.",
            expected=f"indices from 0 to {class_count - 1}, or -1 where a clip has no class",
            got=f"indices from {int(classes.min())} to {int(classes.max())}",
            remedy="give the model as many outputs as the label set has classes",
        )
    return (classes[:, None] == torch.arange(class_count, device=classes.device)).float()
