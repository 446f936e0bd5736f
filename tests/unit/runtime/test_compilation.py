from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.runtime import compilation
from ser_kd.runtime.compilation import compile_in_place


class Tiny(nn.Module):
    """One layer, which says whether its Python code ran."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, inputs: ModelInput) -> Outputs:
        embedding: Tensor = inputs.waveforms.tanh()
        return Outputs(logits=self.layer(embedding), embedding=embedding)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_compiled_model_keeps_names_answers_and_gradients() -> None:
    torch.manual_seed(0)
    model = Tiny()
    plain = copy.deepcopy(model)
    compile_in_place([model])
    assert list(model.state_dict()) == list(plain.state_dict())
    inputs = ModelInput(torch.randn(3, 4), torch.full((3,), 4))
    found, expected = model(inputs), plain(inputs)
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.embedding, expected.embedding)
    for outputs in (found, expected):
        outputs.logits.square().sum().backward()
    torch.testing.assert_close(model.layer.weight.grad, plain.layer.weight.grad)
    assert copy.deepcopy(model)._compiled_call_impl is None  # as an average of its weights is


def test_a_machine_that_cannot_compile_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(compilation.torch, "compile", lambda function: fail)
    with pytest.raises(ConfigError, match=r"(?s)no C\+\+ compiler.*compile=false"):
        compile_in_place([nn.Linear(1, 1)])
