from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.models.encoders.crnn import Crnn
from ser_kd.models.heads import LinearHead
from ser_kd.models.pooling import MeanPooling
from ser_kd.models.speech_model import SpeechModel
from ser_kd.runtime import compilation
from ser_kd.runtime.compilation import compile_in_place


class Samples(nn.Module):
    width = 8

    def forward(self, inputs: ModelInput) -> Features:
        return Features(inputs.waveforms.unflatten(1, (-1, 8)), inputs.lengths // 8)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_compiled_model_keeps_names_and_answers() -> None:
    torch.manual_seed(0)
    model = SpeechModel(Crnn(8, widths=(4, 4), hidden_width=4, dropout=0.0), Samples(), MeanPooling(), LinearHead, classes=3)
    plain = copy.deepcopy(model)
    names = list(model.state_dict())
    compile_in_place([model])
    for training in (True, False):
        for clips in (3, 2):
            inputs = ModelInput(torch.randn(clips, 320), torch.tensor([320, 160, 240])[:clips])
            found, expected = (part.train(training)(inputs).logits for part in (model, plain))
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            if training:
                for part, logits in ((model, found), (plain, expected)):
                    part.zero_grad()
                    logits.square().sum().backward()
                torch.testing.assert_close(model.head.linear.weight.grad, plain.head.linear.weight.grad, rtol=1e-4, atol=1e-5)
    assert list(model.state_dict()) == names
    copy.deepcopy(model)
    with torch.compiler.set_stance("force_eager"):
        torch.testing.assert_close(model(inputs).logits, expected, rtol=1e-6, atol=1e-6)


def test_a_machine_that_cannot_compile_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(compilation.torch, "compile", lambda function: fail)
    with pytest.raises(ConfigError, match=r"(?s)no C\+\+ compiler.*compile=false"):
        compile_in_place([nn.Linear(1, 1)])
