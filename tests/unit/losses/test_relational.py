import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.losses.relational import RelationalAngle, RelationalDistance

GENERATOR = torch.Generator().manual_seed(1)
STUDENT, TEACHER = torch.randn(7, 6, generator=GENERATOR), torch.randn(7, 10, generator=GENERATOR)
BOTH = pytest.mark.parametrize("kind", [RelationalDistance, RelationalAngle])


def compare(loss, student, teacher):
    return loss(Outputs(embedding=student), None, TeacherAnswers({}, Outputs(embedding=teacher)))


@BOTH
def test_zero_for_equal_relations_and_more_otherwise(kind):
    assert compare(kind(), TEACHER, TEACHER).item() == 0.0
    assert compare(kind(), STUDENT, TEACHER).item() > 1e-3


@BOTH
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_rotation_translation_scale_and_width_change_nothing(kind, reduction):
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, generator=GENERATOR))
    wide = torch.cat([STUDENT, torch.zeros(7, 3)], dim=1)
    loss = kind(reduction=reduction)
    plain = compare(loss, STUDENT, TEACHER)
    for moved in (STUDENT @ rotation, STUDENT + 5.0, STUDENT * 30.0, STUDENT * 0.01, wide):
        torch.testing.assert_close(compare(loss, moved, TEACHER), plain, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(compare(loss, TEACHER, moved), compare(loss, TEACHER, STUDENT), rtol=1e-4, atol=1e-6)
        assert compare(loss, moved, STUDENT) < 1e-8
    assert compare(loss, STUDENT * torch.arange(1.0, 7.0), STUDENT) > 1e-3


def test_distances_by_hand():
    student, teacher = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    # distances 1, 3, 2 with mean 2, and 1, 2, 1 with mean 4/3: relative 1/2, 3/2, 1 and 3/4, 3/2, 3/4
    total = 2 * (0.5 * 0.25**2 + 0.0 + 0.5 * 0.25**2)
    assert compare(RelationalDistance(), student, teacher).item() == pytest.approx(total / 9, abs=1e-7)
    assert compare(RelationalDistance(reduction="sum"), student, teacher).item() == pytest.approx(total, abs=1e-6)


def test_distances_beyond_one_count_linearly():
    student, teacher = torch.tensor([[0.0], [0.0], [0.0], [1.0]]), torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    # each has six entries of 1 and six of 0 with mean 1/2 (identical clips lie 1e-6 apart): relative 2, and eight differ
    found = compare(RelationalDistance(reduction="sum"), student, teacher).item()
    assert found == pytest.approx(8 * (2.0 - 0.5), rel=1e-4)


def test_angles_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    # cosines at each corner: 0, 1/sqrt(2), 1/sqrt(2) and 1, -1, 1; every triple stands twice, all other entries agree
    near = 1 / math.sqrt(2)
    total = 2 * (0.5 * 1.0 + (1.0 + near - 0.5) + 0.5 * (1.0 - near) ** 2)
    assert compare(RelationalAngle(), student, teacher).item() == pytest.approx(total / 27, abs=1e-6)
    assert compare(RelationalAngle(reduction="sum"), student, teacher).item() == pytest.approx(total, abs=1e-5)


@BOTH
def test_gradient_reaches_the_student_and_not_the_teacher(kind):
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    compare(kind(), student, teacher).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


@BOTH
@pytest.mark.parametrize("rows", [[0, 0, 1, 2, 3], [0, 0, 0, 0, 0]])
def test_identical_embeddings_give_no_nan(kind, rows):
    for mine, theirs in ((STUDENT[rows], TEACHER[:5]), (STUDENT[:5], TEACHER[rows]), (STUDENT[rows], TEACHER[rows])):
        student = mine.clone().requires_grad_()
        loss = compare(kind(), student, theirs)
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(student.grad).all()
        assert student.grad.abs().max() < 10.0


@BOTH
def test_single_precision_inside_autocast(kind):
    low, other = STUDENT.bfloat16().requires_grad_(), TEACHER.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = compare(kind(), low, other)
        exact = compare(kind(), STUDENT, TEACHER)
    assert loss.dtype == exact.dtype == torch.float32
    torch.testing.assert_close(loss, compare(kind(), low.float(), other.float()))
    assert torch.equal(exact, compare(kind(), STUDENT, TEACHER))
    loss.backward()
    assert torch.isfinite(low.grad).all()
    assert compare(kind(), STUDENT.double(), TEACHER).dtype == torch.float64


@pytest.mark.parametrize(("kind", "minimum"), [(RelationalDistance, 2), (RelationalAngle, 3)])
def test_a_small_last_batch_is_zero_with_a_gradient(kind, minimum):
    assert kind().minimum_batch == minimum
    for clips in range(1, minimum):
        student = STUDENT[:clips].clone().requires_grad_()
        loss = compare(kind(), student, TEACHER[:clips])
        assert loss.item() == 0.0
        loss.backward()
        assert torch.equal(student.grad, torch.zeros_like(student))
    student = STUDENT[:minimum].clone().requires_grad_()
    compare(kind(), student, TEACHER[:minimum]).backward()
    assert torch.isfinite(student.grad).all()


class LargestTensor(TorchDispatchMode):
    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        answer = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(answer) if isinstance(leaf, torch.Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return answer


@BOTH
def test_no_tensor_of_all_differences_is_made(kind):
    clips, width = 16, 768
    student = torch.randn(clips, width, generator=GENERATOR).requires_grad_()
    teacher = torch.randn(clips, width, generator=GENERATOR)
    with LargestTensor() as forward_and_backward:
        compare(kind(), student, teacher).backward()
    assert forward_and_backward.numbers <= clips * width  # B x B x D would be 16 times as much
    with LargestTensor() as plain:
        (teacher[None] - teacher[:, None]).norm(dim=2)
    assert plain.numbers == clips * clips * width


@BOTH
def test_slots(kind):
    student = Outputs(embedding=STUDENT, embeddings={"hidden": TEACHER})
    members = {"prosody": Outputs(embeddings={"deep": STUDENT}), "text": Outputs(embedding=TEACHER)}
    teacher = TeacherAnswers(members, Outputs())
    assert kind("text", student_embedding="hidden")(student, None, teacher).item() == 0.0
    assert kind("prosody", teacher_embedding="deep")(student, None, teacher).item() == 0.0
    with pytest.raises(ConfigError, match=r"(?s)of the combined teacher.*without embedding.*\.teacher to one of prosody, text"):
        kind()(student, None, teacher)
    with pytest.raises(ConfigError, match=f"'{kind.term}' needs a teacher"):
        kind()(student, None, None)
    with pytest.raises(ConfigError, match=f"'{kind.term}' finds no embedding 'deep' of the student"):
        kind("text", student_embedding="deep")(student, None, teacher)
    with pytest.raises(ConfigError, match="Unknown reduction"):
        kind(reduction="none")
