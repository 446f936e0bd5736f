import pytest
from torch import nn

from ser_kd.contracts.errors import ConfigError
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


@pytest.mark.parametrize("settings", [{"widths": (4, 8)}, {"widths": (), "blocks": ()}, {"stem_kernel": 4}])
def test_a_layout_that_does_not_fit_is_refused(settings):
    with pytest.raises(ConfigError, match="as many widths as blocks"):
        SpectrogramResnet(8, **settings)
