import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.models.encoders.timnet import TemporalAwareBlock, TimNet
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import LinearHead
from ser_kd.models.speech_model import SpeechModel


@pytest.mark.parametrize(
    ("settings", "classes", "trainable", "total"),
    [
        ({"filters": 39}, 8, 104_536, 107_032),
        ({"filters": 39}, 7, 104_496, 106_992),
        ({"filters": 39, "blocks": 10}, 4, 129_650, 132_770),
        ({"filters": 60}, 7, 241_395, 245_235),
        ({"filters": 60}, 8, 241_456, 245_296),
    ],
)
def test_published_sizes(settings, classes, trainable, total):
    model = SpeechModel(lambda input_width: TimNet(input_width, **settings), Mfcc(39), head=LinearHead, classes=classes)
    assert count_parameters(model) == {"trainable": trainable, "total": total}


@pytest.mark.parametrize("frames", [1, 50])
def test_the_embedding_is_as_wide_as_the_filters(frames, make_features):
    encoded = TimNet(39, filters=12, blocks=3)(make_features([frames, frames, frames], 39))
    assert encoded.embedding.shape == (3, 12)
    assert encoded.frames is None


def test_the_fast_way_without_a_mask_equals_the_masked_way(make_features):
    features = make_features([20, 20], 5)
    torch.manual_seed(0)
    encoder = TimNet(5, filters=6, blocks=3, dropout=0.0)
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    fast = encoder(features).embedding
    moved = {name: value.clone() for name, value in encoder.state_dict().items()}
    encoder.load_state_dict(state)
    longer = Features(torch.nn.functional.pad(features.frames, (0, 0, 0, 4)), features.lengths)
    torch.testing.assert_close(encoder(longer).embedding, fast, rtol=1e-4, atol=1e-6)
    for name, value in encoder.state_dict().items():
        torch.testing.assert_close(value, moved[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lengths", [[30, 30], [30, 17]])
def test_reversing_time_and_swapping_directions_changes_nothing(lengths, make_features, give_running_statistics):
    encoder = give_running_statistics(TimNet(5, filters=7, blocks=4)).eval()
    swapped = TimNet(5, filters=7, blocks=4).eval()
    swapped.forward_stream.load_state_dict(encoder.backward_stream.state_dict())
    swapped.backward_stream.load_state_dict(encoder.forward_stream.state_dict())
    swapped.fusion.data.copy_(encoder.fusion)
    features = make_features(lengths, 5)
    backwards = features.frames.clone()
    for row, length in enumerate(lengths):
        backwards[row, :length] = features.frames[row, :length].flip(0)
    torch.testing.assert_close(swapped(Features(backwards, features.lengths)).embedding, encoder(features).embedding, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(encoder(Features(backwards, features.lengths)).embedding, encoder(features).embedding, rtol=1e-3)


def test_a_block_lets_no_value_grow(give_running_statistics):
    block = give_running_statistics(TemporalAwareBlock(6, 2, 4, 0.1))
    frames = 10 * torch.randn(3, 6, 25)
    gated = block(frames, None)
    assert (gated.abs() <= frames.abs()).all()
    assert torch.equal(gated.sign(), frames.sign())


def test_a_block_never_hears_the_future():
    block = TemporalAwareBlock(6, 2, 4, 0.0).eval()
    frames = torch.randn(1, 6, 30)
    changed = frames.clone()
    changed[:, :, 20:] += 1.0
    torch.testing.assert_close(block(frames, None)[:, :, :20], block(changed, None)[:, :, :20])
    assert not torch.allclose(block(frames, None)[:, :, 24], block(changed, None)[:, :, 24])


def test_dropout_drops_whole_channels():
    block = TemporalAwareBlock(40, 2, 1, 0.5)
    block.second.norm.bias.data.fill_(5.0)  # so that no value is zero by ReLU
    seen = block.second(torch.randn(3, 40, 25), None)
    share_kept = (seen != 0).float().mean(dim=2)
    assert set(share_kept.unique().tolist()) <= {0.0, 1.0}
    assert 0.3 < float(share_kept.mean()) < 0.7


def test_it_starts_as_keras_does():
    torch.manual_seed(0)
    encoder = TimNet(39, filters=60)
    unit = encoder.forward_stream.blocks[0].first
    bound = (6 / (2 * 60 + 2 * 60)) ** 0.5
    assert 0.9 * bound < float(unit.convolution.weight.detach().abs().max()) <= bound
    assert torch.equal(unit.convolution.bias, torch.zeros(60))
    assert float(encoder.fusion.detach().abs().max()) <= 0.05
    assert (unit.norm.eps, unit.norm.momentum) == (1e-3, 0.01)


def test_words_are_nothing_it_can_hear():
    with pytest.raises(ConfigError, match="TimNet needs feature frames"):
        TimNet(39)(Features(None, None, ["hello"]))
    with pytest.raises(ConfigError, match="cannot be built in this size"):
        TimNet(39, blocks=0)
