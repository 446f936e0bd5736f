"""A drawn displacement in time."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.transforms.random_transform import Parameters, RandomTransform, draw_parameter


class TimeShift(RandomTransform[SpeechBatch]):
    """Moves a clip within its valid part: y[t] = x[t - round(share * length)], zero where x has no sample.

    What leaves the valid part is lost; nothing wraps around, and the length stays.

    Args:
        max_share: Largest displacement to either side, as a share of the clip's length.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If the share lies outside [0, 1].
    """

    def __init__(self, max_share: float = 0.1, probability: float = 0.5, slot: str = "") -> None:
        super().__init__(probability, slot)
        if not 0.0 <= max_share <= 1.0:
            raise ConfigError(
                "The largest time shift is a share of the clip.", expected="a number in [0, 1]", got=str(max_share), remedy="0.1 is usual"
            )
        self.max_share = max_share

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``share`` (B,), positive to the right."""
        return {"share": draw_parameter(keys, "share", -self.max_share, self.max_share)}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Move the selected clips."""
        waveforms, lengths = subject.waveforms, subject.lengths[:, None]
        shift = (parameters["share"] * subject.lengths).round().long()[:, None]  # (B, 1)
        position = torch.arange(waveforms.shape[1], device=waveforms.device)
        source = position - shift  # (B, T)
        inside = (source >= 0) & (source < lengths) & (position < lengths)
        moved = waveforms.gather(1, source.clamp(0, waveforms.shape[1] - 1))
        moved = torch.where(inside, moved, torch.zeros_like(moved))
        return replace(subject, waveforms=torch.where(selected[:, None], moved, waveforms))
