import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.log_mel import LogMel
from ser_kd.models.encoders.wav2small import Wav2Small
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import DimensionHead
from ser_kd.models.pooling import ChannelAttentionPooling, MapAttentionPooling
from ser_kd.models.speech_model import SpeechModel


def make_frontend(**more):
    return LogMel(n_mels=26, n_fft=64, hop_samples=32, center=False, top_db=None, normalize_waveform=True, **more)


def make_model(pooling=ChannelAttentionPooling, **more):
    torch.manual_seed(0)
    return SpeechModel(Wav2Small(26, **more), make_frontend(), pooling, DimensionHead)


@pytest.mark.parametrize(
    ("parts", "learnable"),
    [
        ({}, 67_577),
        ({"last_convolution": False}, 67_395),
        ({"last_convolution": False, "pooling": MapAttentionPooling}, 10_806),
    ],
)
def test_published_sizes(parts, learnable):
    assert count_parameters(make_model(**parts))["trainable"] == learnable


def test_the_front_ends_frozen_kernels_make_it_72_thousand():
    frozen = make_frontend(form="convolution").stft.kernels.numel()
    assert (frozen, 67_577 + frozen) == (4_224, 71_801)


def test_five_seconds_are_1250_tokens_of_169_values():
    model = make_model().eval()
    with torch.no_grad():
        heard = ModelInput(torch.randn(1, 80_000), torch.tensor([80_000]))
        assert model.extract(heard).frames.shape == (1, 2_499, 26)
        outputs = model(heard)
    assert outputs.frames.shape == (1, 1_250, 169)
    assert outputs.dimensions.shape == (1, 3)


def test_neither_gain_nor_offset_changes_the_answer():
    model = make_model()
    envelope = torch.sin(torch.linspace(0, 9, 32_000)).square()
    waveform = 0.1 * envelope * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(1))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None
    with torch.no_grad():
        model(ModelInput(waveform, None))  # statistics as of a trained model, whose answers lie about 0 to 1
        expected = model.eval()(ModelInput(waveform, None)).dimensions
        assert 0.1 < expected.abs().max() < 3.0
        for gain, offset in ((0.05, 0.0), (20.0, 0.0), (1.0, 0.2), (0.05, -0.3), (20.0, 0.5)):
            changed = model(ModelInput(gain * waveform + offset, None)).dimensions
            assert (changed - expected).abs().max() < 1e-3, (gain, offset)


def test_it_is_the_published_stack_layer_by_layer(give_running_statistics):
    encoder = give_running_statistics(Wav2Small(26)).eval()
    frames = torch.randn(1, 41, 26)
    plain = nn.Sequential()
    for unit in encoder.before:
        plain.extend([unit.convolution, nn.BatchNorm2d(13).eval(), nn.ReLU()])
        plain[-2].load_state_dict(unit.norm.state_dict())
    plain.append(nn.MaxPool2d(3, 2, 1))
    for unit in encoder.behind:
        plain.extend([unit.convolution, nn.BatchNorm2d(13).eval(), nn.ReLU()])
        plain[-2].load_state_dict(unit.norm.state_dict())
    maps = encoder.last(plain(frames[:, None]))
    tokens = torch.stack([maps[0, :, time].flatten() for time in range(21)])
    torch.testing.assert_close(encoder(Features(frames, None)).frames[0], tokens)


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="cannot be built in this size"):
        Wav2Small(26, channels=0)
