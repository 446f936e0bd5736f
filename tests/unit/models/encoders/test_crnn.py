import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.crnn import Crnn

SMALL = {"widths": (3, 4, 5), "hidden_width": 6}


@pytest.mark.parametrize("halvings", [0, 1, 2])
@pytest.mark.parametrize("frames", [1, 30])
def test_frames_come_at_the_reduced_rate(halvings, frames, make_features):
    encoded = Crnn(9, **SMALL, time_halvings=halvings)(make_features([frames, frames], 9))
    assert encoded.frames.shape == (2, -(-frames // 2**halvings), 12)
    assert encoded.frame_mask is None


def test_a_clip_gives_the_same_frames_alone_and_in_a_batch(make_features, give_running_statistics):
    encoder = give_running_statistics(Crnn(9, **SMALL)).eval()
    lengths = [40, 25, 18, 17, 1]
    features = make_features(lengths, 9, frames=43)
    together = encoder(features)
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], torch.tensor([length]))).frames[0]
        valid = together.frame_mask[row]
        assert int(valid.sum()) == len(alone)
        torch.testing.assert_close(together.frames[row, valid], alone, rtol=1e-4, atol=1e-5)
        assert not together.frames[row, ~valid].any()


def test_both_directions_hear_the_whole_clip():
    encoder = Crnn(8, widths=(4,), time_halvings=0, hidden_width=3).eval()
    frames = torch.randn(1, 20, 8)
    changed = frames.clone()
    changed[:, 10] += 1.0
    difference = (encoder(Features(frames, None)).frames - encoder(Features(changed, None)).frames).abs()[0] > 0
    assert difference[12:, :3].all()
    assert not difference[:9, :3].any()  # the forward half has not heard it yet
    assert difference[:9, 3:].all()
    assert not difference[12:, 3:].any()


def test_more_padding_changes_no_gradient_and_no_running_statistic(make_features):
    features = make_features([20, 9, 14], 8)
    longer = Features(torch.nn.functional.pad(features.frames, (0, 0, 0, 16)), features.lengths)
    states = []
    for heard in (features, longer):
        torch.manual_seed(0)
        encoder = Crnn(8, **SMALL, dropout=0.0)
        encoder(heard).frames.square().sum().backward()
        states.append([*encoder.buffers(), *(parameter.grad for parameter in encoder.parameters())])
    for first, second in zip(*states, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_the_gradient_reaches_every_parameter(make_features):
    encoder = Crnn(8, **SMALL)
    encoder(make_features([20, 9, 20], 8)).frames.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


def test_its_state_makes_the_same_encoder_again(make_features, give_running_statistics):
    encoder, other = give_running_statistics(Crnn(8, **SMALL)).eval(), Crnn(8, **SMALL).eval()
    other.load_state_dict(encoder.state_dict())
    features = make_features([20, 9], 8)
    assert torch.equal(other(features).frames, encoder(features).frames)


@pytest.mark.parametrize(("bins", "widths"), [(8, ()), (8, (2,) * 4)])
def test_a_layout_that_does_not_fit_is_refused(bins, widths):
    with pytest.raises(ConfigError, match=r"mel bins or more"):
        Crnn(bins, widths=widths)


def test_frames_of_another_width_are_refused(make_features):
    with pytest.raises(ShapeError, match="Crnn was built for frames of another width"):
        Crnn(8, **SMALL)(make_features([5], 9))
