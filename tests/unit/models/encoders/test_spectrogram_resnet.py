import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError, DataError
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


def test_stages_are_hidden_states_at_their_own_rates(make_features):
    encoder = SpectrogramResnet(16, **SMALL, stem_stride=2, hidden_layers="all").eval()
    encoded = encoder(make_features([40, 22], 16))
    assert {layer: tuple(state.shape[1:]) for layer, state in encoded.hidden_states.items()} == {
        0: (20, 4),
        1: (20, 4),
        2: (10, 6),
        3: (5, 8),
    }
    assert {layer: mask.sum(1).tolist() for layer, mask in encoded.hidden_masks.items()} == {
        0: [20, 11],
        1: [20, 11],
        2: [10, 6],
        3: [5, 3],
    }
    assert torch.equal(encoded.hidden_states[3], encoded.frames)


@pytest.mark.parametrize(("layer_map", "used"), [("even", (1, 3, 5)), ([2, 3, 6], None), ([1, 3, 5], (1, 3, 5))])
def test_a_shallower_network_starts_from_the_stages_of_a_deeper_one(layer_map, used, give_running_statistics):
    deeper = give_running_statistics(SpectrogramResnet(16, widths=(4, 6, 8), blocks=(2, 2, 2)))
    shallower = SpectrogramResnet(16, widths=(4, 6, 8), blocks=(1, 1, 1))
    if used is None:  # the sixth block does not change the width
        with pytest.raises(DataError, match="shortcut"):
            shallower.copy_blocks(deeper, layer_map)
        return
    assert shallower.copy_blocks(deeper, layer_map) == used
    for mine, theirs in enumerate(used):
        for name, value in shallower.blocks[mine].state_dict().items():
            assert torch.equal(value, deeper.blocks[theirs - 1].state_dict()[name]), name
    assert torch.equal(shallower.stem.weight, deeper.stem.weight)
    assert torch.equal(shallower.stem_norm.running_var, deeper.stem_norm.running_var)


def test_even_spreads_what_is_no_first_of_its_stage():
    deeper = SpectrogramResnet(16, widths=(4, 6), blocks=(5, 3))
    assert SpectrogramResnet(16, widths=(4, 6), blocks=(3, 2)).copy_blocks(deeper, "even") == (1, 3, 5, 6, 8)


def test_a_network_of_other_widths_gives_no_blocks():
    with pytest.raises(ConfigError, match=r"(?s)of widths \[4, 6, 8\].*of widths \[4, 4, 4\]"):
        SpectrogramResnet(16, **SMALL).copy_blocks(SpectrogramResnet(16, widths=(4, 4, 4), blocks=(1, 1, 1)), "even")
