"""What was never learned is no answer."""

from __future__ import annotations

import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.heads import LinearHead
from ser_kd.models.speech_model import SpeechModel
from ser_kd.models.unlearned_dimensions import blank_dimensions, list_known_dimensions


class Samples(nn.Module):
    width = 1

    def forward(self, inputs: ModelInput) -> Features:
        return Features(inputs.waveforms.unsqueeze(-1), inputs.lengths)


class Energy(nn.Module):
    width = 1

    def forward(self, features: Features) -> Encoded:
        return Encoded(None, embedding=features.frames.square().mean(dim=1))


def test_a_model_says_nothing_about_what_it_never_learned() -> None:
    model = SpeechModel(Energy(), Samples(), head=LinearHead, classes=0, dimensions=True)
    heard = ModelInput(torch.randn(4, 10), torch.full((4,), 10))
    whole = model.eval()(heard).dimensions
    assert whole.isfinite().all()
    assert list_known_dimensions(model) == ["arousal", "dominance", "valence"]
    model.unlearned_dimensions = ("dominance",)
    said = model(heard).dimensions
    assert said[:, 1].isnan().all()
    assert torch.equal(said[:, [0, 2]], whole[:, [0, 2]])
    assert list_known_dimensions(model) == ["arousal", "valence"]
    assert model.train()(heard).dimensions.isfinite().all()  # in training the loss leaves it out; a NaN would reach the gradient


def test_where_there_is_nothing_to_blank_nothing_changes() -> None:
    values = torch.rand(2, 3)
    assert blank_dimensions(values, ()) is values
    assert blank_dimensions(None, ("arousal",)) is None
