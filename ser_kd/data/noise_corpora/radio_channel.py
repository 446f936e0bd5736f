"""A radio channel: noise within the band of telephony that fades slowly."""

from __future__ import annotations

import numpy as np
import torch

from ser_kd.data.noise_corpora.shaped_noise import make_shaped_noise, make_slow_curve
from ser_kd.functional.keyed_random import derive_keys

BAND_HZ = (300.0, 3400.0)
EDGE_HZ = 50.0
"""Width of the slopes at both ends, which lie within the band."""

FADING_DB = 8.0
FADING_S = 0.7


def make_channel_noise(key: int, samples: int, sample_rate_hz: int) -> np.ndarray:
    """Make noise of 300 to 3400 Hz whose level wanders by 8 dB up and down in about a second, as on short waves.

    Returns:
        (T,) float64 of no particular level.
    """
    keys = torch.tensor([key])
    noise = make_shaped_noise(int(derive_keys(keys, "noise")), samples, sample_rate_hz, _shape_as_band)
    fading = make_slow_curve(int(derive_keys(keys, "fading")), samples, sample_rate_hz, FADING_S)
    return noise * 10.0 ** (FADING_DB * fading / 20.0)


def _shape_as_band(frequency_hz: np.ndarray) -> np.ndarray:
    rise = np.clip((frequency_hz - BAND_HZ[0]) / EDGE_HZ, 0.0, 1.0)
    fall = np.clip((BAND_HZ[1] - frequency_hz) / EDGE_HZ, 0.0, 1.0)
    return np.sin(0.5 * np.pi * np.minimum(rise, fall)) ** 2
