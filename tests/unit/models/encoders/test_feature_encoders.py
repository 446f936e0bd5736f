"""What every encoder of feature frames promises; what one alone promises stands in its own file."""

import pytest
import torch
from torch import nn

from ser_kd.contracts.errors import ShapeError
from ser_kd.contracts.interfaces import LayeredEncoder
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.cnn14 import Cnn14
from ser_kd.models.encoders.crnn import Crnn
from ser_kd.models.encoders.ecapa_tdnn import EcapaTdnn
from ser_kd.models.encoders.mobilenet import MobileNet
from ser_kd.models.encoders.spectrogram_resnet import SpectrogramResnet
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer
from ser_kd.models.encoders.timnet import TimNet
from ser_kd.models.encoders.wav2small import Wav2Small, Wav2SmallTransformer

BINS = 9
RESNET = {"widths": (4, 6, 8), "blocks": (1, 2, 1)}

ENCODERS = {
    "timnet": lambda: TimNet(BINS, filters=7, blocks=4),
    "resnet": lambda: SpectrogramResnet(BINS, **RESNET),
    "resnet with a stride": lambda: SpectrogramResnet(BINS, **RESNET, stem_stride=2),
    "resnet with a pool": lambda: SpectrogramResnet(BINS, **RESNET, stem_stride=2, stem_kernel=7, max_pool=True),
    "cnn14": lambda: Cnn14(BINS, widths=(3, 4, 5), embedding_width=6),
    "transformer": lambda: SpectrogramTransformer(BINS, width=8, layers=2, heads=2, patch_frames=3),
    "crnn": lambda: Crnn(BINS, widths=(3, 4, 5), hidden_width=6),
    "ecapa-tdnn": lambda: EcapaTdnn(BINS, channels=8, embedding_width=5, attention_width=6, bottleneck_width=16, scale=4),
    "wav2small": lambda: Wav2Small(BINS, channels=4),
    "wav2small before a transformer": lambda: Wav2SmallTransformer(BINS, channels=3, width=8, heads=2, patch_tokens=3),
    "mobilenet v4": lambda: MobileNet(BINS, "mobilenetv4_conv_small_035"),
    "mobilenet v3, with squeeze and excitation": lambda: MobileNet(BINS, "mobilenetv3_small_050"),
}


@pytest.fixture(params=list(ENCODERS))
def make_encoder(request):
    def make():
        torch.manual_seed(1)
        return ENCODERS[request.param]()

    return make


def without_dropout(encoder):
    for module in encoder.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
    for module in encoder.modules():
        for name in ("dropout", "block_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return encoder


def answer(encoded):
    """One number that depends on all an encoder says of a batch; a sum of squares would not depend on what a last norm hears."""
    said = [values for values in (encoded.embedding, encoded.frames) if values is not None]
    return sum((values * torch.sin(torch.arange(values[0].numel()) + 1.0).view(values[0].shape)).sum() for values in said)


def test_a_clip_gives_the_same_answer_alone_and_in_a_batch(make_encoder, make_features, give_running_statistics):
    encoder = give_running_statistics(make_encoder()).eval()
    lengths = [40, 25, 18, 17, 3, 1]  # the last two are shorter than some encoders' reduction of time
    features = make_features(lengths, BINS, frames=43)
    together = encoder(features)
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], torch.tensor([length])))
        if together.embedding is not None:
            torch.testing.assert_close(together.embedding[row], alone.embedding[0], rtol=1e-4, atol=1e-5)
        if together.frames is not None:
            valid = together.frame_mask[row]
            torch.testing.assert_close(together.frames[row, valid], alone.frames[0], rtol=1e-4, atol=1e-5)
            assert not together.frames[row, ~valid].any()


def test_more_padding_changes_no_gradient_and_no_running_statistic(make_encoder, make_features):
    # a MobileNet makes one frame of 32, and the variance of three values is no statistic
    stretch = 16 if isinstance(make_encoder(), MobileNet) else 1
    features = make_features([20 * stretch, 9 * stretch, 14 * stretch], BINS)
    longer = Features(nn.functional.pad(features.frames, (0, 0, 0, 30)), features.lengths)
    states = []
    for heard in (features, longer):
        encoder = without_dropout(make_encoder())
        answer(encoder(heard)).backward()
        states.append([*encoder.buffers(), *(parameter.grad for parameter in encoder.parameters())])
    for first, second in zip(*states, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4 * max(1.0, float(second.abs().max())))


def test_the_gradient_reaches_every_parameter(make_encoder, make_features):
    encoder = without_dropout(make_encoder())
    answer(encoder(make_features([20, 9, 20], BINS))).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    # A bias in front of a batch norm has no effect, in TIM-Net too: its gradient is zero but there.
    assert all(parameter.grad.abs().max() > 0 for name, parameter in encoder.named_parameters() if not name.endswith("convolution.bias"))


def test_its_state_makes_the_same_encoder_again(make_encoder, make_features, give_running_statistics):
    encoder, other = give_running_statistics(make_encoder()).eval(), make_encoder().eval()
    features = make_features([20, 9], BINS)
    assert not torch.equal(answer(other(features)), answer(encoder(features)))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(answer(other(features)), answer(encoder(features)))


def test_frames_of_another_width_are_refused(make_encoder, make_features):
    encoder = make_encoder()
    with pytest.raises(ShapeError, match=f"{type(encoder).__name__} was built for frames of another width"):
        encoder(make_features([5], BINS + 1))


def test_hidden_states_are_those_that_are_asked_for_and_know_no_padding(make_encoder, make_features, give_running_statistics):
    encoder = give_running_statistics(make_encoder()).eval()
    if not isinstance(encoder, LayeredEncoder):
        pytest.skip("it hands out no hidden states")
    lengths = [40, 25, 1]
    features = make_features(lengths, BINS, frames=43)
    plain = encoder(features)
    assert plain.hidden_states == {}
    encoder.hidden_layers = tuple(encoder.layer_widths)
    together = encoder(features)
    assert torch.equal(together.frames, plain.frames)
    assert {layer: state.shape[2] for layer, state in together.hidden_states.items()} == encoder.layer_widths
    for row, length in enumerate(lengths):
        alone = encoder(Features(features.frames[row : row + 1, :length], torch.tensor([length])))
        for layer, states in together.hidden_states.items():
            valid = together.hidden_masks.get(layer, together.frame_mask)[row]
            torch.testing.assert_close(states[row, valid], alone.hidden_states[layer][0], rtol=1e-4, atol=1e-5)
            assert not states[row, ~valid].any()
