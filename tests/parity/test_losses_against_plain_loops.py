import math

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax, softmax

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.softening import distillation_divergence
from ser_kd.losses.attention_transfer import AttentionTransfer
from ser_kd.losses.cross_entropy import CrossEntropy
from ser_kd.losses.decoupled import Decoupled
from ser_kd.losses.relational import RelationalAngle, RelationalDistance
from ser_kd.losses.supervised_contrastive import SupervisedContrastive

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 9, 4, generator=GENERATOR, dtype=torch.float64) * 2


def plain_softmax(row, temperature):
    powers = [math.exp(value / temperature) for value in row]
    return [power / sum(powers) for power in powers]


@pytest.mark.parametrize("temperature", [1.0, 4.0, 7.0])
def test_divergence_equals_torch_and_the_plain_loop(temperature):
    forward = distillation_divergence(STUDENT, TEACHER, temperature)
    torch_form = kl_div(log_softmax(STUDENT / temperature, 1), softmax(TEACHER / temperature, 1), reduction="batchmean")
    torch.testing.assert_close(forward.mean(), torch_form)
    backward = distillation_divergence(STUDENT, TEACHER, temperature, "student_first")
    for row in range(9):
        student = plain_softmax(STUDENT[row].tolist(), temperature)
        teacher = plain_softmax(TEACHER[row].tolist(), temperature)
        assert forward[row].item() == pytest.approx(sum(t * math.log(t / s) for s, t in zip(student, teacher, strict=True)))
        assert backward[row].item() == pytest.approx(sum(s * math.log(s / t) for s, t in zip(student, teacher, strict=True)))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_cross_entropy_equals_the_plain_loop(gamma):
    smoothing, weights = 0.1, [1.0, 0.5, 2.0, 1.5]
    targets = torch.softmax(torch.randn(9, 4, generator=GENERATOR, dtype=torch.float64), dim=1)
    targets[3] = 0.0
    batch = SpeechBatch([], [], torch.zeros(9, 1), torch.ones(9), torch.zeros(9), class_probabilities=targets)
    found = CrossEntropy(smoothing, weights, gamma)(Outputs(STUDENT), batch).item()
    total = mass = 0.0
    for row in range(9):
        if targets[row].sum() == 0:
            continue
        for column, probability in enumerate(plain_softmax(STUDENT[row].tolist(), 1.0)):
            target = targets[row, column].item()
            smoothed = (1 - smoothing) * target + smoothing / 4
            total -= weights[column] * smoothed * (1 - probability) ** gamma * math.log(probability)
            mass += weights[column] * target
    assert found == pytest.approx(total / mass)


def plain_huber(difference):
    return 0.5 * difference * difference if abs(difference) <= 1 else abs(difference) - 0.5


def plain_distances(rows):
    clips = len(rows)
    table = [[(rows[i] - rows[j]).square().sum().clamp_min(1e-12).sqrt() if i != j else 0.0 for j in range(clips)] for i in range(clips)]
    positive = [entry for row in table for entry in row if entry > 0]
    mean = sum(positive) / len(positive)
    return [entry / mean for row in table for entry in row]


def plain_angles(rows):
    def direction(i, j):
        difference = rows[i] - rows[j]
        return difference / difference.norm() if (difference != 0).any() else difference * 0.0

    indices = range(len(rows))
    directions = {(i, j): direction(i, j) for i in indices for j in indices}
    return [directions[i, j] @ directions[k, j] for j in indices for i in indices for k in indices]


def all_differences_distances(rows):
    distances = (rows[None] - rows[:, None]).square().sum(dim=2).clamp_min(1e-12).sqrt() * (1 - torch.eye(len(rows)))
    return distances / distances[distances > 0].mean()


def all_differences_angles(rows):
    differences = torch.nn.functional.normalize(rows[None] - rows[:, None], dim=2)
    return differences @ differences.transpose(1, 2)


def compare_relations(loss, student, teacher):
    rows = student.clone().requires_grad_()
    value = loss(Outputs(embedding=rows), None, TeacherAnswers({}, Outputs(embedding=teacher)))
    value.backward()
    return value.detach(), rows.grad


def assert_gradients_agree(found, expected):
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("kind", "relate"), [(RelationalDistance, plain_distances), (RelationalAngle, plain_angles)])
@pytest.mark.parametrize("case", ["random", "identical", "near"])
def test_relations_equal_the_plain_loops(kind, relate, reduction, case):
    generator = torch.Generator().manual_seed(7)
    student, teacher = torch.randn(6, 4, generator=generator), torch.randn(6, 9, generator=generator)
    if case == "identical":
        student[1], teacher[3] = student[0], teacher[2]
    if case == "near":
        student[1], teacher[3] = student[0] + 1e-4 * student[5], teacher[2] + 1e-3
    found, found_gradient = compare_relations(kind(reduction=reduction), student, teacher)
    rows = student.double().requires_grad_()
    differences = [mine - theirs for mine, theirs in zip(relate(rows), relate(teacher.double()), strict=True)]
    plain = sum(plain_huber(difference) for difference in differences) / (len(differences) if reduction == "mean" else 1)
    plain.backward()
    assert found.item() == pytest.approx(plain.item(), rel=1e-5)
    assert_gradients_agree(found_gradient, rows.grad.float())


