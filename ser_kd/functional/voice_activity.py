"""Which frames of a clip hold no speech, told by their energy against the clip's own noise floor."""

from __future__ import annotations

import torch
from torch import Tensor

SILENT_DB = 100.0
"""A frame this far below the loudest of its clip, or one of zeros, holds neither speech nor noise."""


def find_noise_frames(
    power: Tensor,
    mask: Tensor | None = None,
    margin_db: float = 3.0,
    floor_share: float = 0.1,
    smoothed_frames: int = 5,
    least_frames: int = 8,
) -> tuple[Tensor, Tensor]:
    """Find the frames of noisy clips in which nobody speaks.

    Frame powers are averaged over ``smoothed_frames`` neighbours. The noise floor is a low quantile of them, so that it follows each clip
    (minimum statistics over the whole clip instead of a sliding window: the clips are a few seconds long). Noise-only is what lies at
    most ``margin_db`` above it; where that is less than ``least_frames``, as in speech without a pause, the quietest so many are.

    Args:
        power: (B, F) power of each frame.
        mask: (B, F) bool, True where a frame is valid; None where all are.
        margin_db: How far above the floor a noise-only frame may lie, decibels.
        floor_share: Which quantile the floor is, in [0, 1].
        smoothed_frames: An odd number.
        least_frames: So many frames are called noise-only at least, where the clip has them.

    Returns:
        (B, F) bool noise-only frames, and (B, F) bool frames that are valid and not digitally silent.
    """
    valid = torch.ones_like(power, dtype=torch.bool) if mask is None else mask
    loudest = torch.where(valid, power, torch.zeros_like(power)).max(dim=1, keepdim=True).values
    audible = valid & (power > loudest * 10.0 ** (-SILENT_DB / 10.0)) & (loudest > 0)
    level = 10.0 * torch.log10(_smooth(power, audible, smoothed_frames).clamp_min(torch.finfo(power.dtype).tiny))
    level = torch.where(audible, level, torch.full_like(level, torch.inf))
    ordered = level.sort(dim=1).values
    count = audible.sum(dim=1, keepdim=True)
    last = (count - 1).clamp_min(0)
    floor = ordered.gather(1, (floor_share * last).long())
    least = ordered.gather(1, torch.minimum(last, torch.full_like(last, least_frames - 1)))
    return audible & (level <= torch.maximum(floor + margin_db, least)), audible


def _smooth(power: Tensor, counted: Tensor, frames: int) -> Tensor:
    """Average over neighbours that count; (B, F) -> (B, F)."""
    kernel = torch.ones(1, 1, frames, dtype=power.dtype, device=power.device)
    weights = counted.to(power.dtype)
    total = torch.nn.functional.conv1d((power * weights).unsqueeze(1), kernel, padding=frames // 2)
    number = torch.nn.functional.conv1d(weights.unsqueeze(1), kernel, padding=frames // 2)
    return (total / number.clamp_min(1.0)).squeeze(1)
