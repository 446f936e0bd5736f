import pytest
import torch

from ser_kd.contracts.errors import ShapeError
from ser_kd.functional.concordance import correlate, measure_concordance, measure_moments

TARGET = torch.tensor([[1.0], [2.0], [3.0], [6.0]])
PREDICTION = torch.tensor([[2.0], [2.0], [5.0], [3.0]])


def concordance(prediction, target, mask=None):
    return measure_concordance(measure_moments(prediction, target, mask))


def test_by_hand():
    # means 3 and 3, biased variances 1.5 and 3.5, covariance 0.75
    moments = measure_moments(PREDICTION, TARGET)
    assert [round(float(part), 6) for part in (moments.prediction_variance, moments.target_variance, moments.covariance)] == [
        1.5,
        3.5,
        0.75,
    ]
    assert measure_concordance(moments).item() == pytest.approx(2 * 0.75 / 5.0)
    assert correlate(moments).item() == pytest.approx(0.75 / (1.5 * 3.5) ** 0.5)


def test_one_for_itself_and_less_beside_it():
    assert concordance(TARGET, TARGET).item() == pytest.approx(1.0)
    assert concordance(-TARGET + 6, TARGET).item() == pytest.approx(-1.0)
    assert concordance(TARGET + 1, TARGET).item() < 0.9
    assert correlate(measure_moments(TARGET + 1, TARGET)).item() == pytest.approx(1.0)


def test_columns_and_masks_stand_alone():
    prediction = torch.cat([PREDICTION, TARGET], dim=1)
    target = torch.cat([TARGET, TARGET], dim=1)
    mask = torch.ones(4, 2, dtype=torch.bool)
    mask[3, 0] = False
    target[3, 0] = torch.nan
    found = concordance(prediction, target, mask)
    torch.testing.assert_close(found[0], concordance(PREDICTION[:3], TARGET[:3])[0])
    assert found[1].item() == pytest.approx(1.0)


def test_undefined_is_nan_with_a_gradient_of_zero():
    prediction = torch.full((3, 1), 0.1, requires_grad=True)
    value = concordance(prediction, torch.full((3, 1), 0.1))
    assert value.isnan().all()
    torch.where(value.isnan(), torch.zeros_like(value), value).sum().backward()
    assert prediction.grad.tolist() == [[0.0]] * 3
    assert concordance(PREDICTION[:1], TARGET[:1]).isnan().all()
    assert concordance(PREDICTION[:0], TARGET[:0]).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_predictions_have_no_correlation_but_concordance_zero(dtype):
    target = torch.linspace(0, 1, 7, dtype=dtype)[:, None]
    moments = measure_moments(torch.full_like(target, 0.3), target)
    assert correlate(moments).isnan().all()
    assert abs(measure_concordance(moments).item()) < 1e-6


def test_gradient_moves_towards_the_target():
    prediction = PREDICTION.clone().requires_grad_()
    concordance(prediction, TARGET).sum().backward()
    with torch.no_grad():
        better = concordance(prediction + 0.1 * prediction.grad, TARGET)
    assert better.item() > concordance(PREDICTION, TARGET).item()


def test_shapes_are_checked():
    with pytest.raises(ShapeError, match="differ in shape"):
        measure_moments(PREDICTION, TARGET[:2])
    with pytest.raises(ShapeError, match="number of axes"):
        measure_moments(PREDICTION[:, 0], TARGET[:, 0])
