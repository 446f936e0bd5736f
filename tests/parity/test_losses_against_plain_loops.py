import math

import pytest
import torch
from torch.nn.functional import kl_div, log_softmax, softmax

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.outputs import Outputs
from ser_kd.functional.softening import distillation_divergence
from ser_kd.losses.cross_entropy import CrossEntropy

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
