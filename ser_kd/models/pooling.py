"""From frames to one embedding per clip, over valid frames only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.masking import masked_mean

VARIANCE_FLOOR = 1e-10
"""Below this the deviation is constant, so that its gradient stays finite in a clip of one frame."""


def weighted_moments(frames: Tensor, weights: Tensor, variance_floor: float = VARIANCE_FLOOR) -> tuple[Tensor, Tensor]:
    """Compute mean and population deviation over frames.

    Args:
        frames: (B, F, D), finite everywhere.
        weights: (B, F, 1) or (B, F, D), summing to 1 over F.
        variance_floor: No smaller variance is told.

    Returns:
        (B, D) each.
    """
    mean = (frames * weights).sum(dim=1)
    variance = ((frames - mean.unsqueeze(1)).square() * weights).sum(dim=1)
    return mean, variance.clamp_min(variance_floor).sqrt()


def _clear(frames: Tensor, mask: Tensor | None) -> Tensor:
    # where, not a product: a NaN behind the end must not reach the mean
    return frames if mask is None else torch.where(mask.unsqueeze(-1), frames, torch.zeros_like(frames))


class MeanPooling(nn.Module):
    """The mean over valid frames."""

    def output_width(self, width: int) -> int:
        """Give the embedding's width for frames of ``width``."""
        return width

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, F, D) frames to (B, D)."""
        return masked_mean(frames, mask)


class StatisticsPooling(nn.Module):
    """Mean and population standard deviation over valid frames, side by side."""

    def output_width(self, width: int) -> int:
        """Give the embedding's width for frames of ``width``."""
        return 2 * width

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, F, D) frames to (B, 2 D)."""
        frames = _clear(frames, mask)
        valid = frames.new_ones(frames.shape[:2]) if mask is None else mask.to(frames.dtype)
        weights = valid / valid.sum(dim=1, keepdim=True).clamp_min(1.0)
        return torch.cat(weighted_moments(frames, weights.unsqueeze(-1)), dim=1)


class AttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation weighted by learned attention, softmax over valid frames, for each channel by itself.

    Scores are v tanh(W h + b) + k for each channel. ECAPA-TDNN adds the clip's own statistics to h and a batch norm; that is
    part of its encoder here.

    Args:
        width: D of the frames.
        attention_width: Rows of W.

    Source: Okabe, Koshinaka and Shinoda 2018, with the channel-dependent scores of Desplanques et al. 2020.
    """

    def __init__(self, width: int, attention_width: int = 128) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, attention_width)
        self.score = nn.Linear(attention_width, width)

    def output_width(self, width: int) -> int:
        """Give the embedding's width for frames of ``width``."""
        return 2 * width

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, F, D) frames to (B, 2 D)."""
        frames = _clear(frames, mask)
        scores = self.score(torch.tanh(self.hidden(frames)))  # (B, F, D)
        return torch.cat(weighted_moments(frames, _weigh(scores, mask)), dim=1)


class SharedAttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation weighted by learned attention, one score per frame for all channels, softmax over valid frames.

    Scores are v tanh(W h + b), v without a bias.

    Args:
        width: D of the frames, and of W.
        variance_floor: No smaller variance is told.

    Source: Okabe, Koshinaka and Shinoda 2018; the floor is that of the Odyssey 2024 baselines.
    """

    def __init__(self, width: int, variance_floor: float = 1e-5) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.variance_floor = variance_floor

    def output_width(self, width: int) -> int:
        """Give the embedding's width for frames of ``width``."""
        return 2 * width

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, F, D) frames to (B, 2 D)."""
        frames = _clear(frames, mask)
        scores = self.score(torch.tanh(self.hidden(frames)))  # (B, F, 1)
        return torch.cat(weighted_moments(frames, _weigh(scores, mask), self.variance_floor), dim=1)


class ChannelAttentionPooling(nn.Module):
    r"""For each channel by itself a weighted mean of a linear map: :math:`z_d = \sum_t \mathrm{softmax}_t(s_d(x_t))\, v_d(x_t)`.

    Values v and scores s are linear maps with bias; the softmax runs over valid frames. Wav2Small's listing calls them lin and sof.

    Args:
        width: D of the frames.

    Source: Kounadis-Bastian et al. 2024, Wav2Small, as far as its size of 72 K parameters tells.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)
        self.score = nn.Linear(width, width)

    def output_width(self, width: int) -> int:
        """Give the embedding's width for frames of ``width``."""
        return width

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, F, D) frames to (B, D)."""
        frames = _clear(frames, mask)
        return (self.value(frames) * _weigh(self.score(frames), mask)).sum(dim=1)


class MapAttentionPooling(nn.Module):
    r"""Weighted means of maps beside how their channels go together: X and :math:`X X^\top`, side by side.

    As ``ChannelAttentionPooling``, but a frame is a map of C channels and M bins, and values and scores are linear maps of the
    channels alone, the same for every bin. X (C, M) is what is pooled. It is the head of the later Wav2Small of 10,806 learnable
    parameters.

    Args:
        width: D = C M of the frames, channels outside.
        channels: C.

    Raises:
        ConfigError: If the channels do not divide the width.
    """

    def __init__(self, width: int, channels: int = 13) -> None:
        super().__init__()
        if channels < 1 or width % channels:
            raise ConfigError(
                "The channels do not divide the width.",
                expected=f"channels that divide {width}",
                got=str(channels),
                remedy="give pooling.channels those of the encoder",
            )
        self.channels = channels
        self.value = nn.Linear(channels, channels)
        self.score = nn.Linear(channels, channels)

    def output_width(self, width: int) -> int:
        """Give the embedding's width for frames of ``width``."""
        return width + self.channels * self.channels

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (B, F, D) frames to (B, D + C C)."""
        maps = _clear(frames, mask).unflatten(2, (self.channels, -1)).transpose(2, 3)  # (B, F, M, C)
        weights = _weigh(self.score(maps).flatten(2), mask)
        pooled = (self.value(maps).flatten(2) * weights).sum(dim=1)  # (B, M C)
        pooled = pooled.unflatten(1, (-1, self.channels)).transpose(1, 2)  # (B, C, M)
        return torch.cat([pooled.flatten(1), (pooled @ pooled.transpose(1, 2)).flatten(1)], dim=1)


def _weigh(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Turn scores (B, F, D) into weights that sum to 1 over each clip's valid frames."""
    if mask is not None:
        scores = scores.masked_fill(~mask.unsqueeze(-1), torch.finfo(scores.dtype).min)
    return scores.softmax(dim=1)
