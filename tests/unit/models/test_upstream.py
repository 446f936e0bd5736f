from functools import partial

import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.frontends.log_mel import LogMel
from ser_kd.frontends.waveform import Waveform
from ser_kd.models.encoders.ecapa_tdnn import EcapaTdnn
from ser_kd.models.encoders.spectrogram_resnet import SpectrogramResnet
from ser_kd.models.encoders.ssl_speech import SslSpeech
from ser_kd.models.encoders.text_bert import TextBert
from ser_kd.models.encoders.timnet import TimNet
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.upstream import Upstream

SSL = {"weights": "random", "layers": 2, "width": 64, "conv_width": 8, "normalize_waveform": True}
ECAPA = {"channels": 8, "embedding_width": 5, "attention_width": 6, "bottleneck_width": 4, "scale": 4}


@pytest.fixture
def inputs():
    waveforms = torch.randn(3, 6400, generator=torch.Generator().manual_seed(0))
    return ModelInput(waveforms, torch.tensor([6400, 4000, 1500]), ["so it is", "no", ""], keys=torch.arange(3))


def make_upstream(layers="last", freeze="none", architecture="wav2vec2"):
    torch.manual_seed(0)
    return Upstream(partial(SslSpeech, architecture, **SSL, freeze=freeze), Waveform(), layers)


def test_the_next_encoder_hears_the_frames(inputs):
    upstream = make_upstream().eval()
    features = upstream(inputs)
    encoded = upstream.encoder(Waveform()(inputs))
    assert torch.equal(features.frames, encoded.frames)
    assert features.lengths.tolist() == encoded.frame_mask.sum(dim=1).tolist()
    assert upstream.width == 64
    whole = upstream(ModelInput(inputs.waveforms, torch.full((3,), 6400)))
    assert whole.lengths is None


@pytest.mark.parametrize("architecture", ["wav2vec2", "hubert"])
@pytest.mark.parametrize("layers", ["last", "weighted"])
def test_a_clip_is_heard_the_same_alone_and_in_a_batch(architecture, layers, inputs):
    model = SpeechModel(partial(EcapaTdnn, **ECAPA), make_upstream(layers, architecture=architecture)).eval()
    together = model(inputs).embedding
    for row in range(3):
        torch.testing.assert_close(model(inputs.take_alone(row)).embedding[0], together[row], rtol=1e-4, atol=1e-5)


def test_weights_over_layers_begin_equal_and_learn_above_a_frozen_encoder(inputs):
    upstream = make_upstream("weighted", freeze="encoder")
    model = SpeechModel(partial(EcapaTdnn, **ECAPA), upstream).train()
    assert not any(module.training for module in upstream.encoder.modules())
    states = upstream.encoder(Waveform()(inputs))
    expected = (states.hidden_states[0] + states.hidden_states[1] + states.frames) / 3
    torch.testing.assert_close(upstream(inputs).frames, expected)
    model(inputs).embedding.square().sum().backward()
    assert upstream.mix.weights.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in upstream.encoder.parameters())


def test_an_upstream_that_learns_gets_a_gradient(inputs):
    upstream = make_upstream()
    SpeechModel(partial(EcapaTdnn, **ECAPA), upstream).train()(inputs).embedding.square().sum().backward()
    assert upstream.encoder.model.encoder.layers[0].attention.q_proj.weight.grad.abs().max() > 0


@pytest.mark.parametrize("layers", ["last", "weighted"])
def test_word_pieces_become_frames_and_the_model_reads(inputs, layers):
    torch.manual_seed(0)
    bert = TextBert(weights="random", layers=2, width=64, vocabulary_size=90)
    model = SpeechModel(partial(EcapaTdnn, **ECAPA), Upstream(bert, layers=layers)).eval()
    assert model.reads_text
    assert not SpeechModel(partial(EcapaTdnn, **ECAPA), LogMel()).reads_text
    bert.begin_fit()
    bert.update_fit(inputs)
    bert.end_fit()
    together = model(inputs).embedding
    for row in range(3):
        torch.testing.assert_close(model(inputs.take_alone(row)).embedding[0], together[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("encoder", "layers", "message"), [
    (TimNet, "last", "TimNet cannot be an upstream(.|\n)*an embedding alone"),
    (partial(EcapaTdnn, **ECAPA), "last", "frames of width 24"),
    (TimNet, "weighted", "cannot be averaged(.|\n)*hands out none"),
    (partial(SpectrogramResnet, widths=(4, 6), blocks=(1, 1)), "weighted", "layers of width 4, 4, 6"),
    (TimNet, "all", "Unknown layers"),
])  # fmt: skip
def test_what_cannot_be_an_upstream_is_told(encoder, layers, message, inputs):
    with pytest.raises(ConfigError, match=message):
        Upstream(encoder, LogMel(), layers)(inputs)
