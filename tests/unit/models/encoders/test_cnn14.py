import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.cnn14 import Cnn14
from ser_kd.models.freezing import count_parameters

SMALL = {"widths": (3, 4, 5), "embedding_width": 6}


@pytest.mark.parametrize(
    ("embedding_width", "outputs", "parameters"),
    [(None, None, 75_477_440), (2048, None, 79_673_792), (2048, 527, 80_753_615), (2048, 3, 79_679_939)],
)
def test_published_sizes(embedding_width, outputs, parameters):
    with torch.device("meta"):
        encoder = Cnn14(64, embedding_width=embedding_width)
        head = nn.Identity() if outputs is None else nn.Linear(encoder.width, outputs)
    assert count_parameters(nn.ModuleList([encoder, head]))["trainable"] == parameters


@pytest.mark.parametrize("frames", [16, 41])
def test_frames_come_at_the_reduced_rate(frames, make_features):
    encoded = Cnn14(8, **SMALL)(make_features([frames, frames], 8))
    assert encoded.embedding.shape == (2, 6)
    assert encoded.frames.shape == (2, frames // 4, 5)
    assert encoded.frame_mask is None


def test_the_embedding_is_maximum_plus_mean_over_time(make_features):
    encoded = Cnn14(8, widths=(3, 4), embedding_width=None).eval()(make_features([21, 21], 8))
    torch.testing.assert_close(encoded.embedding, encoded.frames.amax(dim=1) + encoded.frames.mean(dim=1))


def test_a_clip_gives_the_same_answer_alone_and_in_a_batch(make_features, give_running_statistics):
    encoder = give_running_statistics(Cnn14(8, **SMALL)).eval()
    lengths = [40, 25, 18, 17, 3, 1]  # the last two are shorter than the halvings need
    features = make_features(lengths, 8, frames=43)
    together = encoder(features)
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], torch.tensor([length])))
        valid = together.frame_mask[row]
        torch.testing.assert_close(together.embedding[row], alone.embedding[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together.frames[row, valid], alone.frames[0], rtol=1e-4, atol=1e-5)
        assert not together.frames[row, ~valid].any()


def test_more_padding_changes_no_gradient_and_no_running_statistic(make_features):
    features = make_features([20, 9, 14], 8)
    longer = Features(torch.nn.functional.pad(features.frames, (0, 0, 0, 16)), features.lengths)
    states = []
    for heard in (features, longer):
        torch.manual_seed(0)
        encoder = Cnn14(8, **SMALL, block_dropout=0.0, dropout=0.0)
        encoder(heard).embedding.square().sum().backward()
        states.append([*encoder.buffers(), *(parameter.grad for parameter in encoder.parameters())])
    for first, second in zip(*states, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def test_the_gradient_reaches_every_parameter(make_features):
    torch.manual_seed(0)
    encoder = Cnn14(8, widths=(6, 8, 8), embedding_width=16)
    encoder(make_features([20, 9, 20], 8)).embedding.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in encoder.parameters())


def test_its_state_makes_the_same_encoder_again(make_features, give_running_statistics):
    encoder, other = give_running_statistics(Cnn14(8, **SMALL)).eval(), Cnn14(8, **SMALL).eval()
    other.load_state_dict(encoder.state_dict())
    features = make_features([20, 9], 8)
    assert torch.equal(other(features).embedding, encoder(features).embedding)


@pytest.mark.parametrize(("bins", "widths"), [(8, ()), (8, (2,) * 5)])
def test_a_layout_that_does_not_fit_is_refused(bins, widths):
    with pytest.raises(ConfigError, match=r"mel bins or more"):
        Cnn14(bins, widths=widths)


def test_frames_of_another_width_are_refused(make_features):
    with pytest.raises(ShapeError, match="Cnn14 was built for frames of another width"):
        Cnn14(8, **SMALL)(make_features([5], 9))
