import math

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.functional.softening import classes_to_probabilities, distillation_divergence, soften

STUDENT = torch.tensor([[0.0, math.log(3.0)], [1.0, -1.0]])
TEACHER = torch.tensor([[0.0, 0.0], [2.0, 0.5]])
BOTH = ("teacher_first", "student_first")


def test_soften_by_hand():
    torch.testing.assert_close(soften(torch.tensor([[0.0, math.log(4.0)]]), 2.0), torch.tensor([[1 / 3, 2 / 3]]))
    assert soften(STUDENT.half(), 1.0).dtype == torch.float32


def test_divergence_by_hand_in_both_directions():
    # student (1/4, 3/4), teacher (1/2, 1/2)
    forward = distillation_divergence(STUDENT[:1], TEACHER[:1], 1.0, "teacher_first").item()
    backward = distillation_divergence(STUDENT[:1], TEACHER[:1], 1.0, "student_first").item()
    assert forward == pytest.approx(0.5 * math.log(2.0) + 0.5 * math.log(2 / 3), abs=1e-6)
    assert backward == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5), abs=1e-6)
    assert abs(forward - backward) > 0.01


@pytest.mark.parametrize("direction", BOTH)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equal_up_to_a_constant_is_zero(direction, temperature):
    # a cross-entropy with soft targets would leave the teacher's entropy here
    divergence = distillation_divergence(TEACHER + 7.0, TEACHER, temperature, direction)
    assert divergence.shape == (2,)
    assert divergence.abs().max() < 1e-6
    assert (distillation_divergence(STUDENT, TEACHER, temperature, direction) > 1e-4).all()


@pytest.mark.parametrize("direction", BOTH)
def test_temperature_squared_is_an_exact_factor(direction):
    plain = distillation_divergence(STUDENT, TEACHER, 4.0, direction, scale_by_temperature_squared=False)
    scaled = distillation_divergence(STUDENT, TEACHER, 4.0, direction, scale_by_temperature_squared=True)
    assert torch.equal(scaled, plain * 16.0)


def test_temperature_divides_both_sides():
    torch.testing.assert_close(distillation_divergence(STUDENT, TEACHER, 4.0), distillation_divergence(STUDENT / 4, TEACHER / 4, 1.0))


def test_a_class_the_teacher_excludes_counts_nothing():
    teacher = torch.tensor([[0.0, 0.0, -torch.inf]])
    student = torch.tensor([[0.0, 0.0, 0.0]], requires_grad=True)
    divergence = distillation_divergence(student, teacher, 1.0)
    assert divergence.item() == pytest.approx(math.log(1.5), abs=1e-6)
    divergence.sum().backward()
    torch.testing.assert_close(student.grad, torch.tensor([[-1 / 6, -1 / 6, 1 / 3]]))


def test_gradient_reaches_both_so_that_the_loss_decides():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    distillation_divergence(student, teacher, 2.0).sum().backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad.abs().sum() > 0


def test_half_precision_is_computed_in_single():
    low = distillation_divergence(STUDENT.bfloat16(), TEACHER.bfloat16(), 4.0)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, distillation_divergence(STUDENT.bfloat16().float(), TEACHER.bfloat16().float(), 4.0))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_impossible_temperature(temperature):
    with pytest.raises(ConfigError, match="must be positive"):
        soften(STUDENT, temperature)
    with pytest.raises(ConfigError, match="must be positive"):
        distillation_divergence(STUDENT, TEACHER, temperature)


def test_unknown_direction_and_other_classes():
    with pytest.raises(ConfigError, match="teacher_first or student_first"):
        distillation_divergence(STUDENT, TEACHER, 1.0, "forward")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="differ in shape"):
        distillation_divergence(STUDENT, torch.zeros(2, 3), 1.0)


def test_one_hot_rows_and_their_errors():
    assert classes_to_probabilities(torch.tensor([2, -1, 0]), 3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    for strange in ([0, 3], [-2, 0]):
        with pytest.raises(ShapeError, match="outside the classes"):
            classes_to_probabilities(torch.tensor(strange), 3)
