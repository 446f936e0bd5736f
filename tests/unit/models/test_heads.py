import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.models.heads import DimensionHead, LinearHead, MlpHead


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_teachers_head_has_its_published_size():
    # 94,967,687 - 94,371,712: what system 000's teacher has on top of wav2vec2-base
    assert size(MlpHead(768, 7)) == 595_975


def test_linear_head_answers_with_logits_alone():
    outputs = LinearHead(39, 8)(torch.randn(5, 39))
    assert outputs.logits.shape == (5, 8)
    assert outputs.dimensions is None
    assert size(LinearHead(39, 8)) == 320


def test_biases_start_at_zero_and_weights_in_glorots_range():
    head = LinearHead(60, 7)
    assert torch.equal(head.classifier.bias, torch.zeros(7))
    bound = (6 / 67) ** 0.5
    assert 0.8 * bound < float(head.classifier.weight.detach().abs().max()) <= bound


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_mlp_head_names_its_hidden_values(activation):
    head = MlpHead(12, 4, hidden_width=6, activation=activation).eval()
    embedding = torch.randn(5, 12)
    outputs = head(embedding)
    hidden = getattr(torch, activation)(embedding @ head.hidden.weight.T + head.hidden.bias)
    torch.testing.assert_close(outputs.embeddings["hidden"], hidden)
    torch.testing.assert_close(outputs.logits, hidden @ head.classifier.weight.T + head.classifier.bias)


def test_dropout_acts_before_both_layers_in_training():
    head = MlpHead(64, 4, hidden_width=64, dropout=0.5)
    embedding = torch.ones(1, 64)
    head.hidden.weight.data.copy_(torch.eye(64))
    outputs = head(embedding)
    seen = outputs.embeddings["hidden"]
    assert 10 < int((seen == 0).sum()) < 54
    assert not torch.allclose(outputs.logits, head.classifier(seen))
    head.eval()
    assert torch.equal(head(embedding).logits, head(embedding).logits)


@pytest.mark.parametrize(("hidden_width", "parameters"), [(None, 33), (7, 10 * 7 + 7 + 7 * 3 + 3)])
def test_dimension_head_gives_arousal_dominance_valence(hidden_width, parameters):
    head = DimensionHead(10, hidden_width)
    outputs = head(torch.randn(4, 10))
    assert outputs.dimensions.shape == (4, 3)
    assert outputs.logits is None
    assert size(head) == parameters


@pytest.mark.parametrize("head", [LinearHead, MlpHead])
def test_a_head_answers_with_what_the_protocol_learns(head):
    embedding = torch.randn(2, 6)
    both = head(6, 4, dimensions=True)(embedding)
    assert (both.logits.shape, both.dimensions.shape) == ((2, 4), (2, 3))
    alone = head(6, 0, dimensions=True)
    assert alone(embedding).logits is None
    assert not any(name.startswith("classifier") for name in alone.state_dict())
    assert alone.regressor.bias.tolist() == [0.5] * 3  # the middle of the scale
    with pytest.raises(ConfigError, match="nothing to answer"):
        head(6, 0)
