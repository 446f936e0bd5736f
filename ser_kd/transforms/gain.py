"""A drawn loudness."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.transforms.random_transform import Parameters, RandomTransform, check_range, draw_parameter


class Gain(RandomTransform[SpeechBatch]):
    """Multiplies a clip by a factor: y = g x. Nothing is clipped, so a loud clip may exceed full scale.

    Args:
        min_factor: Smallest g; 1 leaves the clip as it is.
        max_factor: Largest g.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If the range does not run upwards from 0.
    """

    def __init__(self, min_factor: float = 0.5, max_factor: float = 1.5, probability: float = 0.5, slot: str = "") -> None:
        super().__init__(probability, slot)
        check_range(min_factor, max_factor, "factor", 0.0)
        self.min_factor = min_factor
        self.max_factor = max_factor

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``factor`` (B,)."""
        return {"factor": draw_parameter(keys, "factor", self.min_factor, self.max_factor)}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Multiply the selected clips."""
        factor = torch.where(selected, parameters["factor"], torch.ones_like(parameters["factor"]))
        return replace(subject, waveforms=subject.waveforms * factor[:, None].to(subject.waveforms.dtype))
