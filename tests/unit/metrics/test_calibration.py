import pytest
import torch

from ser_kd.contracts.errors import ShapeError
from ser_kd.metrics.calibration import CalibrationError


def logits_of(confidences):
    confidence = torch.tensor(confidences)
    return torch.stack([confidence, 1 - confidence], dim=1).log()


def test_by_hand():
    # bin of 0.9: accuracy 1/2, bin of 0.7: accuracy 1
    metric = CalibrationError(2)
    metric.update(logits_of([0.9, 0.9, 0.7, 0.7]), torch.tensor([0, 1, 0, 0]))
    assert metric.compute().item() == pytest.approx(0.5 * 0.4 + 0.5 * 0.3, abs=1e-6)


def test_logits_inside_the_unit_interval_are_no_probabilities():
    metric = CalibrationError(2)
    metric.update(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert metric.compute().item() == pytest.approx(1 - torch.sigmoid(torch.tensor(1.0)).item(), abs=1e-6)


def test_clips_without_a_class_and_batches_change_nothing():
    logits, truth = torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 4
    whole, parts, half = CalibrationError(4), CalibrationError(4), CalibrationError(4)
    whole.update(logits, truth)
    for part in (slice(0, 7), slice(7, 20)):
        parts.update(torch.cat([logits[part], torch.ones(1, 4)]), torch.cat([truth[part], torch.tensor([-1])]))
    half.update(logits[20:], truth[20:])
    parts.merge_state(half)
    torch.testing.assert_close(parts.compute(), whole.compute())


def test_nothing_is_nan():
    metric = CalibrationError(2)
    metric.update(torch.zeros(1, 2), torch.tensor([-1]))
    assert metric.compute().isnan()


def test_infinite_logits_are_told():
    with pytest.raises(ShapeError, match="not finite"):
        CalibrationError(2).update(torch.tensor([[torch.inf, 0.0]]), torch.tensor([0]))