@pytest.mark.parametrize(("kind", "relate"), [(RelationalDistance, all_differences_distances), (RelationalAngle, all_differences_angles)])
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_relations_of_wide_embeddings_equal_the_form_of_all_differences(kind, relate, offset):
    # an offset common to all clips, as pooled states have, is what a Gram matrix in float32 stumbles over
    generator = torch.Generator().manual_seed(8)
    student, teacher = torch.randn(24, 60, generator=generator) + offset, torch.randn(24, 768, generator=generator) + offset
    found, found_gradient = compare_relations(kind(), student, teacher)
    rows = student.clone().requires_grad_()
    plain = torch.nn.functional.smooth_l1_loss(relate(rows), relate(teacher))
    plain.backward()
    assert found.item() == pytest.approx(plain.item(), rel=1e-5)
    assert_gradients_agree(found_gradient, rows.grad)


def test_decoupled_equals_the_plain_loop():
    classes, temperature = [0, 3, -1, 1, 1, 2, 0, -1, 3], 4.0
    batch = SpeechBatch([], [], torch.zeros(9, 1), torch.ones(9), torch.zeros(9), classes=torch.tensor(classes))
    found = Decoupled(temperature, 1.5, 6.0)(Outputs(STUDENT), batch, TeacherAnswers({}, Outputs(TEACHER))).item()
    total = 0.0
    for row, label in enumerate(classes):
        if label < 0:
            continue
        student, teacher = plain_softmax(STUDENT[row].tolist(), temperature), plain_softmax(TEACHER[row].tolist(), temperature)
        target = teacher[label] * math.log(teacher[label] / student[label])
        target += (1 - teacher[label]) * math.log((1 - teacher[label]) / (1 - student[label]))
        others = 0.0
        for column in {0, 1, 2, 3} - {label}:
            s, t = student[column] / (1 - student[label]), teacher[column] / (1 - teacher[label])
            others += t * math.log(t / s)
        total += temperature**2 * (1.5 * target + 6.0 * others) / 7
    assert found == pytest.approx(total)


def test_contrastive_equals_the_plain_loop():
    classes, temperature = [0, 3, -1, 1, 1, 2, 0, -1, 1], 0.2
    batch = SpeechBatch([], [], torch.zeros(9, 1), torch.ones(9), torch.zeros(9), classes=torch.tensor(classes))
    found = SupervisedContrastive(temperature)(Outputs(embedding=STUDENT), batch).item()
    unit = [[value / math.hypot(*row) for value in row] for row in STUDENT.tolist()]
    likeness = [[math.exp(sum(a * b for a, b in zip(x, y, strict=True)) / temperature) for y in unit] for x in unit]
    losses = []
    for anchor, label in enumerate(classes):
        others = [row for row in range(9) if row != anchor and classes[row] >= 0]
        positives = [row for row in others if classes[row] == label]
        if label >= 0 and positives:
            everyone = sum(likeness[anchor][row] for row in others)
            losses.append(-sum(math.log(likeness[anchor][row] / everyone) for row in positives) / len(positives))
    assert len(losses) == 5
    assert found == pytest.approx(sum(losses) / len(losses))


def test_attention_transfer_equals_the_plain_loop():
    generator = torch.Generator().manual_seed(9)
    student, teacher = (torch.randn(3, frames, 4, generator=generator, dtype=torch.float64) for frames in (7, 19))
    lengths, parts, fineness = ((7, 5, 1), (19, 10, 3)), 6, 665

    def plain_map(frames, length):  # parts x fineness is a multiple of every length, so that no step crosses a frame
        energy = [sum(value * value for value in frame) / 4 for frame in frames[:length].tolist()]
        fine = [energy[(2 * step + 1) * length // (2 * parts * fineness)] for step in range(parts * fineness)]
        means = [sum(fine[part * fineness : (part + 1) * fineness]) / fineness for part in range(parts)]
        return [mean / math.hypot(*means) for mean in means]

    total = 0.0
    for clip in range(3):
        mine, theirs = plain_map(student[clip], lengths[0][clip]), plain_map(teacher[clip], lengths[1][clip])
        total += sum((s - t) ** 2 for s, t in zip(mine, theirs, strict=True)) / 3
    masks = [torch.arange(frames) < torch.tensor(sizes)[:, None] for frames, sizes in zip((7, 19), lengths, strict=True)]
    answers = TeacherAnswers({}, Outputs(frames=teacher, frame_mask=masks[1]))
    found = AttentionTransfer(parts)(Outputs(frames=student, frame_mask=masks[0]), None, answers).item()
    assert found == pytest.approx(total, rel=1e-9)
