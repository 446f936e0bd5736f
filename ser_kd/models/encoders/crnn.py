"""A convolutional recurrent network over spectrograms, small enough to learn from a few hundred clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import clear_frames, flip_valid
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.valid_frames import take_frames


class Crnn(nn.Module):
    """Convolution blocks that halve frequency (and at first time), then one gated recurrent layer in each direction.

    Each block is a 3x3 convolution, batch norm, ReLU, the maximum of neighbours, and dropout of whole channels. The backward direction
    hears each clip's own frames reversed, so a clip's frames are the same alone and in any batch. An own layout after the family of
    Choi et al. 2017, "Convolutional Recurrent Neural Networks for Music Classification".

    Args:
        input_width: Mel bins per frame.
        widths: Channels of each block.
        time_halvings: So many of the first blocks halve time too.
        hidden_width: Units of the recurrent layer in each direction; frames are twice as wide.
        dropout: Probability of dropping a channel behind each block, and a value of the frames.

    Raises:
        ConfigError: If the mel bins do not suffice for the blocks.
    """

    def __init__(
        self,
        input_width: int,
        widths: Sequence[int] = (32, 64, 128, 128),
        time_halvings: int = 2,
        hidden_width: int = 128,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if not widths or input_width < 2 ** len(widths):
            raise ConfigError(
                "Crnn cannot be built in this layout.",
                expected=f"at least one block, and {2 ** len(widths)} mel bins or more for {len(widths)} blocks",
                got=f"widths={list(widths)}, {input_width} mel bins",
                remedy="give fewer widths, or a front-end with more mel bins (frontend: log_mel_64_16khz)",
            )
        self.input_width = input_width
        self.width = 2 * hidden_width
        incoming = [1, *widths]
        self.convolutions = nn.ModuleList(_convolution(incoming[index], width) for index, width in enumerate(widths))
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for width in widths)
        self.time_steps = [2 if index < time_halvings else 1 for index in range(len(widths))]
        self.channel_dropout = nn.Dropout2d(dropout)
        bins = input_width // 2 ** len(widths)
        self.forward_layer = nn.GRU(widths[-1] * bins, hidden_width, batch_first=True)
        self.backward_layer = nn.GRU(widths[-1] * bins, hidden_width, batch_first=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features: Features) -> Encoded:
        """Give frames (B, F', D) at the reduced rate, with their mask.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "Crnn")
        maps = frames.unsqueeze(1)  # (B, 1, F, M)
        for convolution, norm, step in zip(self.convolutions, self.norms, self.time_steps, strict=True):
            maps = torch.relu(norm(convolution(maps), mask))
            maps = maps if mask is None else maps * mask[:, None, :, None].to(maps.dtype)
            # Rounded up: a last frame without a partner stays. After ReLU the zeros behind the end win no maximum.
            maps = nn.functional.max_pool2d(nn.functional.pad(maps, (0, 0, 0, -maps.shape[2] % step)), (step, 2))
            mask = mask if mask is None else mask[:, ::step]
            maps = self.channel_dropout(maps)
        frames = maps.transpose(1, 2).flatten(2)  # (B, F', C M')
        lengths = None if mask is None else mask.sum(dim=1)
        forward, _ = self.forward_layer(frames)
        backward, _ = self.backward_layer(flip_valid(frames, lengths))
        frames = torch.cat([forward, flip_valid(backward, lengths)], dim=2)
        return Encoded(frames=clear_frames(self.dropout(frames), mask), frame_mask=mask)


def _convolution(incoming: int, outgoing: int) -> nn.Conv2d:
    convolution = nn.Conv2d(incoming, outgoing, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution
