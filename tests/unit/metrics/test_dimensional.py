import pytest
import torch

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ShapeError
from ser_kd.functional.concordance import measure_concordance, measure_moments
from ser_kd.metrics.dimensional import Dimensional

GENERATOR = torch.Generator().manual_seed(0)
TARGET = torch.rand(30, 3, generator=GENERATOR)
PREDICTION = 0.6 * TARGET + 0.4 * torch.rand(30, 3, generator=GENERATOR)


def filled(*parts, mask=None):
    metric = Dimensional()
    for part in parts or (slice(None),):
        metric.update(PREDICTION[part], TARGET[part], None if mask is None else mask[part])
    return metric.compute()


def test_a_concordance_averaged_over_batches_is_another_number():
    parts = [slice(i, i + 5) for i in range(0, 30, 5)]
    whole = filled(*parts)["ccc_arousal"].item()
    averaged = sum(filled(part)["ccc_arousal"].item() for part in parts) / len(parts)
    assert whole == pytest.approx(measure_concordance(measure_moments(PREDICTION, TARGET))[0].item(), abs=1e-6)
    assert abs(whole - averaged) > 0.02


def test_moments_are_biased_like_lin_not_like_torchmetrics():
    from torchmetrics.functional.regression import concordance_corrcoef

    unbiased = concordance_corrcoef(PREDICTION[:5, 0], TARGET[:5, 0]).item()
    assert abs(filled(slice(0, 5))["ccc_arousal"].item() - unbiased) > 1e-3


def test_error_by_hand_and_order_of_dimensions():
    metric = Dimensional()
    metric.update(torch.tensor([[0.0, 0.5, 1.0], [1.0, 0.5, 0.0]]), torch.tensor([[0.0, 0.2, 0.0], [1.0, 0.1, 1.0]]))
    found = metric.compute()
    assert [round(found[f"rmse_{name}"].item(), 6) for name in DIMENSIONS] == [0.0, round(((0.3**2 + 0.4**2) / 2) ** 0.5, 6), 1.0]
    assert found["ccc_arousal"].item() == 1.0
    assert found["pearson_valence"].item() == pytest.approx(-1.0)
    assert found["pearson_dominance"].isnan()


def test_masked_values_change_nothing():
    mask = torch.ones(30, 3, dtype=torch.bool)
    mask[20:, 1] = False
    found, part = filled(mask=mask), filled(slice(0, 20))
    for name in ("ccc", "pearson", "rmse"):
        torch.testing.assert_close(found[f"{name}_dominance"], part[f"{name}_dominance"])
        torch.testing.assert_close(found[f"{name}_arousal"], filled()[f"{name}_arousal"])
    assert found["count_dominance"].item() == 20


def test_states_merge_into_the_whole():
    first, second = Dimensional(), Dimensional()
    first.update(PREDICTION[:11], TARGET[:11])
    second.update(PREDICTION[11:], TARGET[11:])
    first.merge_state(second)
    for name, value in filled().items():
        torch.testing.assert_close(first.compute()[name], value)


def test_nothing_is_nan():
    metric = Dimensional()
    metric.update(PREDICTION[:0], TARGET[:0])
    assert all(value.isnan() for name, value in metric.compute().items() if not name.startswith(("count", "spread", "unlearned")))


def test_what_does_not_fit_is_told():
    with pytest.raises(ShapeError, match="differ in shape"):
        Dimensional().update(PREDICTION, TARGET[:2])
    with pytest.raises(ShapeError, match="not finite"):
        Dimensional().update(PREDICTION * torch.nan, TARGET)


def test_a_dimension_that_was_never_learned_is_undefined_and_the_others_stay():
    said = PREDICTION.clone()
    said[:, 1] = torch.nan
    metric = Dimensional()
    for part in (slice(0, 11), slice(11, 30)):
        metric.update(said[part], TARGET[part])
    found, whole = metric.compute(), filled()
    assert all(found[f"{score}_dominance"].isnan() for score in ("ccc", "pearson", "rmse"))
    assert found["unlearned_dominance"] == 30
    for score in ("ccc", "pearson", "rmse"):
        for name in ("arousal", "valence"):
            assert found[f"{score}_{name}"] == whole[f"{score}_{name}"]
    assert found["ccc_mean"].item() == pytest.approx((found["ccc_arousal"] + found["ccc_valence"]).item() / 2)


def test_a_model_that_says_nan_throughout_is_broken():
    with pytest.raises(ShapeError, match="not finite"):
        Dimensional().update(torch.full((4, 3), torch.nan), TARGET[:4])
