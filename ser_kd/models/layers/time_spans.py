"""Spans of frames to be masked, drawn clip by clip."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.functional.keyed_random import derive_keys, draw_uniform


def draw_time_spans(keys: Tensor, lengths: Tensor, size: int, share: float, span: int) -> Tensor:
    """Mark spans of frames to be replaced, as self-supervised speech models mask their input.

    A clip of F frames gets share * F / span spans, rounded up or down by a draw, at places drawn evenly; they may overlap.

    Args:
        keys: (B,) int64.
        lengths: (B,) int64 valid frames.
        size: F, frames per row.
        share: Share of frames that spans would cover side by side.
        span: Frames per span.

    Returns:
        (B, F) bool, True where a span lies.
    """
    most = int(share * size / span) + 1
    draws = draw_uniform(derive_keys(keys, "time_spans"), most + 1)  # (B, N + 1)
    count = (share * lengths / span + draws[:, 0]).long()
    starts = (draws[:, 1:] * (lengths - span + 1).clamp_min(1)[:, None]).long()  # (B, N)
    wanted = torch.arange(most, device=keys.device) < count[:, None]
    offset = torch.arange(size, device=keys.device) - starts.unsqueeze(-1)  # (B, N, F)
    return ((offset >= 0) & (offset < span) & wanted.unsqueeze(-1)).any(dim=1)
