import torch
from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.models.costs import count_multiply_accumulates


class Attention(nn.Module):
    def forward(self, inputs):
        heads = inputs.waveforms.view(1, 2, 5, 4)  # (B, heads, F, D)
        return nn.functional.scaled_dot_product_attention(heads, heads, heads)


class Convolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(1, 3, 4, stride=2)

    def forward(self, inputs):
        return self.layer(inputs.waveforms.unsqueeze(1))


def test_attention_counts_both_its_products_on_any_device():
    assert count_multiply_accumulates(Attention(), ModelInput(torch.randn(1, 40), torch.tensor([40]))) == 2 * (2 * 5 * 5 * 4)


def test_a_convolution_counts_each_tap_and_the_model_is_left_as_it_was():
    model = Convolution().train()
    assert count_multiply_accumulates(model, ModelInput(torch.randn(1, 40), torch.tensor([40]))) == 19 * 3 * 4
    assert model.training
