"""Slopes of features over time, beside the features themselves."""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import Frontend
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.full_precision import full_precision
from ser_kd.frontends.wrapped import read_frames


class Deltas(nn.Module):
    """Appends the slope of each coefficient, and the slope of that slope.

    The slope is the least-squares line over ``window_frames``, as in HTK and ``torchaudio.functional.compute_deltas``, with each clip's
    first and last valid frame repeated beyond its ends. Inside a clip the first order equals ``librosa.feature.delta``, which differs
    in the outer ``window_frames // 2`` frames (it fits one line there) and in the second order (it fits a parabola).

    Args:
        frontend: The front-end whose features are extended.
        orders: 1 or 2; the width becomes (1 + orders) times the front-end's.
        window_frames: Odd number of frames under one line.

    Raises:
        ConfigError: If there is another order or no odd window of at least 3 frames.
    """

    def __init__(self, frontend: Frontend, orders: int = 2, window_frames: int = 9) -> None:
        super().__init__()
        if orders not in (1, 2) or window_frames < 3 or window_frames % 2 == 0:
            raise ConfigError(
                "Deltas of this kind do not exist.",
                expected="orders 1 or 2, window_frames odd and at least 3",
                got=f"orders={orders}, window_frames={window_frames}",
                remedy="the usual choice is orders=2, window_frames=9",
            )
        self.frontend = frontend
        self.orders = orders
        self.window_frames = window_frames
        self.width = frontend.width * (1 + orders)

    def forward(self, inputs: ModelInput) -> Features:
        frames, lengths = read_frames(self.frontend, inputs)
        with full_precision(frames):
            parts = [frames]
            for _ in range(self.orders):
                held = _hold_last_frame(parts[-1], lengths).transpose(1, 2)  # (B, D, F)
                parts.append(torchaudio.functional.compute_deltas(held, self.window_frames, mode="replicate").transpose(1, 2))
        return Features(torch.cat(parts, dim=2), lengths, inputs.texts, inputs.keys)


def _hold_last_frame(frames: Tensor, lengths: Tensor | None) -> Tensor:
    """Repeat each clip's last valid frame behind its end, so that a slope there is the same alone and in a batch."""
    if lengths is None:
        return frames
    position = torch.arange(frames.shape[1], device=frames.device)
    source = torch.minimum(position, (lengths[:, None] - 1).clamp_min(0))  # (B, F)
    return frames.gather(1, source.unsqueeze(-1).expand_as(frames))
