import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import cross_entropy

from ser_kd.contracts.errors import ConfigError, DataError, ShapeError
from ser_kd.contracts.outputs import Outputs
from ser_kd.losses.cross_entropy import CrossEntropy

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.3, 0.1], [-1.0, 2.0, 2.5], [0.2, 0.2, 4.0]])
CLASSES = [0, 1, 1, 2]


def test_by_hand(make_batch):
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert CrossEntropy()(Outputs(logits), make_batch([1])).item() == pytest.approx(-math.log(0.75), abs=1e-6)
    smoothed = CrossEntropy(label_smoothing=0.1)(Outputs(logits), make_batch([1])).item()
    assert smoothed == pytest.approx(-0.95 * math.log(0.75) - 0.05 * math.log(0.25), abs=1e-6)


def test_zero_where_the_label_is_certain(make_batch):
    certain = torch.eye(3)[CLASSES] * 200
    assert CrossEntropy()(Outputs(certain), make_batch(CLASSES)).item() == 0.0
    assert CrossEntropy(label_smoothing=0.1)(Outputs(certain), make_batch(CLASSES)).item() > 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [1.0, 2.5, 0.5]])
@pytest.mark.parametrize("classes", [CLASSES, [0, -1, -1, 2]])
def test_equals_torch_for_hard_classes(make_batch, smoothing, weights, classes):
    mine, theirs = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    loss = CrossEntropy(smoothing, weights)(Outputs(mine), make_batch(classes))
    tensor = None if weights is None else torch.tensor(weights)
    expected = cross_entropy(theirs, torch.tensor(classes), tensor, ignore_index=-1, label_smoothing=smoothing)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torch_for_mixed_classes(make_batch, smoothing):
    mixed = [[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.7], [0.0, 0.5, 0.5]]
    loss = CrossEntropy(smoothing)(Outputs(LOGITS), make_batch(CLASSES, mixed))
    torch.testing.assert_close(loss, cross_entropy(LOGITS, torch.tensor(mixed), label_smoothing=smoothing))


def test_a_mixture_of_weight_one_equals_its_hard_class(make_batch):
    loss = CrossEntropy(0.1, [1.0, 3.0, 0.2], focal_gamma=2.0)
    hard = loss(Outputs(LOGITS), make_batch([0, 1, -1, 2]))
    soft = loss(Outputs(LOGITS), make_batch(class_probabilities=[[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0], [0, 0, 1.0]]))
    assert torch.equal(hard, soft)


def test_clips_without_a_class_change_nothing(make_batch):
    for loss in (CrossEntropy(), CrossEntropy(0.1, [1.0, 2.0, 3.0], 2.0)):
        known = loss(Outputs(LOGITS[:2]), make_batch(CLASSES[:2]))
        torch.testing.assert_close(loss(Outputs(LOGITS), make_batch([*CLASSES[:2], -1, -1])), known)


def test_a_batch_without_any_class_is_zero_with_a_gradient(make_batch):
    logits = LOGITS.clone().requires_grad_()
    loss = CrossEntropy(0.1)(Outputs(logits), make_batch([-1] * 4))
    assert loss.item() == 0.0
    loss.backward()
    assert logits.grad.abs().sum() == 0.0


def test_focal_looks_away_from_what_is_right(make_batch):
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert CrossEntropy(focal_gamma=2.0)(Outputs(logits), make_batch([1])).item() == pytest.approx(-(0.25**2) * math.log(0.75), abs=1e-6)
    batch = make_batch(CLASSES)
    torch.testing.assert_close(CrossEntropy(focal_gamma=0.0)(Outputs(LOGITS), batch), CrossEntropy()(Outputs(LOGITS), batch))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_gradient_is_finite_where_the_label_is_certain(make_batch, gamma):
    logits = (torch.eye(3)[CLASSES] * 300).requires_grad_()
    CrossEntropy(focal_gamma=gamma)(Outputs(logits), make_batch(CLASSES)).backward()
    assert torch.isfinite(logits.grad).all()


def test_balanced_weights_are_those_of_scikit_learn(make_batch):
    loss = CrossEntropy(class_weights="balanced")
    with pytest.raises(ConfigError, match="no counts yet"):
        loss(Outputs(LOGITS), make_batch(CLASSES))
    loss.set_class_counts([10, 70, 20])
    labels = [0] * 10 + [1] * 70 + [2] * 20
    expected = torch.tensor(compute_class_weight("balanced", classes=np.arange(3), y=labels), dtype=torch.float32)
    torch.testing.assert_close(loss.weights, expected)
    torch.testing.assert_close(
        loss(Outputs(LOGITS), make_batch(CLASSES)), CrossEntropy(class_weights=expected.tolist())(Outputs(LOGITS), make_batch(CLASSES))
    )
    assert loss.state_dict() == {}


def test_counts_leave_given_weights_alone():
    loss = CrossEntropy(class_weights=[1.0, 2.0])
    loss.set_class_counts([5, 50])
    assert loss.weights.tolist() == [1.0, 2.0]


def test_single_precision_inside_autocast(make_batch):
    low = LOGITS.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = CrossEntropy(0.1)(Outputs(low), make_batch(CLASSES))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, CrossEntropy(0.1)(Outputs(low.float()), make_batch(CLASSES)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label_smoothing": 1.0}, "smoothing is a share"),
        ({"label_smoothing": -0.1}, "smoothing is a share"),
        ({"focal_gamma": -1.0}, "focal exponent"),
        ({"class_weights": "balance"}, "Unknown class weights"),
        ({"class_weights": [1.0, -1.0]}, "numbers from 0"),
        ({"class_weights": [0.0, 0.0]}, "numbers from 0"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CrossEntropy(**arguments)


def test_inputs_are_checked(make_batch):
    with pytest.raises(ConfigError, match="needs class logits"):
        CrossEntropy()(Outputs(), make_batch(CLASSES))
    with pytest.raises(ConfigError, match="needs class labels"):
        CrossEntropy()(Outputs(LOGITS), make_batch(clips=4))
    with pytest.raises(ShapeError, match="outside the classes"):
        CrossEntropy()(Outputs(LOGITS), make_batch([0, 1, 2, 3]))
    with pytest.raises(ShapeError, match="number of classes"):
        CrossEntropy(class_weights=[1.0, 1.0])(Outputs(LOGITS), make_batch(CLASSES))
    with pytest.raises(ShapeError, match="differ in shape"):
        CrossEntropy()(Outputs(LOGITS), make_batch(class_probabilities=[[1.0, 0.0]] * 4))
    with pytest.raises(DataError, match="clips of every class"):
        CrossEntropy(class_weights="balanced").set_class_counts([3, 0])
