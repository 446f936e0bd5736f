import math

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.attention_transfer import AttentionTransfer

GENERATOR = torch.Generator().manual_seed(5)
STUDENT, TEACHER = torch.randn(3, 8, 5, generator=GENERATOR), torch.randn(3, 24, 16, generator=GENERATOR)
STUDENT_MASK = torch.arange(8) < torch.tensor([8, 5, 2])[:, None]
TEACHER_MASK = torch.arange(24) < torch.tensor([24, 15, 6])[:, None]


def compare(loss, student=STUDENT, teacher=TEACHER, student_mask=None, teacher_mask=None):
    answers = TeacherAnswers({}, Outputs(frames=teacher, frame_mask=teacher_mask))
    return loss(Outputs(frames=student, frame_mask=student_mask), None, answers)


def test_by_hand():
    student = torch.tensor([[[math.sqrt(3.0), 0.0], [0.0, 2.0]]])  # energies 3/2 and 2: map (3, 4) / 5
    teacher = torch.tensor([[[0.0], [7.0]]])  # map (0, 1)
    assert compare(AttentionTransfer(2), student, teacher).item() == pytest.approx(0.36 + 0.04, abs=1e-6)
    assert compare(AttentionTransfer(2), torch.tensor([[[1.0], [0.0]]]), teacher).item() == pytest.approx(2.0)


def test_zero_where_the_teacher_speaks_at_the_same_time_at_another_rate():
    faster = STUDENT.repeat_interleave(3, dim=1)
    assert compare(AttentionTransfer(8), STUDENT, faster) < 1e-12
    assert compare(AttentionTransfer(4), STUDENT, faster) < 1e-12
    assert compare(AttentionTransfer(8), STUDENT, faster.roll(3, dims=1)) > 0.01


def test_scale_and_rotation_of_channels_change_nothing():
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=GENERATOR))
    plain = compare(AttentionTransfer())
    for moved in (STUDENT * 50.0, STUDENT * 1e-6, STUDENT @ rotation, torch.cat([STUDENT, STUDENT], dim=2)):
        torch.testing.assert_close(compare(AttentionTransfer(), moved), plain)


def test_padding_changes_nothing():
    loss = AttentionTransfer(16)
    alone = [
        compare(loss, STUDENT[row : row + 1, :short], TEACHER[row : row + 1, :long])
        for row, (short, long) in enumerate(((8, 24), (5, 15), (2, 6)))
    ]
    padded = [frames.masked_fill(~mask[..., None], torch.nan) for frames, mask in ((STUDENT, STUDENT_MASK), (TEACHER, TEACHER_MASK))]
    student = padded[0].requires_grad_()
    together = compare(loss, student, padded[1], STUDENT_MASK, TEACHER_MASK)
    torch.testing.assert_close(together, torch.stack(alone).mean())
    together.backward()
    assert torch.isfinite(student.grad).all()
    assert student.grad[~STUDENT_MASK].abs().max() == 0.0


def test_gradient_reaches_the_student_and_not_the_teacher():
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    compare(AttentionTransfer(), student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_clips_without_a_valid_frame_count_nowhere():
    mask = STUDENT_MASK.clone()
    mask[1:] = False
    torch.testing.assert_close(compare(AttentionTransfer(), student_mask=mask), compare(AttentionTransfer(), STUDENT[:1], TEACHER[:1]))
    student = STUDENT.clone().requires_grad_()
    nothing = compare(AttentionTransfer(), student, student_mask=torch.zeros_like(mask))
    assert nothing.item() == 0.0
    nothing.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


def test_silent_frames_give_no_nan():
    student = torch.zeros(3, 8, 5, requires_grad=True)
    loss = compare(AttentionTransfer(), student)
    assert loss.item() == pytest.approx(1.0)
    loss.backward()
    assert torch.isfinite(student.grad).all()


def test_a_chosen_layer():
    student = Outputs(frames=STUDENT, hidden_states={2: STUDENT + 1})
    teacher = TeacherAnswers({"speech": Outputs(hidden_states={6: TEACHER})}, Outputs())
    found = AttentionTransfer(student_layer=2, teacher_layer=6, teacher="speech")(student, None, teacher)
    torch.testing.assert_close(found, compare(AttentionTransfer(), STUDENT + 1))
    with pytest.raises(ConfigError, match=r"(?s)no layer 4 of the teacher 'speech'.*layers 6"):
        AttentionTransfer(teacher_layer=4, teacher="speech")(student, None, teacher)


def test_single_precision_inside_autocast():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compare(AttentionTransfer(), STUDENT.bfloat16(), TEACHER.bfloat16())
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, compare(AttentionTransfer(), STUDENT.bfloat16().float(), TEACHER.bfloat16().float()))


def test_errors():
    with pytest.raises(ConfigError, match="'attention_transfer' needs a teacher"):
        AttentionTransfer()(Outputs(frames=STUDENT), None, None)
    with pytest.raises(ConfigError, match=r"(?s)no frames of the student.*TIM-Net has none"):
        compare(AttentionTransfer(), student=None)
    with pytest.raises(ShapeError, match=r"(?s)mask of the student differ.*\(3, 8\)"):
        compare(AttentionTransfer(), student_mask=TEACHER_MASK)
    with pytest.raises(ShapeError, match="different numbers of clips"):
        compare(AttentionTransfer(), student=STUDENT[:2])
    with pytest.raises(ShapeError, match="wrong number of axes"):
        compare(AttentionTransfer(), teacher=TEACHER[0])
    with pytest.raises(ConfigError, match="map_frames of 2 or more"):
        AttentionTransfer(1)
