import copy
from functools import partial

import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.collate import SpeechCollation
from ser_kd.data.dataset import SpeechClip
from ser_kd.deploy.speech_graph import FittedClip, SpeechGraph, prepare_for_export
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.frontends.waveform import Waveform
from ser_kd.models.encoders.timnet import TimNet
from ser_kd.models.heads import DimensionHead, LinearHead
from ser_kd.models.speech_model import SpeechModel


def small_timnet() -> SpeechModel:
    torch.manual_seed(0)
    frontend = Mfcc(n_mfcc=13, n_mels=20, n_fft=256, hop_samples=128)
    model = SpeechModel(partial(TimNet, filters=6, blocks=2), frontend, head=LinearHead, classes=3)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def collate(clips, clip_samples, padding):
    made = [
        SpeechClip(Utterance(id=str(n), speaker="a", path=None), clip, 0, torch.full((3,), torch.nan), n) for n, clip in enumerate(clips)
    ]
    return SpeechCollation(clip_samples, padding)(made)


@pytest.mark.parametrize(
    ("clip_samples", "padding"),
    [
        (500, "center"), (501, "center"), (500, "right"), (500, "tile"), (500, "masked"), (None, "masked"),
    ],
)  # fmt: skip
def test_clips_are_fitted_as_the_training_batches_are(clip_samples, padding):
    clips = [torch.randn(length) for length in (300, 499, 500, 501, 800, 7)]
    batch = collate(clips, clip_samples, padding)
    heap = torch.full((len(clips), 900), torch.nan)  # what stands behind an end is not heard
    for row, clip in zip(heap, clips, strict=True):
        row[: len(clip)] = clip
    fitted, lengths = FittedClip(clip_samples, padding)(heap, torch.tensor([len(clip) for clip in clips]))
    if lengths is None:
        assert padding != "masked"
        assert torch.equal(fitted, batch.waveforms)
        return
    assert torch.equal(lengths, batch.lengths)
    for row, length in enumerate(lengths):
        assert torch.equal(fitted[row, :length], batch.waveforms[row, :length])


def test_a_fixed_padding_needs_its_length():
    with pytest.raises(ConfigError, match="padding=center, clip_samples=None"):
        FittedClip(None, "center")


def test_the_rule_is_told_in_words():
    assert FittedClip(84_351, "center").describe(16_000) == (
        "clips are centred in 84,351 samples (5.27 s) of zeros that count as signal; longer ones are cropped in their middle"
    )
    assert "stay whole" in FittedClip().describe(16_000)


@pytest.mark.parametrize("clip", [FittedClip(2000, "center"), FittedClip()])
def test_it_answers_as_the_model_does(clip):
    model = small_timnet()
    clips = [torch.randn(length) * 0.1 for length in (1900, 2000, 1200)]
    batch = collate(clips, clip.clip_samples, clip.padding)
    expected = model(batch.model_input())
    graph = SpeechGraph(model, clip, temperature=2.0)
    lengths = torch.tensor([len(one) for one in clips])
    answer = graph(nn.utils.rnn.pad_sequence(clips, batch_first=True), lengths)
    torch.testing.assert_close(answer["probabilities"], torch.softmax(expected.logits / 2.0, dim=1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(answer["embedding"], expected.embedding, rtol=1e-4, atol=1e-5)
    for row, one in enumerate(clips):
        alone = graph(one[None], lengths[row : row + 1])
        torch.testing.assert_close(alone["probabilities"][0], answer["probabilities"][row], rtol=1e-5, atol=1e-5)


def test_the_trained_model_stays_as_it_is():
    model = small_timnet().train()
    before = copy.deepcopy(model.state_dict())
    prepared = prepare_for_export(model)
    assert model.training
    assert not prepared.training
    assert model.frontend.log_mel.stft.form == "fft"
    assert prepared.frontend.log_mel.stft.form == "factored"
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


class NormedEncoder(nn.Module):
    """An encoder whose weights are parametrised, as wav2vec 2.0's positional convolution is."""

    width = 4

    def __init__(self):
        super().__init__()
        self.convolution = nn.utils.parametrizations.weight_norm(nn.Conv1d(1, 4, 3))

    def forward(self, features):
        return Encoded(None, embedding=self.convolution(features.frames.transpose(1, 2)).mean(dim=2))


def test_parametrised_weights_are_resolved():
    model = SpeechModel(NormedEncoder(), Waveform(), head=DimensionHead)
    prepared = prepare_for_export(model)
    assert not nn.utils.parametrize.is_parametrized(prepared.encoder.convolution)
    assert nn.utils.parametrize.is_parametrized(model.encoder.convolution)
    inputs = ModelInput(torch.randn(2, 50), torch.tensor([50, 50]))
    torch.testing.assert_close(prepared(inputs).dimensions, model(inputs).dimensions)


def test_dimensions_are_given_as_they_are():
    graph = SpeechGraph(SpeechModel(NormedEncoder(), Waveform(), head=DimensionHead), FittedClip())
    answer = graph(torch.randn(2, 50), torch.tensor([50, 40]))
    assert list(answer) == ["dimensions", "embedding", "features"]  # the lengths of samples are the graph's own input


def test_a_dimension_that_was_never_learned_is_left_out():
    model = SpeechModel(NormedEncoder(), Waveform(), head=DimensionHead).eval()
    inputs = ModelInput(torch.randn(2, 50), torch.tensor([50, 40]))
    whole = model(inputs).dimensions
    model.unlearned_dimensions = ("dominance",)
    graph = SpeechGraph(model, FittedClip())
    torch.testing.assert_close(graph(inputs.waveforms, inputs.lengths)["dimensions"], whole[:, [0, 2]])
    assert graph.model.unlearned_dimensions == ()  # nothing is blanked and then left out
    assert model.unlearned_dimensions == ("dominance",)  # the trained model stays as it is


@pytest.mark.parametrize("missing", ["frontend", "head"])
def test_a_model_that_hears_or_answers_nothing_is_refused(missing):
    parts = {"frontend": Waveform(), "head": DimensionHead} | {missing: None}
    with pytest.raises(ConfigError, match=f"no {'front-end' if missing == 'frontend' else 'head'}"):
        SpeechGraph(SpeechModel(NormedEncoder(), **parts), FittedClip())


@pytest.mark.parametrize(("n_fft", "form"), [(64, "convolution"), (128, "convolution"), (256, "factored")])
def test_short_transforms_are_kernels_and_long_ones_factored(n_fft, form):
    frontend = Mfcc(n_mfcc=5, n_mels=8, n_fft=n_fft, hop_samples=32)
    prepared = prepare_for_export(SpeechModel(partial(TimNet, filters=3, blocks=1), frontend, head=LinearHead, classes=2))
    assert prepared.frontend.log_mel.stft.form == form
