"""CNN14 of the pretrained audio neural networks (PANNs), trained from scratch here."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import clear_frames, masked_mean
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.valid_frames import take_frames


class ConvolutionBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, then the mean of 2x2 neighbours.

    Args:
        input_width: Channels that come in.
        width: Channels that go out.
        halves: Whether time and frequency are halved at its end.
    """

    def __init__(self, input_width: int, width: int, halves: bool) -> None:
        super().__init__()
        self.first = _convolution(input_width, width)
        self.first_norm = MaskedBatchNorm(width)
        self.second = _convolution(width, width)
        self.second_norm = MaskedBatchNorm(width)
        self.halves = halves

    def forward(self, maps: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Give maps (B, C, F', M') and mask (B, F') for maps (B, C, F, M) that are zero behind each length, as are the answers."""
        maps = _clear(torch.relu(self.first_norm(self.first(maps), mask)), mask)
        maps = _clear(torch.relu(self.second_norm(self.second(maps), mask)), mask)
        if self.halves:
            # A last frame without a partner falls away, in a single clip too.
            mask = None if mask is None else mask[:, 1::2]
            maps = _clear(nn.functional.avg_pool2d(maps, 2), mask)
        return maps, mask


class Cnn14(nn.Module):
    """Six blocks of two convolutions over (time, frequency), mean over frequency, maximum plus mean over time, one linear layer.

    With 64 mel bins the blocks hold 75,477,440 parameters, with the linear layer 79,673,792. Maps are set to zero behind each clip's
    end after every normalisation, so a clip's answer is the same alone and in any batch. A clip of fewer frames than the halvings
    need is lengthened by zeros behind the first normalisation.

    Args:
        input_width: Mel bins per frame.
        widths: Channels of each block; all but the last halve time and frequency.
        embedding_width: Outputs of the linear layer; None hands out the pooled maps.
        block_dropout: Probability of dropping a value after each block.
        dropout: Probability of dropping a value before and after the linear layer.

    Raises:
        ConfigError: If there are more halvings than the mel bins allow.

    Source: Kong et al. 2020, "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition".
    """

    def __init__(
        self,
        input_width: int,
        widths: Sequence[int] = (64, 128, 256, 512, 1024, 2048),
        embedding_width: int | None = 2048,
        block_dropout: float = 0.2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        halvings = len(widths) - 1
        if halvings < 0 or input_width < 2**halvings:
            raise ConfigError(
                "CNN14 cannot be built in this layout.",
                expected=f"at least one block, and {2 ** max(halvings, 0)} mel bins or more for {len(widths)} blocks",
                got=f"widths={list(widths)}, {input_width} mel bins",
                remedy="give fewer widths, or a front-end with more mel bins (frontend: log_mel_64_16khz)",
            )
        self.input_width = input_width
        self.fewest_frames = 2**halvings
        self.input_norm = MaskedBatchNorm(input_width)
        incoming = [1, *widths]
        self.blocks = nn.ModuleList(ConvolutionBlock(incoming[index], width, halves=index < halvings) for index, width in enumerate(widths))
        self.block_dropout = nn.Dropout(block_dropout)
        self.dropout = nn.Dropout(dropout)
        self.embedding = None if embedding_width is None else nn.Linear(widths[-1], embedding_width)
        self.width = widths[-1] if embedding_width is None else embedding_width
        if self.embedding is not None:
            nn.init.xavier_uniform_(self.embedding.weight)
            nn.init.zeros_(self.embedding.bias)

    def forward(self, features: Features) -> Encoded:
        """Give the embedding (B, D), and the frames (B, F', C) it was pooled from with their mask.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "Cnn14")
        frames = clear_frames(self.input_norm(frames.transpose(1, 2), mask).transpose(1, 2), mask)
        frames, mask = self._lengthen(frames, mask)
        maps = frames.unsqueeze(1)  # (B, 1, F, M)
        for block in self.blocks:
            maps, mask = block(maps, mask)
            maps = self.block_dropout(maps)
        frames = maps.mean(dim=3).transpose(1, 2)  # (B, F', C)
        # After ReLU nothing lies below the zeros behind the end, so they win no maximum.
        embedding = frames.amax(dim=1) + masked_mean(frames, mask)
        if self.embedding is not None:
            embedding = self.dropout(torch.relu(self.embedding(self.dropout(embedding))))
        return Encoded(frames=frames, frame_mask=mask, embedding=embedding)

    def _lengthen(self, frames: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        missing = max(self.fewest_frames - frames.shape[1], 0)
        frames = nn.functional.pad(frames, (0, 0, 0, missing))
        if mask is not None:
            mask = nn.functional.pad(mask, (0, missing))
            mask = mask | (torch.arange(mask.shape[1], device=mask.device) < self.fewest_frames)
        return frames, mask


def _convolution(incoming: int, outgoing: int) -> nn.Conv2d:
    convolution = nn.Conv2d(incoming, outgoing, 3, padding=1, bias=False)
    nn.init.xavier_uniform_(convolution.weight)
    return convolution


def _clear(maps: Tensor, mask: Tensor | None) -> Tensor:
    return maps if mask is None else maps * mask[:, None, :, None].to(maps.dtype)
