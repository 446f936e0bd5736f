import math

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.softening import distillation_divergence, soften
from ser_kd.losses.decoupled import Decoupled

GENERATOR = torch.Generator().manual_seed(2)
STUDENT, TEACHER = torch.randn(2, 5, 4, generator=GENERATOR, dtype=torch.float64) * 2
CLASSES = [0, 3, 1, 1, 2]


def compare(loss, batch, student=STUDENT, teacher=TEACHER):
    return loss(Outputs(student), batch, TeacherAnswers({}, Outputs(teacher)))


def test_by_hand(make_batch):
    # probabilities (1/2, 1/4, 1/4) of the student and (1/2, 3/8, 1/8) of the teacher; class 0 is true, the target part zero
    student, teacher = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.5, 0.375, 0.125]]).log()
    others = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert compare(Decoupled(1.0), make_batch([0]), student, teacher).item() == pytest.approx(8 * others, abs=1e-5)
    # class 1 is true: (1/4, 3/4) against (3/8, 5/8), the others (2/3, 1/3) against (4/5, 1/5)
    target = 3 / 8 * math.log(3 / 2) + 5 / 8 * math.log(5 / 6)
    others = 4 / 5 * math.log(6 / 5) + 1 / 5 * math.log(3 / 5)
    assert compare(Decoupled(1.0), make_batch([1]), student, teacher).item() == pytest.approx(target + 8 * others, abs=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_is_the_target_part_and_the_unsure_share_of_the_other(make_batch, temperature):
    for row, label in enumerate(CLASSES):
        batch, student, teacher = make_batch([label]), STUDENT[row : row + 1], TEACHER[row : row + 1]
        target_part = compare(Decoupled(temperature, 1.0, 0.0, scale_by_temperature_squared=False), batch, student, teacher)
        other_part = compare(Decoupled(temperature, 0.0, 1.0, scale_by_temperature_squared=False), batch, student, teacher)
        unsure = 1.0 - soften(teacher, temperature)[0, label]
        torch.testing.assert_close(target_part + unsure * other_part, distillation_divergence(student, teacher, temperature)[0])
        assert min(target_part, other_part) > 0


def test_zero_where_both_agree(make_batch):
    student = (TEACHER + 3.0).requires_grad_()
    loss = compare(Decoupled(4.0), make_batch(CLASSES), student)
    assert abs(loss.item()) < 1e-12
    loss.backward()
    assert student.grad.abs().max() < 1e-12


def test_gradient_reaches_the_student_and_not_the_teacher(make_batch):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    compare(Decoupled(2.0), make_batch(CLASSES), student, teacher).backward()
    assert (student.grad.abs().sum(dim=1) > 0).all()
    assert teacher.grad is None


def test_temperature_squared_is_an_exact_factor_and_may_come_from_the_objective(make_batch):
    batch = make_batch(CLASSES)
    plain = compare(Decoupled(4.0, scale_by_temperature_squared=False), batch)
    torch.testing.assert_close(compare(Decoupled(4.0), batch), 16 * plain)
    loss = Decoupled(scale_by_temperature_squared=False)
    assert not loss.owns_temperature
    with pytest.raises(ConfigError, match="'decoupled' has no temperature"):
        compare(loss, batch)
    loss.temperature = 4.0
    assert torch.equal(compare(loss, batch), plain)


def test_clips_without_a_class_change_nothing(make_batch):
    known = compare(Decoupled(2.0), make_batch(CLASSES[:3]), STUDENT[:3], TEACHER[:3])
    torch.testing.assert_close(compare(Decoupled(2.0), make_batch([*CLASSES[:3], -1, -1])), known)
    student = STUDENT.clone().requires_grad_()
    nothing = compare(Decoupled(2.0), make_batch([-1] * 5), student)
    assert nothing.item() == 0.0
    nothing.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_a_mixed_label_counts_as_its_larger_part(make_batch):
    mixed = make_batch([3, 3], [[0.6, 0.4, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    hard = make_batch([0, -1])
    assert torch.equal(compare(Decoupled(2.0), mixed, STUDENT[:2], TEACHER[:2]), compare(Decoupled(2.0), hard, STUDENT[:2], TEACHER[:2]))


def test_certain_answers_stay_finite(make_batch):
    student = torch.tensor([[500.0, 0.0, 0.0], [0.0, 500.0, 0.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 500.0, -torch.inf], [500.0, 0.0, 100.0]])
    loss = compare(Decoupled(1.0), make_batch([0, 1]), student, teacher)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()
    assert loss.item() > 100.0


def test_two_classes_leave_the_target_part_alone(make_batch):
    two = STUDENT[:, :2], TEACHER[:, :2]
    whole = distillation_divergence(*two, 3.0).mean()
    torch.testing.assert_close(compare(Decoupled(3.0, scale_by_temperature_squared=False), make_batch([0, 1, 0, 1, 1]), *two), whole)


def test_single_precision_inside_autocast(make_batch):
    batch, low = make_batch(CLASSES), (STUDENT.bfloat16(), TEACHER.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compare(Decoupled(4.0), batch, *low)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, compare(Decoupled(4.0), batch, low[0].float(), low[1].float()))


def test_errors(make_batch):
    batch = make_batch(CLASSES)
    with pytest.raises(ConfigError, match="'decoupled' needs a teacher"):
        Decoupled(1.0)(Outputs(STUDENT), batch, None)
    with pytest.raises(ConfigError, match="'decoupled' needs class labels"):
        compare(Decoupled(1.0), make_batch(clips=5))
    with pytest.raises(ConfigError, match="student without logits"):
        compare(Decoupled(1.0), batch, student=None)
    with pytest.raises(ShapeError, match="differ in shape"):
        compare(Decoupled(1.0), batch, teacher=TEACHER[:, :3])
    with pytest.raises(ShapeError, match="differ in shape"):
        compare(Decoupled(1.0), make_batch(class_probabilities=[[1.0, 0.0]] * 5))
    with pytest.raises(ShapeError, match="outside the classes"):
        compare(Decoupled(1.0), make_batch([4, 0, 0, 0, 0]))
    with pytest.raises(ConfigError, match="must be positive"):
        Decoupled(0.0)
    for weights in ((-1.0, 8.0), (0.0, 0.0), (math.nan, 1.0)):
        with pytest.raises(ConfigError, match="weights of decoupled"):
            Decoupled(1.0, *weights)
