from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.models.restricted_classes import RestrictedClasses


class Fixed(nn.Module):
    def __init__(self, logits: Tensor | None) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, inputs: ModelInput) -> Outputs:
        return Outputs(logits=self.logits, embedding=inputs.waveforms)


INPUTS = ModelInput(torch.zeros(2, 4), torch.tensor([4, 4]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_forbidden_classes_have_no_probability_and_the_others_keep_their_odds(dtype: torch.dtype) -> None:
    logits = torch.tensor([[5.0, 1.0, 2.0], [-9.0, 0.0, -1.0]], dtype=dtype)
    outputs = RestrictedClasses(Fixed(logits), [False, True, True])(INPUTS)
    assert outputs.logits is not None
    assert outputs.logits.isfinite().all()
    assert outputs.embedding is INPUTS.waveforms
    probabilities = outputs.logits.float().softmax(dim=1)
    assert (probabilities[:, 0] == 0).all()
    torch.testing.assert_close(probabilities[:, 1:], logits[:, 1:].float().softmax(dim=1))
    assert outputs.logits.argmax(dim=1).tolist() == [2, 1]
    assert logits[0, 0] == 5.0


def test_all_classes_allowed_change_nothing() -> None:
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    outputs = RestrictedClasses(Fixed(logits), [True, True, True])(INPUTS)
    assert torch.equal(outputs.logits, logits)
    assert RestrictedClasses(Fixed(None), [True, True])(INPUTS).logits is None


def test_one_class_is_no_choice() -> None:
    with pytest.raises(ConfigError, match="fewer than two classes"):
        RestrictedClasses(Fixed(None), [True, False])
