import pytest
import torch

from ser_kd.contracts.errors import ShapeError
from ser_kd.functional.recalls import f1_macro, f1_per_class, f1_weighted, recall_per_class, unweighted_accuracy, weighted_accuracy

# 80 of 100 neutral, 5 of 10 angry, 4 of 10 sad
IMBALANCED = torch.tensor([[80, 15, 5], [5, 5, 0], [4, 2, 4]])


def test_ua_and_wa_are_not_swapped():
    assert recall_per_class(IMBALANCED).tolist() == pytest.approx([0.8, 0.5, 0.4])
    assert unweighted_accuracy(IMBALANCED).item() == pytest.approx((0.8 + 0.5 + 0.4) / 3)
    assert weighted_accuracy(IMBALANCED).item() == pytest.approx(89 / 120)


def test_rows_are_the_truth():
    assert recall_per_class(IMBALANCED.T).tolist() == pytest.approx([80 / 89, 5 / 22, 4 / 9])
    assert weighted_accuracy(IMBALANCED.T).item() == pytest.approx(89 / 120)


def test_f1_by_hand():
    per_class = [160 / 189, 10 / 32, 8 / 19]
    assert f1_per_class(IMBALANCED).tolist() == pytest.approx(per_class)
    assert f1_macro(IMBALANCED).item() == pytest.approx(sum(per_class) / 3)
    assert f1_weighted(IMBALANCED).item() == pytest.approx((100 * per_class[0] + 10 * per_class[1] + 10 * per_class[2]) / 120)


def test_a_class_without_clips_is_left_out_of_ua():
    confusion = torch.tensor([[3, 0, 1], [0, 0, 0], [0, 0, 4]])
    assert recall_per_class(confusion)[1].isnan()
    assert unweighted_accuracy(confusion).item() == pytest.approx((0.75 + 1.0) / 2)
    assert f1_per_class(confusion)[1].isnan()
    assert f1_macro(confusion).item() == pytest.approx((6 / 7 + 8 / 9) / 2)
    assert f1_weighted(confusion).item() == pytest.approx((6 / 7 + 8 / 9) / 2)
    confusion[0, 1] = 1  # now it is predicted: its F1 is 0, its recall stays undefined
    assert recall_per_class(confusion)[1].isnan()
    assert f1_per_class(confusion)[1] == 0.0


def test_nothing_is_nan_everywhere():
    empty = torch.zeros(2, 2, dtype=torch.int64)
    assert all(function(empty).isnan() for function in (unweighted_accuracy, weighted_accuracy, f1_macro, f1_weighted))


def test_published_accuracies_are_exact():
    assert weighted_accuracy(torch.tensor([[252, 0], [48, 0]])).item() == 252 / 300


def test_square_or_error():
    with pytest.raises(ShapeError, match="square"):
        unweighted_accuracy(torch.zeros(2, 3))
