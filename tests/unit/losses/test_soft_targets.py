import math

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.soft_targets import SoftTargets

STUDENT = torch.tensor([[0.0, math.log(3.0)], [1.0, -2.0]])
TEACHER = torch.tensor([[0.0, 0.0], [0.5, 1.5]])


@pytest.fixture
def batch(make_batch):
    return make_batch([1, 0])


def answers(combined=TEACHER, **members):
    return TeacherAnswers({name: Outputs(logits) for name, logits in members.items()}, Outputs(combined))


def test_by_hand(make_batch):
    loss = SoftTargets(1.0)(Outputs(STUDENT[:1]), make_batch([1]), answers(TEACHER[:1]))
    assert loss.item() == pytest.approx(0.5 * math.log(2.0) + 0.5 * math.log(2 / 3), abs=1e-6)


def test_a_mean_over_clips_with_or_without_label(make_batch):
    loss = SoftTargets(2.0)
    parts = [loss(Outputs(STUDENT[i : i + 1]), make_batch([0]), answers(TEACHER[i : i + 1])) for i in range(2)]
    torch.testing.assert_close(loss(Outputs(STUDENT), make_batch([-1, -1]), answers()), (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("direction", ["teacher_first", "student_first"])
def test_zero_where_both_agree_although_the_teacher_has_entropy(batch, direction):
    student = (TEACHER - 3.0).requires_grad_()
    loss = SoftTargets(4.0, direction, scale_by_temperature_squared=True)(Outputs(student), batch, answers())
    assert abs(loss.item()) < 1e-5
    loss.backward()
    assert student.grad.abs().max() < 1e-5


def test_direction_changes_the_value(batch):
    first, second = (
        SoftTargets(1.0, direction)(Outputs(STUDENT), batch, answers()).item() for direction in ("teacher_first", "student_first")
    )
    assert abs(first - second) > 0.01


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_temperature_squared_stays_whatever_the_other_term_weighs(batch, weight):
    plain = SoftTargets(4.0)(Outputs(STUDENT), batch, answers())
    scaled = SoftTargets(4.0, scale_by_temperature_squared=True)(Outputs(STUDENT), batch, answers())
    label = CrossEntropy()(Outputs(STUDENT), batch)
    torch.testing.assert_close(weight * label + (1 - weight) * scaled, weight * label + (1 - weight) * 16 * plain)


def test_gradient_reaches_the_student_and_not_the_teacher(batch):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    for direction in ("teacher_first", "student_first"):
        SoftTargets(2.0, direction)(Outputs(student), batch, answers(teacher)).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_temperature_of_the_objective(batch):
    loss = SoftTargets()
    assert not loss.owns_temperature
    assert SoftTargets(2.0).owns_temperature
    with pytest.raises(ConfigError, match="no temperature"):
        loss(Outputs(STUDENT), batch, answers())
    for temperature in (1.0, 4.0):
        loss.temperature = temperature
        expected = SoftTargets(temperature)(Outputs(STUDENT), batch, answers())
        assert torch.equal(loss(Outputs(STUDENT), batch, answers()), expected)


def test_one_member_or_the_ensemble(batch):
    teacher = answers(TEACHER, prosody=TEACHER + torch.tensor([1.0, 0.0]))
    loss = SoftTargets(1.0, teacher="prosody")(Outputs(STUDENT), batch, teacher)
    torch.testing.assert_close(loss, SoftTargets(1.0)(Outputs(STUDENT), batch, answers(teacher.members["prosody"].logits)))
    with pytest.raises(ConfigError, match="combined, prosody"):
        SoftTargets(1.0, teacher="text")(Outputs(STUDENT), batch, teacher)


def test_single_precision_inside_autocast(batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = SoftTargets(4.0)(Outputs(STUDENT.bfloat16()), batch, answers(TEACHER.bfloat16()))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, SoftTargets(4.0)(Outputs(STUDENT.bfloat16().float()), batch, answers(TEACHER.bfloat16().float())))


def test_errors(batch):
    with pytest.raises(ConfigError, match="'soft_targets' needs a teacher"):
        SoftTargets(1.0)(Outputs(STUDENT), batch, None)
    with pytest.raises(ConfigError, match="student without logits"):
        SoftTargets(1.0)(Outputs(), batch, answers())
    with pytest.raises(ConfigError, match="teacher 'combined' without logits"):
        SoftTargets(1.0)(Outputs(STUDENT), batch, TeacherAnswers({}, Outputs()))
    with pytest.raises(ShapeError, match="differ in shape"):
        SoftTargets(1.0)(Outputs(STUDENT), batch, answers(torch.zeros(2, 3)))
    with pytest.raises(ConfigError, match="must be positive"):
        SoftTargets(0.0)
    with pytest.raises(ConfigError, match="direction"):
        SoftTargets(1.0, "both")  # type: ignore[arg-type]
    assert SoftTargets.needs_teacher
    assert not CrossEntropy.needs_teacher
