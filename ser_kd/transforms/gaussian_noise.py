"""White Gaussian noise of a drawn strength."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.functional.keyed_random import derive_keys, draw_normal
from ser_kd.transforms.random_transform import Parameters, RandomTransform, check_range, draw_parameter


class GaussianNoise(RandomTransform[SpeechBatch]):
    """Adds white noise to the valid samples: y = x + sigma n, n standard normal.

    Args:
        min_sigma: Smallest standard deviation, in the amplitude of the waveform (full scale is 1).
        max_sigma: Largest standard deviation.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.

    Raises:
        ConfigError: If the range does not run upwards from 0.
    """

    def __init__(self, min_sigma: float = 0.001, max_sigma: float = 0.015, probability: float = 0.5, slot: str = "") -> None:
        super().__init__(probability, slot)
        check_range(min_sigma, max_sigma, "sigma", 0.0)
        self.min_sigma = min_sigma
        self.max_sigma = max_sigma

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``sigma`` (B,) and ``noise_key`` (B,), from which ``apply`` makes the noise itself."""
        return {"sigma": draw_parameter(keys, "sigma", self.min_sigma, self.max_sigma), "noise_key": derive_keys(keys, "noise")}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Add the noise; padding stays as it is."""
        waveforms = subject.waveforms.clone()
        # Row by row: four times faster on a CPU, whose cache a whole batch of 64-bit integers overflows.
        lengths = subject.lengths.tolist()
        for row in selected.nonzero()[:, 0].tolist():
            length = lengths[row]
            noise = parameters["sigma"][row] * draw_normal(parameters["noise_key"][row : row + 1], length)[0]
            waveforms[row, :length] += noise.to(waveforms.dtype)
        return replace(subject, waveforms=waveforms)
