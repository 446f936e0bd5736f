"""A drawn speed that moves pitch and tempo together."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import draw_uniform
from ser_kd.functional.resampling import approximate_ratio, change_speed, resampled_length
from ser_kd.transforms.random_transform import Parameters, RandomTransform, value_grid


class Speed(RandomTransform[SpeechBatch]):
    """Plays a clip faster or slower: y[n] = x(n f), so that pitch rises and duration falls by the factor f of a grid.

    ``padding`` says how the batch was filled, in the words of the data module. ``masked``: a clip's length becomes ceil(length / f) and
    nothing is lost; where the longest clip grows, so does the T axis. ``right`` and ``center``: the batch has a fixed width whose zeros
    count as signal, so T and lengths stay. What is missing is filled with zeros and what is too much is cut off, at the end or on both
    sides.

    In the slot of one model alone, teacher and student would no longer hear the same moment in the same frame: use it in ``both``.

    Args:
        min_factor: Slowest speed.
        max_factor: Fastest speed.
        step_factor: Distance of neighbouring factors; all are equally likely, and 1 leaves the clip as it is.
        padding: How the batch was filled.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If the grid is no grid or leaves [0.5, 2], the padding is unknown, or a batch of fixed width holds shorter clips.
    """

    def __init__(
        self,
        min_factor: float = 0.9,
        max_factor: float = 1.1,
        step_factor: float = 0.05,
        padding: Literal["masked", "center", "right"] = "masked",
        probability: float = 0.5,
        slot: str = "",
    ) -> None:
        super().__init__(probability, slot)
        self.factors = value_grid(min_factor, max_factor, step_factor, "factor", 0.5, 2.0)
        if padding not in ("masked", "center", "right"):
            raise ConfigError(
                "Unknown padding.", expected="masked, center or right", got=str(padding), remedy="give the one of the data module"
            )
        self.padding = padding

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``step`` (B,) int64, the place in ``factors``."""
        return {"step": (draw_uniform(keys, 1)[:, 0].double() * len(self.factors)).long()}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Change the speed of the selected clips."""
        size = subject.waveforms.shape[1]
        lengths = subject.lengths.tolist()
        if self.padding != "masked" and min(lengths) < size:
            raise ConfigError(
                f"Speed was told of padding '{self.padding}', where every clip fills the width.",
                expected=f"{size} samples in each clip",
                got=f"a clip of {min(lengths)}",
                remedy="give the padding of the data module: padding=masked",
            )
        factors = [self.factors[step] for step in parameters["step"].tolist()]
        speeds = {row: approximate_ratio(factors[row]) for row in selected.nonzero()[:, 0].tolist() if factors[row] != 1.0}
        if self.padding == "masked":
            for row, speed in speeds.items():
                lengths[row] = resampled_length(lengths[row], speed)
        waveforms = subject.waveforms.new_zeros(len(lengths), max(size, *lengths))
        waveforms[:, :size] = subject.waveforms
        for speed in sorted(set(speeds.values())):
            group = [row for row, own in speeds.items() if own == speed]
            # Half precision has no matrix product on every device.
            clips = subject.waveforms[group].to(torch.promote_types(waveforms.dtype, torch.float32))
            read = change_speed(clips, speed).to(waveforms.dtype)
            for row, clip in zip(group, read, strict=True):
                clip = clip[: lengths[row]] if self.padding == "masked" else clip
                excess = len(clip) - waveforms.shape[1] if self.padding == "center" else 0
                clip = clip[max(excess, 0) // 2 :][: waveforms.shape[1]]
                start = max(-excess, 0) // 2
                waveforms[row] = 0.0
                waveforms[row, start : start + len(clip)] = clip
        return replace(subject, waveforms=waveforms, lengths=torch.tensor(lengths, device=subject.lengths.device))
