from functools import partial

import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.freezing import freeze
from ser_kd.models.heads import DimensionHead, LinearHead
from ser_kd.models.pooling import AttentiveStatisticsPooling, MeanPooling, StatisticsPooling
from ser_kd.models.speech_model import SpeechModel


class Blocks(nn.Module):
    """Ten samples are one frame."""

    width = 10

    def forward(self, inputs):
        return Features(inputs.waveforms.unflatten(1, (-1, 10)), inputs.lengths // 10, inputs.texts, inputs.keys)


class Layer(nn.Module):
    def __init__(self, input_width, width=6):
        super().__init__()
        self.width = width
        self.linear = nn.Linear(input_width, width)

    def forward(self, features):
        frames = self.linear(features.frames)
        mask = torch.arange(frames.shape[1]) < features.lengths[:, None]
        return Encoded(frames, mask, hidden_states={0: features.frames})


class WordCount(nn.Module):
    width = 1

    def forward(self, features):
        return Encoded(None, embedding=torch.tensor([[float(len(text.split()))] for text in features.texts]))


INPUTS = ModelInput(torch.randn(2, 50, generator=torch.Generator().manual_seed(0)), torch.tensor([50, 20]), ["so it is", "no"])


def test_sizes_are_filled_in_from_the_parts():
    model = SpeechModel(partial(Layer, width=8), Blocks(), AttentiveStatisticsPooling, partial(LinearHead, dropout=0.1), classes=7)
    assert model.encoder.linear.in_features == 10
    assert model.pooling.hidden.in_features == 8
    assert model.width == model.head.classifier.in_features == 16
    outputs = model(INPUTS)
    assert outputs.logits.shape == (2, 7)
    assert outputs.embedding.shape == (2, 16)
    assert outputs.frames.shape == (2, 5, 8)
    assert outputs.frame_mask.sum(dim=1).tolist() == [5, 2]
    assert set(outputs.hidden_states) == {0}


def test_a_size_that_the_configuration_gave_wins():
    model = SpeechModel(partial(Layer, input_width=10), Blocks(), MeanPooling(), partial(LinearHead, classes=3), classes=7)
    assert model(INPUTS).logits.shape == (2, 3)


def test_finished_modules_are_taken_as_they_are():
    encoder, head = Layer(10), LinearHead(12, 4)
    model = SpeechModel(encoder, Blocks(), StatisticsPooling(), head)
    assert model.encoder is encoder
    assert model.head is head
    expected = head(StatisticsPooling()(*(lambda encoded: (encoded.frames, encoded.frame_mask))(encoder(Blocks()(INPUTS))))).logits
    torch.testing.assert_close(model(INPUTS).logits, expected)


def test_a_head_of_dimensions_needs_no_classes_and_ignores_them():
    for classes in (None, 7):
        outputs = SpeechModel(Layer, Blocks(), MeanPooling(), DimensionHead, classes)(INPUTS)
        assert outputs.dimensions.shape == (2, 3)
        assert outputs.logits is None


def test_text_passes_without_a_front_end():
    model = SpeechModel(WordCount())
    outputs = model(INPUTS)
    assert outputs.embedding.tolist() == [[3.0], [1.0]]
    assert outputs.logits is None


def test_a_head_may_name_another_embedding():
    class Projecting(nn.Module):
        def forward(self, embedding):
            outputs = LinearHead(6, 2)(embedding)
            outputs.embedding = embedding[:, :3]
            return outputs

    assert SpeechModel(Layer, Blocks(), MeanPooling(), Projecting())(INPUTS).embedding.shape == (2, 3)


def test_feature_transforms_act_in_training_only_and_in_order():
    transforms = (lambda f: Features(f.frames + 1, f.lengths), lambda f: Features(f.frames * 0, f.lengths))
    model = SpeechModel(Layer, Blocks(), MeanPooling(), feature_transforms=transforms)
    torch.testing.assert_close(model(INPUTS).embedding, model.encoder.linear.bias.expand(2, -1))
    model.eval()
    assert not torch.allclose(model(INPUTS).embedding, model.encoder.linear.bias.expand(2, -1))


def test_what_is_frozen_stays_in_evaluation_while_the_rest_trains():
    model = SpeechModel(Layer, Blocks(), MeanPooling(), partial(LinearHead, dropout=0.5), classes=2)
    freeze(model, ["encoder"])
    model.eval().train()
    assert not model.encoder.training
    assert model.head.dropout.training


def test_the_state_makes_the_same_model_again():
    build = partial(SpeechModel, Layer, Blocks(), MeanPooling(), LinearHead, 2)
    model, other = build(), build()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other(INPUTS).logits, model(INPUTS).logits)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"encoder": Layer}, "encoder asks for a size(.|\n)*input_width(.|\n)*give the model a front-end"),
        ({"encoder": Layer(10), "frontend": Blocks(), "pooling": MeanPooling(), "head": LinearHead}, "classes(.|\n)*pass classes="),
        ({"encoder": nn.Linear(2, 2)}, "does not say how wide"),
    ],
)
def test_sizes_that_are_not_known_are_told(parts, text):
    with pytest.raises(ConfigError, match=text):
        SpeechModel(**parts)


def test_frames_must_be_pooled_once():
    with pytest.raises(ConfigError, match="Nothing pools the frames of Layer"):
        SpeechModel(Layer, Blocks())(INPUTS)
    with pytest.raises(ConfigError, match="WordCount pools by itself and a pooling is given too"):
        SpeechModel(WordCount(), pooling=MeanPooling())(INPUTS)
