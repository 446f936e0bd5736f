"""Wav2Small as an export computes it: the same answers from fewer and better filled operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.encoders.wav2small import ConvolutionUnit, Wav2Small
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pooling import ChannelAttentionPooling
from ser_kd.models.speech_model import SpeechModel

_BLOCK = 16
"""Channels that a runtime computes at once with AVX-512; 13 of them leave its fast path."""

_CLOSED = 1e6
"""Far above any map's values: what is subtracted from them where a clip has ended."""


class LeanWav2Small(nn.Module):
    """A trained ``Wav2Small`` with its ``ChannelAttentionPooling``, for inference.

    * Batch norms are part of the convolutions, and the last 1x1 convolution is part of the pooling's linear maps. Those of the values
      come behind the average over time instead of before it.
    * Time is the width of the maps (B, C, M, F): rows of 2,499 instead of 26 fill the runtime's kernels, and the softmax runs over
      neighbours.
    * Channels are filled up to 16, the runtime's block. One of them says where the clip has ended; each convolution carries it on and
      subtracts it, a million times, before the ReLU, so that no map has to be multiplied by a mask. Within the clip it is zero and
      changes no bit.

    Args:
        encoder: Trained.
        pooling: Trained.
    """

    def __init__(self, encoder: Wav2Small, pooling: ChannelAttentionPooling) -> None:
        super().__init__()
        self.input_width = encoder.input_width
        self.width = encoder.width
        channels = encoder.channels
        filled = -(-(channels + 1) // _BLOCK) * _BLOCK
        before, behind = ([unit for unit in units if isinstance(unit, ConvolutionUnit)] for units in (encoder.before, encoder.behind))
        # The maximum over (2 t - 1, 2 t, 2 t + 1) makes outside(2 t) of an ending that comes one step late.
        self.before = nn.ModuleList(_fold_unit(unit, filled, entry=unit is before[0], late=unit is before[-1]) for unit in before)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.close = _make_closing(channels, filled)
        self.behind = nn.ModuleList(_fold_unit(unit, filled) for unit in behind)
        self.channels = channels
        value, score = _fold_last(encoder, pooling.value), _fold_last(encoder, pooling.score)
        ending = torch.zeros(encoder.width, encoder.width // channels)
        ending[:, 0] = -_CLOSED
        self.register_buffer("value", value[0])  # (D, C M)
        self.register_buffer("value_bias", value[1])  # (D,)
        self.register_buffer("score", torch.cat([score[0], ending], dim=1))  # (D, (C + 1) M): what hears the ending, too

    channels: int
    value: Tensor
    value_bias: Tensor
    score: Tensor

    def forward(self, features: Features) -> Encoded:
        """Give the pooled embedding (B, D) of frames (B, F, M).

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "LeanWav2Small")
        decibels = frames.transpose(1, 2).unsqueeze(1)  # (B, 1, M, F)
        ended = torch.zeros_like(decibels) if mask is None else (~mask).to(frames.dtype)[:, None, None].expand_as(decibels)
        maps = torch.cat([decibels, ended], dim=1)
        for convolution in self.before:
            maps = torch.relu(convolution(maps))
        maps = torch.relu(self.close(self.pool(maps)))
        for convolution in self.behind:
            maps = torch.relu(convolution(maps))
        tokens = maps[:, : self.channels + 1].flatten(1, 2)  # (B, (C + 1) M, F')
        # A bias of the scores is the same at all times, which no softmax sees; values are linear, so tokens are averaged in their place.
        weights = (self.score @ tokens).softmax(dim=2)  # (B, D, F')
        averages = weights @ tokens[:, : self.value.shape[1]].transpose(1, 2)  # (B, D, C M)
        return Encoded(frames=None, embedding=(averages * self.value).sum(dim=2) + self.value_bias)


def make_lean(model: SpeechModel) -> bool:
    """Put the lean form in the place of a Wav2Small and its pooling; any other model stays as it is.

    Args:
        model: In evaluation mode; changed in place.

    Returns:
        Whether it was changed.
    """
    if not isinstance(model.encoder, Wav2Small) or not isinstance(model.pooling, ChannelAttentionPooling):
        return False
    model.encoder, model.pooling = LeanWav2Small(model.encoder, model.pooling).eval().requires_grad_(False), None
    return True


def _fold_unit(unit: ConvolutionUnit, filled: int, entry: bool = False, late: bool = False) -> nn.Conv2d:
    """Make one convolution of convolution and norm, which also closes its channels behind the end and carries the end on.

    Args:
        unit: Trained.
        filled: Channels of the maps, one of them the ending.
        entry: Whether it hears (decibels, ending) instead of maps.
        late: Whether it hands on the ending one step late.
    """
    norm = unit.norm
    scale = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    weight = (unit.convolution.weight.double() * scale[:, None, None, None]).transpose(2, 3)  # (C', C, M, F)
    width, heard = weight.shape[:2]
    bias = torch.zeros(filled)
    bias[:width] = (norm.bias.double() - norm.running_mean.double() * scale).detach()
    folded = nn.Conv2d(2 if entry else filled, filled, 3, padding=1)
    folded.bias = nn.Parameter(bias)
    with torch.no_grad():
        folded.weight.zero_()
        folded.weight[:width, :heard] = weight
        folded.weight[:width, heard, 1, 1] = -_CLOSED
        folded.weight[width, heard, 1, 0 if late else 1] = 1.0
    return folded


def _make_closing(channels: int, filled: int) -> nn.Conv2d:
    """Make what closes maps behind the end and else hands them on."""
    closing = nn.Conv2d(filled, filled, 1, bias=False)
    with torch.no_grad():
        closing.weight.copy_(torch.eye(filled)[:, :, None, None])
        closing.weight[:channels, channels] = -_CLOSED
    return closing


def _fold_last(encoder: Wav2Small, linear: nn.Linear) -> tuple[Tensor, Tensor]:
    """Make one linear map (D, C M) with its bias (D,) of the last 1x1 convolution, where there is one, and a linear map of tokens."""
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    if encoder.last is not None:
        maps = weight.unflatten(1, (encoder.last.out_channels, -1))  # (D, C, M)
        last = {name: value.double() for name, value in encoder.last.state_dict().items()}
        bias = bias + maps.sum(dim=2) @ last["bias"]
        weight = torch.einsum("dcm,ci->dim", maps, last["weight"][:, :, 0, 0]).flatten(1)
    return weight.float(), bias.float()
