import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.spectrogram_resnet import SpectrogramResnet
from ser_kd.models.freezing import count_parameters

SMALL = {"widths": (4, 6, 8), "blocks": (1, 2, 1)}
LAYOUTS = [SMALL, {**SMALL, "stem_stride": 2}, {**SMALL, "stem_stride": 2, "stem_kernel": 7, "max_pool": True}]


def test_the_layout_of_resnet_18_has_its_size():
    # torchvision's resnet18 without its classifier (11,176,512), with a 3x3 stem of one channel for its 7x7 stem of three
    encoder = SpectrogramResnet(64)
    assert encoder.width == 512
    assert count_parameters(encoder)["trainable"] == 11_176_512 - 7 * 7 * 3 * 64 + 3 * 3 * 64


def test_the_prosodic_teacher_has_its_size():
    encoder = SpectrogramResnet(25, blocks=(1, 1, 1, 1))
    head = nn.Sequential(nn.Linear(512, 256), nn.Linear(256, 4))
    assert count_parameters(nn.ModuleList([encoder, head]))["trainable"] == 5_029_316


@pytest.mark.parametrize("settings", LAYOUTS)
@pytest.mark.parametrize("frames", [21, 40])
def test_frames_come_at_the_reduced_rate(settings, frames, make_features):
    encoded = SpectrogramResnet(16, **settings)(make_features([frames, frames], 16))
    halvings = 2 + (settings.get("stem_stride", 1) == 2) + settings.get("max_pool", False)
    assert encoded.frames.shape == (2, -(-frames // 2**halvings), 8)
    assert encoded.frame_mask is None


@pytest.mark.parametrize("settings", LAYOUTS)
def test_a_clip_gives_the_same_frames_alone_and_in_a_batch(settings, make_features, give_running_statistics):
    encoder = give_running_statistics(SpectrogramResnet(16, **settings)).eval()
    lengths = [40, 25, 18, 17, 1]
    features = make_features(lengths, 16, frames=43)
    together = encoder(features)
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], None)).frames[0]
        valid = together.frame_mask[row]
        assert int(valid.sum()) == len(alone)
        torch.testing.assert_close(together.frames[row, valid], alone, rtol=1e-4, atol=1e-5)
        assert torch.equal(together.frames[row, ~valid], torch.zeros_like(together.frames[row, ~valid]))


def test_more_padding_changes_no_gradient_and_no_running_statistic(make_features):
    features = make_features([20, 9, 14], 8)
    longer = Features(torch.nn.functional.pad(features.frames, (0, 0, 0, 16)), features.lengths)
    states = []
    for heard in (features, longer):
        torch.manual_seed(0)
        encoder = SpectrogramResnet(8, **SMALL)
        encoder(heard).frames.square().sum().backward()
        states.append([*encoder.buffers(), *(parameter.grad for parameter in encoder.parameters())])
    for first, second in zip(*states, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_the_gradient_reaches_every_parameter(make_features):
    encoder = SpectrogramResnet(8, **SMALL)
    encoder(make_features([20, 9, 20], 8)).frames.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


def test_its_state_makes_the_same_encoder_again(make_features, give_running_statistics):
    encoder, other = give_running_statistics(SpectrogramResnet(8, **SMALL)).eval(), SpectrogramResnet(8, **SMALL).eval()
    other.load_state_dict(encoder.state_dict())
    features = make_features([20, 9], 8)
    assert torch.equal(other(features).frames, encoder(features).frames)


@pytest.mark.parametrize("settings", [{"widths": (4, 8)}, {"widths": (), "blocks": ()}, {"stem_kernel": 4}])
def test_a_layout_that_does_not_fit_is_refused(settings):
    with pytest.raises(ConfigError, match="as many widths as blocks"):
        SpectrogramResnet(8, **settings)


def test_frames_of_another_width_are_refused(make_features):
    with pytest.raises(ShapeError, match="SpectrogramResnet was built for frames of another width"):
        SpectrogramResnet(8, **SMALL)(make_features([5], 9))
