"""Wav2Small as int8 is made from it: the same answers, laid out so that a runtime's int8 kernels are filled."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.deploy.wav2small_weights import fill_up, fold_last, fold_norm, list_units
from ser_kd.models.encoders.wav2small import ConvolutionUnit, Wav2Small
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pooling import ChannelAttentionPooling


class FilledWav2Small(nn.Module):
    """A trained ``Wav2Small`` with its ``ChannelAttentionPooling``, for static quantisation.

    Norms are part of the convolutions, and the last 1x1 convolution is part of the pooling's linear maps. Channels are filled up with
    zeros to 16: an int8 convolution of 16 channels takes half the time of one of 13. A token's values stand in the order (mel, channel),
    as int8 maps lie in memory. Masks are products of maps by zeros and ones, which ``deploy.rounded_masks`` knows.

    Args:
        encoder: Trained.
        pooling: Trained.
    """

    def __init__(self, encoder: Wav2Small, pooling: ChannelAttentionPooling) -> None:
        super().__init__()
        self.input_width = encoder.input_width
        self.width = encoder.width
        self.channels = encoder.channels
        before, behind = list_units(encoder)
        filled = fill_up(self.channels)
        self.before = nn.ModuleList(_fill_unit(unit, filled, entry=unit is before[0]) for unit in before)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.behind = nn.ModuleList(_fill_unit(unit, filled) for unit in behind)
        self.value = self._turn(*fold_last(encoder, pooling.value))
        self.score = self._turn(*fold_last(encoder, pooling.score))

    def forward(self, features: Features) -> Encoded:
        """Give the pooled embedding (B, D) of frames (B, F, M).

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "FilledWav2Small")
        maps = frames.unsqueeze(1)  # (B, 1, F, M)
        valid = frames.new_ones(frames.shape[:2]) if mask is None else mask.to(frames.dtype)
        valid = valid[:, None, :, None]
        for number, convolution in enumerate(self.before):
            # the first layer stays float32: there a mask as wide as the map is multiplied in one go instead of row by row
            maps = torch.relu(convolution(maps)) * (valid if number else valid.expand(-1, -1, -1, self.input_width))
        valid = valid[:, :, ::2]
        maps = self.pool(maps) * valid
        for convolution in self.behind:
            maps = torch.relu(convolution(maps)) * valid
        tokens = maps.permute(0, 2, 3, 1)[..., : self.channels].flatten(2)  # (B, F', M C)
        scores = self.score(tokens)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, ::2, None], torch.finfo(scores.dtype).min)
        return Encoded(frames=None, embedding=(self.value(tokens) * scores.softmax(dim=1)).sum(dim=1))

    def _turn(self, weight: Tensor, bias: Tensor) -> nn.Linear:
        """Make a linear map of tokens (mel, channel) of one of tokens (channel, mel)."""
        linear = nn.Linear(self.width, self.width)
        with torch.no_grad():
            linear.weight.copy_(weight.unflatten(1, (self.channels, -1)).transpose(1, 2).flatten(1))
            linear.bias.copy_(bias)
        return linear


def _fill_unit(unit: ConvolutionUnit, filled: int, entry: bool = False) -> nn.Conv2d:
    """Make one convolution (``filled`` channels, and as many or one that it hears) of convolution and norm."""
    weight, bias = fold_norm(unit)
    convolution = nn.Conv2d(1 if entry else filled, filled, 3, padding=1)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.bias.zero_()  # type: ignore[union-attr]
        convolution.weight[: weight.shape[0], : weight.shape[1]] = weight
        convolution.bias[: len(bias)] = bias  # type: ignore[index]
    return convolution
