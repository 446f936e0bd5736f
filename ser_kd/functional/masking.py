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


def resample_valid(values: Tensor, mask: Tensor | None, size: int) -> Tensor:
    """Average each row's valid stretch over ``size`` equal parts of it (area interpolation).

    A frame counts as a step of constant height; a part that covers pieces of several frames takes their mean by width, so that
    the mean of the row stays as it is, whether there are more parts than frames or fewer.

    Args:
        values: (B, F), one number per frame.
        mask: (B, F) bool, or None where every frame is valid.
        size: K, parts.

    Returns:
        (B, K); a row without a valid frame is zero.

    Example:
        >>> resample_valid(torch.tensor([[1.0, 2.0, 6.0, 99.0]]), torch.tensor([[True, True, True, False]]), 2).tolist()
        [[1.3333333730697632, 4.666666507720947]]
    """
    return resample_frames(values.unsqueeze(2), mask, size)[:, :, 0]


def resample_frames(frames: Tensor, mask: Tensor | None, size: int, target_mask: Tensor | None = None) -> Tensor:
    """Average each row's valid stretch over equal parts of it (area interpolation, as ``resample_valid``).

    Args:
        frames: (B, F, D).
        mask: (B, F) bool, or None where every frame is valid.
        size: F', parts.
        target_mask: (B, F') bool: a row has only as many parts as are marked, from its beginning; None takes all.

    Returns:
        (B, F', D); zero behind a row's parts, and in a row without a valid frame.
    """
    if mask is None:
        mask = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    dtype = frames.dtype
    ends = mask.cumsum(dim=1).to(dtype).unsqueeze(1)  # (B, 1, F): where a frame ends, in valid frames
    numbers = torch.arange(size + 1, dtype=dtype, device=frames.device)
    parts = torch.full_like(ends[:, :, -1], size) if target_mask is None else target_mask.sum(dim=1, keepdim=True).to(dtype)  # (B, 1)
    edges = torch.minimum(numbers, parts) / parts.clamp_min(1.0) * ends[:, :, -1]  # (B, F' + 1)
    left, right = edges[:, :-1, None], edges[:, 1:, None]
    overlap = (torch.minimum(right, ends) - torch.maximum(left, ends - 1.0)).clamp_min(0.0)  # (B, F', F)
    overlap = overlap * mask[:, None, :].to(dtype)
    # where, not a product: a NaN behind the end must not reach the mean
    valid = torch.where(mask.unsqueeze(-1), frames, torch.zeros((), dtype=dtype, device=frames.device))
    with torch.autocast(frames.device.type, enabled=False):  # it would round the product to half
        return overlap @ valid / overlap.sum(dim=2, keepdim=True).clamp_min(torch.finfo(dtype).tiny)


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
