"""Bands of time and of frequency hidden from the features of a clip."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.shapes import check_rank
from ser_kd.functional.keyed_random import derive_keys, draw_uniform
from ser_kd.functional.masking import lengths_to_mask, masked_mean
from ser_kd.transforms.random_transform import Parameters, RandomTransform


class TimeFrequencyMask(RandomTransform[Features]):
    """Hides bands of frames and bands of bins (SpecAugment without its time warp).

    Each band's width is drawn from {0, …, widest} and its start from all places where it fits among the valid frames or
    the bins. A time band is at most ``max_time_width_frames`` and at most ``max_time_share`` of the clip's own valid frames,
    so that short clips keep most of what they say. Frames behind the length stay as they are.

    Args:
        time_masks: Number of time bands.
        max_time_width_frames: Widest time band, frames.
        max_time_share: Widest time band as a share of the valid frames.
        frequency_masks: Number of frequency bands.
        max_frequency_width_bins: Widest frequency band, bins.
        fill: ``zero``, or ``mean`` for each bin's mean over the clip's valid frames.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If a number is negative, the share outside [0, 1] or the fill unknown.

    Source:
        Park et al.: SpecAugment, 2019, section 2.
    """

    def __init__(
        self,
        time_masks: int = 2,
        max_time_width_frames: int = 64,
        max_time_share: float = 0.2,
        frequency_masks: int = 2,
        max_frequency_width_bins: int = 8,
        fill: Literal["zero", "mean"] = "mean",
        probability: float = 0.5,
        slot: str = "",
    ) -> None:
        super().__init__(probability, slot)
        if min(time_masks, max_time_width_frames, frequency_masks, max_frequency_width_bins) < 0 or not 0.0 <= max_time_share <= 1.0:
            raise ConfigError(
                "Masks need numbers and widths from 0 and a share in [0, 1].",
                expected="time_masks, frequency_masks, max_…_width >= 0; 0 <= max_time_share <= 1",
                got=f"{time_masks}, {frequency_masks}, {max_time_width_frames}, {max_frequency_width_bins}; {max_time_share}",
                remedy="0 masks switch one kind off",
            )
        if fill not in ("zero", "mean"):
            raise ConfigError("Unknown fill.", expected="zero or mean", got=str(fill), remedy="mean hides more quietly")
        self.time_masks = time_masks
        self.max_time_width_frames = max_time_width_frames
        self.max_time_share = max_time_share
        self.frequency_masks = frequency_masks
        self.max_frequency_width_bins = max_frequency_width_bins
        self.fill = fill

    def __call__(self, features: Features) -> Features:
        return super().__call__(features)

    def draw(self, subject: Features, keys: Tensor) -> Parameters:
        """Draw ``time_start``, ``time_width`` (B, time masks) and ``frequency_start``, ``frequency_width`` (B, frequency masks)."""
        frames, lengths = _frames_and_lengths(subject)
        widest_time = (lengths * self.max_time_share).long().clamp_max(self.max_time_width_frames)
        bins = torch.full_like(lengths, frames.shape[2])
        widest_frequency = bins.clamp_max(self.max_frequency_width_bins)
        time_start, time_width = _draw_bands(derive_keys(keys, "time"), self.time_masks, lengths, widest_time)
        frequency_start, frequency_width = _draw_bands(derive_keys(keys, "frequency"), self.frequency_masks, bins, widest_frequency)
        return {
            "time_start": time_start,
            "time_width": time_width,
            "frequency_start": frequency_start,
            "frequency_width": frequency_width,
        }

    def apply(self, subject: Features, parameters: Parameters, selected: Tensor) -> Features:
        """Hide the bands of the selected clips."""
        frames, lengths = _frames_and_lengths(subject)
        valid = lengths_to_mask(lengths, frames.shape[1])  # (B, F)
        in_time = _cover(parameters["time_start"], parameters["time_width"], frames.shape[1])  # (B, F)
        in_frequency = _cover(parameters["frequency_start"], parameters["frequency_width"], frames.shape[2])  # (B, D)
        hidden = (in_time[:, :, None] | in_frequency[:, None, :]) & (valid & selected[:, None])[:, :, None]
        quiet = masked_mean(frames, valid)[:, None, :] if self.fill == "mean" else torch.zeros_like(frames[:1, :1, :1])
        return replace(subject, frames=torch.where(hidden, quiet, frames))


def _frames_and_lengths(features: Features) -> tuple[Tensor, Tensor]:
    if features.frames is None:
        raise ConfigError(
            "A time-frequency mask needs feature frames.",
            expected="frames (B, F, D)",
            got="text alone",
            remedy="leave the mask out of text models",
        )
    check_rank(features.frames, 3, "frames", "(B, F, D)")
    batch, count, _ = features.frames.shape
    if features.lengths is None:
        return features.frames, torch.full((batch,), count, dtype=torch.int64, device=features.frames.device)
    return features.frames, features.lengths


def _draw_bands(keys: Tensor, count: int, sizes: Tensor, widest: Tensor) -> tuple[Tensor, Tensor]:
    width = (draw_uniform(derive_keys(keys, "width"), count) * (widest + 1)[:, None]).long()  # (B, count)
    start = (draw_uniform(derive_keys(keys, "start"), count) * (sizes[:, None] - width + 1)).long()
    return start, width


def _cover(start: Tensor, width: Tensor, size: int) -> Tensor:
    position = torch.arange(size, device=start.device)
    return ((position >= start[:, :, None]) & (position < (start + width)[:, :, None])).any(dim=1)  # (B, size)
