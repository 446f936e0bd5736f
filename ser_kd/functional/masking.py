"""Valid-frame masks and the statistics that respect them."""

from __future__ import annotations

import torch
from torch import Tensor


def lengths_to_mask(lengths: Tensor, size: int) -> Tensor:
    """Mark the valid positions of each row.

    Args:
        lengths: (B,) int64.
        size: F, frames (or samples) per row.

    Returns:
        (B, F) bool, True where the position lies before the row's length.

    Example:
        >>> lengths_to_mask(torch.tensor([1, 3]), 3).int().tolist()
        [[1, 0, 0], [1, 1, 1]]
    """
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def clear_padding(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Put zeros behind each clip's end.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where all are.

    Returns:
        (B, T).
    """
    if lengths is None:
        return waveforms
    # where, not a product: a NaN behind the end must not reach a frame
    return torch.where(lengths_to_mask(lengths, waveforms.shape[1]), waveforms, torch.zeros_like(waveforms))


def clear_frames(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Put zeros into frames that are not valid.

    Args:
        frames: (B, F, D).
        mask: (B, F) bool, or None where every frame is valid.

    Returns:
        (B, F, D).
    """
    return frames if mask is None else torch.where(mask.unsqueeze(-1), frames, torch.zeros_like(frames))


def masked_mean(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Average over valid frames.

    Args:
        frames: (B, F, D).
        mask: (B, F) bool, or None where every frame is valid.

    Returns:
        (B, D); a row without a valid frame is zero.
    """
    if mask is None:
        return frames.mean(dim=1)
    weights = mask.to(frames.dtype).unsqueeze(-1)  # (B, F, 1)
    # where, not a product: a NaN behind the end must not reach the mean
    valid = torch.where(mask.unsqueeze(-1), frames, torch.zeros((), dtype=frames.dtype, device=frames.device))
    return valid.sum(dim=1) / weights.sum(dim=1).clamp_min(1.0)


def flip_valid(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """Reverse each row's valid frames and leave the padding behind them.

    Args:
        frames: (B, F, D).
        lengths: (B,) int64, or None where every frame is valid.

    Returns:
        (B, F, D).
    """
    if lengths is None:
        return frames.flip(1)
    position = torch.arange(frames.shape[1], device=frames.device)
    source = torch.where(position < lengths[:, None], lengths[:, None] - 1 - position, position)  # (B, F)
    return frames.gather(1, source.unsqueeze(-1).expand_as(frames))
