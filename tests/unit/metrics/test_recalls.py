import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.metrics.recalls import Recalls

CLASSES = ("neutral", "angry", "sad")
TRUTH = torch.tensor([0, 0, 0, 0, 1, 1, 2, -1])
PREDICTED = torch.tensor([0, 0, 0, 1, 1, 2, 2, 0])
SCORES = torch.eye(3)[PREDICTED]


def filled(scores=SCORES, truth=TRUTH):
    metric = Recalls(CLASSES)
    metric.update(scores, truth)
    return metric


def test_by_hand_with_true_rows():
    found = filled().compute()
    assert found["confusion"].tolist() == [[3, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert found["recall_neutral"].item() == 0.75
    assert found["recall_angry"].item() == 0.5
    assert found["ua"].item() == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    assert found["wa"].item() == pytest.approx(5 / 7)
    assert set(found) == {"ua", "wa", "f1_macro", "f1_weighted", "confusion", *(f"recall_{name}" for name in CLASSES)}


def test_a_mean_of_batch_values_is_another_number():
    whole = filled().compute()["ua"]
    metric, per_batch = Recalls(CLASSES), []
    for part in ([0, 4, 6], [1, 2, 3, 5, 7]):
        metric.update(SCORES[part], TRUTH[part])
        per_batch.append(filled(SCORES[part], TRUTH[part]).compute()["ua"])
    assert torch.equal(metric.compute()["ua"], whole)
    assert abs(torch.stack(per_batch).mean() - whole) > 0.05


def test_two_states_merge_into_the_whole():
    first, second = filled(SCORES[:2], TRUTH[:2]), filled(SCORES[2:], TRUTH[2:])
    first.merge_state(second)
    for name, value in filled().compute().items():
        torch.testing.assert_close(first.compute()[name], value)


def test_scaling_of_scores_changes_nothing_and_reset_forgets():
    metric = filled(SCORES * 7 - 3)
    assert torch.equal(metric.compute()["confusion"], filled().compute()["confusion"])
    metric.reset()
    metric.update(SCORES[:0], TRUTH[:0])
    assert metric.compute()["ua"].isnan()


@pytest.mark.parametrize(
    ("scores", "truth", "message"),
    [
        (torch.zeros(2, 4), torch.tensor([0, 1]), "do not fit"),
        (torch.zeros(2, 3), torch.tensor([0, 1, 2]), "do not fit"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), "do not fit"),
        (torch.tensor([[0.0, torch.nan, 0.0]]), torch.tensor([0]), "not finite"),
        (torch.zeros(3), torch.tensor([0]), "number of axes"),
    ],
)
def test_what_does_not_fit_is_told(scores, truth, message):
    with pytest.raises(ShapeError, match=message):
        Recalls(CLASSES).update(scores, truth)


def test_one_class_is_none():
    with pytest.raises(ConfigError, match="two class names"):
        Recalls(["neutral"])
