"""What a convolution sees beyond a clip's two ends: the clip itself, mirrored."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def reflect_ends(maps: Tensor, mask: Tensor | None, span: int) -> Tensor:
    """Continue each clip on both sides by its own frames in reversed order, without the outermost one.

    Where every frame is valid and there are more than ``span`` it is torch's padding of mode ``reflect``. That knows one end for all
    rows: of a padded batch it mirrors the padding, so a short clip is continued by zeros in company and by itself alone. Here each row is
    mirrored at its own last valid frame. A clip of fewer frames is mirrored again and again, where torch refuses; a single frame is
    repeated.

    Args:
        maps: (B, C, F), finite everywhere.
        mask: (B, F) bool, valid frames first; None where every frame is.
        span: Frames on each side.

    Returns:
        (B, C, F + 2 span); what stands more than ``span`` frames behind a clip's end means nothing.
    """
    size = maps.shape[2]
    if span < 1:
        return maps
    if mask is None and size > span:
        return nn.functional.pad(maps, (span, span), mode="reflect")
    lengths = torch.full_like(maps[:, 0, 0], size, dtype=torch.int64) if mask is None else mask.sum(dim=1)
    distance = torch.arange(1, span + 1, device=maps.device)  # from the outermost frame
    last = (lengths - 1).clamp_min(0)[:, None]  # (B, 1)
    turn = distance.remainder((2 * last).clamp_min(1))  # there and back again
    inward = torch.minimum(turn, (2 * last - turn).clamp_min(0))  # (B, S)
    head = _take(maps, inward.flip(1))
    tail = _take(maps, last - inward)
    longer = torch.cat([head, maps, torch.zeros_like(tail)], dim=2)
    behind = (lengths[:, None] + span + distance - 1).unsqueeze(1).expand_as(tail)
    return longer.scatter(2, behind, tail)


def _take(maps: Tensor, frames: Tensor) -> Tensor:
    """Give (B, C, S) for frame numbers (B, S)."""
    return maps.gather(2, frames.unsqueeze(1).expand(-1, maps.shape[1], -1))
