import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ShapeError
from ser_kd.models.encoders.prosodic_resnet import ProsodicResnet
from ser_kd.models.freezing import count_parameters
from ser_kd.models.heads import LinearHead

SMALL = {"widths": (4, 6, 8, 8), "embedding_width": 5}


def test_the_published_teacher_has_its_default_size():
    network = nn.ModuleList([ProsodicResnet(25), LinearHead(256, 4, activation="relu")])
    assert count_parameters(network)["trainable"] == 5_029_316


@pytest.mark.parametrize("frames", [496, 37])
def test_it_gives_an_embedding_and_its_frames(frames, make_features):
    encoder = ProsodicResnet(25, **SMALL)
    encoded = encoder(make_features([frames, frames], 25))
    assert encoder.width == 5
    assert encoded.embedding.shape == (2, 5)
    assert encoded.frames.shape == (2, -(-frames // 8), 8)
    assert (encoded.embedding < 0).any()


def test_padding_changes_nothing(make_features, give_running_statistics):
    encoder = give_running_statistics(ProsodicResnet(25, **SMALL)).eval()
    together = make_features([60, 23, 8], 25)
    encoded = encoder(together)
    for row, length in enumerate((60, 23, 8)):
        alone = make_features([length], 25)
        alone.frames = together.frames[row : row + 1, :length]
        torch.testing.assert_close(encoder(alone).embedding[0], encoded.embedding[row], rtol=1e-4, atol=1e-5)


def test_batch_statistics_in_training_do_not_count_padding(make_features):
    torch.manual_seed(0)
    encoder = ProsodicResnet(25, **SMALL).train()
    features = make_features([20, 20], 25)
    plain = encoder(features).embedding
    longer = make_features([20, 20], 25, frames=50)
    longer.frames[:, :20] = features.frames
    torch.testing.assert_close(encoder(longer).embedding, plain, rtol=1e-4, atol=1e-5)


def test_the_state_goes_round_and_other_widths_are_refused(make_features):
    one, other = ProsodicResnet(25, **SMALL).eval(), ProsodicResnet(25, **SMALL).eval()
    other.load_state_dict(one.state_dict())
    features = make_features([30], 25)
    assert torch.equal(one(features).embedding, other(features).embedding)
    with pytest.raises(ShapeError, match="another width"):
        one(make_features([30], 24))


def test_its_stages_are_handed_out(make_features):
    encoded = ProsodicResnet(25, **SMALL, hidden_layers="all")(make_features([40, 22], 25))
    assert {layer: state.shape[2] for layer, state in encoded.hidden_states.items()} == {0: 4, 1: 4, 2: 6, 3: 8, 4: 8}
