import math

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs
from ser_kd.losses.supervised_contrastive import SupervisedContrastive

EMBEDDINGS = torch.randn(8, 5, generator=torch.Generator().manual_seed(4))
CLASSES = [0, 0, 1, 1, 1, 2, 0, 3]
NAMES = ("angry", "happy", "sad", "neutral")


def contrast(loss, batch, embeddings=EMBEDDINGS):
    return loss(Outputs(embedding=embeddings), batch)


def test_by_hand(make_batch):
    # one pair at right angles to one other clip: -log(e^(1/T) / (e^(1/T) + 1)) for both anchors
    embeddings = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]])
    found = contrast(SupervisedContrastive(0.5), make_batch([0, 0, 1]), embeddings).item()
    assert found == pytest.approx(math.log(1 + math.exp(-2.0)), abs=1e-6)


def test_least_where_classes_fall_together_and_lie_apart(make_batch):
    batch = make_batch([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]])
    found = contrast(SupervisedContrastive(0.05), batch, apart).item()
    assert 0 <= found < 1e-6
    assert contrast(SupervisedContrastive(0.05), batch, apart[[0, 2, 1, 3]]).item() > 10.0


def test_with_one_positive_each_it_is_a_cross_entropy_of_similarities(make_batch):
    unit = normalize(EMBEDDINGS, dim=1)
    similarities = (unit @ unit.T / 0.1).fill_diagonal_(-torch.inf)
    pairs = [0, 1, 2, 3, 3, 2, 1, 0]
    expected = cross_entropy(similarities, torch.tensor([7, 6, 5, 4, 3, 2, 1, 0]))
    torch.testing.assert_close(contrast(SupervisedContrastive(0.1), make_batch(pairs)), expected)


def test_scale_and_rotation_change_nothing(make_batch):
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(0)))
    plain = contrast(SupervisedContrastive(), make_batch(CLASSES))
    for moved in (EMBEDDINGS * 100.0, EMBEDDINGS @ rotation, EMBEDDINGS * torch.arange(1.0, 9.0)[:, None]):
        torch.testing.assert_close(contrast(SupervisedContrastive(), make_batch(CLASSES), moved), plain)


def test_gradient_reaches_every_clip_with_a_class(make_batch):
    embeddings = EMBEDDINGS.clone().requires_grad_()
    contrast(SupervisedContrastive(), make_batch([*CLASSES[:7], -1]), embeddings).backward()
    assert (embeddings.grad[:7].abs().sum(dim=1) > 0).all()
    assert torch.equal(embeddings.grad[7], torch.zeros(5))


def test_clips_without_a_class_change_nothing(make_batch):
    known = contrast(SupervisedContrastive(), make_batch(CLASSES[:5]), EMBEDDINGS[:5])
    torch.testing.assert_close(contrast(SupervisedContrastive(), make_batch([*CLASSES[:5], -1, -1, -1])), known)


@pytest.mark.parametrize("classes", [[0, 1, 2, 3], [-1, -1, -1, -1], [0, -1, -1, -1], [0, 1, -1, 2]])
def test_a_batch_without_a_pair_is_zero_with_a_gradient(make_batch, classes):
    embeddings = EMBEDDINGS[:4].clone().requires_grad_()
    loss = contrast(SupervisedContrastive(), make_batch(classes), embeddings)
    assert loss.item() == 0.0
    loss.backward()
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))
    single = EMBEDDINGS[:1].clone().requires_grad_()
    contrast(SupervisedContrastive(), make_batch([0]), single).backward()
    assert torch.equal(single.grad, torch.zeros_like(single))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_identical_and_silent_embeddings_give_no_nan(make_batch, value):
    embeddings = torch.full((4, 3), value).requires_grad_()
    loss = contrast(SupervisedContrastive(), make_batch([0, 0, 1, 1]), embeddings)
    assert loss.item() == pytest.approx(math.log(3.0))
    loss.backward()
    assert embeddings.grad.abs().max() < 1e-3


def test_anchors_of_named_classes_alone(make_batch):
    classes = [0, 0, 2, 2, 2, 1, 0, 3]
    batch = make_batch(classes, class_names=NAMES)
    unit = normalize(EMBEDDINGS, dim=1)
    shares = (unit @ unit.T / 0.1).fill_diagonal_(-torch.inf).log_softmax(dim=1)
    expected = -(shares[2, [3, 4]].mean() + shares[3, [2, 4]].mean() + shares[4, [2, 3]].mean()) / 3
    torch.testing.assert_close(contrast(SupervisedContrastive(classes=["sad"]), batch), expected)
    torch.testing.assert_close(contrast(SupervisedContrastive(classes=["sadness"]), batch), expected)
    torch.testing.assert_close(contrast(SupervisedContrastive(classes=list(NAMES)), batch), contrast(SupervisedContrastive(), batch))
    assert contrast(SupervisedContrastive(classes=["happy", "neutral"]), batch).item() == 0.0


def test_a_mixed_label_counts_as_its_larger_part(make_batch):
    mixed = make_batch([0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    expected = contrast(SupervisedContrastive(), make_batch([0, 0, 1]), EMBEDDINGS[:3])
    assert torch.equal(contrast(SupervisedContrastive(), mixed, EMBEDDINGS[:3]), expected)


def test_a_named_embedding(make_batch):
    student = Outputs(embedding=torch.zeros(8, 2), embeddings={"hidden": EMBEDDINGS})
    found = SupervisedContrastive(embedding="hidden")(student, make_batch(CLASSES))
    assert torch.equal(found, contrast(SupervisedContrastive(), make_batch(CLASSES)))


def test_single_precision_inside_autocast(make_batch):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrast(SupervisedContrastive(), make_batch(CLASSES), EMBEDDINGS.bfloat16())
        exact = contrast(SupervisedContrastive(), make_batch(CLASSES))
    assert loss.dtype == exact.dtype == torch.float32
    assert torch.equal(exact, contrast(SupervisedContrastive(), make_batch(CLASSES)))
    torch.testing.assert_close(loss, contrast(SupervisedContrastive(), make_batch(CLASSES), EMBEDDINGS.bfloat16().float()))


def test_errors(make_batch):
    with pytest.raises(ConfigError, match="no pooled embedding of the student"):
        SupervisedContrastive()(Outputs(), make_batch(CLASSES))
    with pytest.raises(ConfigError, match="needs class labels"):
        contrast(SupervisedContrastive(), make_batch(clips=8))
    with pytest.raises(ShapeError, match="different numbers of clips"):
        contrast(SupervisedContrastive(), make_batch([0, 0]))
    with pytest.raises(ConfigError, match=r"(?s)a class 'sa'.*did you mean 'sad'"):
        contrast(SupervisedContrastive(classes=["sa"]), make_batch(CLASSES, class_names=NAMES))
    with pytest.raises(ConfigError, match="knows its class_names"):
        contrast(SupervisedContrastive(classes=["sad"]), make_batch(CLASSES))
    with pytest.raises(ConfigError, match="must be positive"):
        SupervisedContrastive(0.0)
    with pytest.raises(ConfigError, match="no class to work on"):
        SupervisedContrastive(classes=[])
    assert not SupervisedContrastive.needs_teacher
