"""What a trained Wav2Small computes, with its norms as part of its convolutions and its last convolution as part of its pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.models.encoders.wav2small import ConvolutionUnit, Wav2Small

BLOCK = 16
"""Channels that a runtime computes at once (AVX-512, VNNI); 13 of them leave its fast path."""


def list_units(encoder: Wav2Small) -> tuple[list[ConvolutionUnit], list[ConvolutionUnit]]:
    """List the units before and behind the maximum."""
    before, behind = ([unit for unit in units if isinstance(unit, ConvolutionUnit)] for units in (encoder.before, encoder.behind))
    return before, behind


def fill_up(channels: int) -> int:
    """Give the next multiple of ``BLOCK``."""
    return -(-channels // BLOCK) * BLOCK


def fold_norm(unit: ConvolutionUnit) -> tuple[Tensor, Tensor]:
    """Make one kernel (C', C, F, M) with its bias (C',), float64, of a convolution and the norm behind it."""
    norm = unit.norm
    scale = norm.weight.detach().double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    weight = unit.convolution.weight.detach().double() * scale[:, None, None, None]
    return weight, norm.bias.detach().double() - norm.running_mean.double() * scale


def fold_last(encoder: Wav2Small, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Make one linear map (D, C M) with its bias (D,) of the last 1x1 convolution, where there is one, and a linear map of tokens."""
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    if encoder.last is not None:
        maps = weight.unflatten(1, (encoder.last.out_channels, -1))  # (D, C, M)
        last = {name: value.double() for name, value in encoder.last.state_dict().items()}
        bias = bias + maps.sum(dim=2) @ last["bias"]
        weight = torch.einsum("dcm,ci->dim", maps, last["weight"][:, :, 0, 0]).flatten(1)
    return weight.float(), bias.float()
