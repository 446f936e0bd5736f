"""A drawn pitch at the same duration."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.keyed_random import draw_uniform
from ser_kd.functional.masking import lengths_to_mask
from ser_kd.functional.resampling import approximate_ratio, change_speed, resampled_length
from ser_kd.functional.time_stretch import stretch_in_time
from ser_kd.transforms.random_transform import Parameters, RandomTransform, value_grid

_ROWS_ON_CPU = 4  # more at a time would leave its cache; an accelerator takes all, since there each call costs


class PitchShift(RandomTransform[SpeechBatch]):
    """Moves the pitch by a step of a grid of semitones and keeps the duration.

    A clip is read 2^(s / 12) times as fast (``functional.resampling``) and stretched back to its length (``functional.time_stretch``).
    Formants move with the pitch. Clips of one step are resampled and cut into frames as one group. Everything is a ratio, so no sample
    rate is needed; each step's ratio is a fraction at most 2 cents beside the grid (0.2 on the default one). What a downward shift leaves
    empty above the moved Nyquist frequency stays empty, what an upward one pushes beyond it is lost. Step 0 gives a clip back bit by bit.

    Args:
        min_semitones: Lowest step; negative is deeper.
        max_semitones: Highest step.
        step_semitones: Distance of neighbouring steps; all are equally likely.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.
        window_samples: Window of the stretch: 1024 suits 16 kHz, 2048 suits 44.1 or 48 kHz.

    Raises:
        ConfigError: If the grid is no grid, leaves an octave to either side, or the window is no power of two from 64.
    """

    def __init__(
        self,
        min_semitones: float = -4.0,
        max_semitones: float = 4.0,
        step_semitones: float = 0.5,
        probability: float = 0.5,
        slot: str = "",
        window_samples: int = 1024,
    ) -> None:
        super().__init__(probability, slot)
        self.steps = value_grid(min_semitones, max_semitones, step_semitones, "semitones", -12.0, 12.0)
        if window_samples < 64 or window_samples & (window_samples - 1):
            raise ConfigError(
                "The window of a pitch shift is no power of two.",
                expected="window_samples of 64, 128, 256, …",
                got=str(window_samples),
                remedy="1024 suits 16 kHz, 2048 suits 48 kHz",
            )
        self.window_samples = window_samples

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``step`` (B,) int64, the place in ``steps``."""
        return {"step": (draw_uniform(keys, 1)[:, 0].double() * len(self.steps)).long()}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Move the pitch of the selected clips."""
        semitones = [self.steps[step] for step in parameters["step"].tolist()]
        rows = sorted((row for row in selected.nonzero()[:, 0].tolist() if semitones[row] != 0.0), key=lambda row: (semitones[row], row))
        waveforms = subject.waveforms.clone()
        lengths = subject.lengths.tolist()
        at_once = _ROWS_ON_CPU if waveforms.device.type == "cpu" else max(len(rows), 1)
        for start in range(0, len(rows), at_once):
            chunk = rows[start : start + at_once]
            width = max(lengths[row] for row in chunk)
            groups = []
            for step, members in groupby(chunk, key=lambda row: semitones[row]):
                group = list(members)
                speed = approximate_ratio(2.0 ** (step / 12.0))
                # Half precision has no Fourier transform on a CPU.
                clips = subject.waveforms[group, :width].to(torch.promote_types(waveforms.dtype, torch.float32))
                read = change_speed(clips, speed)
                ends = torch.tensor([resampled_length(lengths[row], speed) for row in group], device=read.device)
                # The interpolation rings on behind a clip's end: it must not be heard in a wider batch alone.
                groups.append((read * lengths_to_mask(ends, read.shape[1]), 1 / speed))
            shifted = stretch_in_time(groups, width, self.window_samples)
            valid = lengths_to_mask(subject.lengths[chunk], width)
            waveforms[chunk, :width] = torch.where(valid, shifted, torch.zeros_like(shifted)).to(waveforms.dtype)
        return replace(subject, waveforms=waveforms)
