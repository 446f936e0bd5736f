"""A cockpit: steady tones of turbine and power supply over broadband rush of air."""

from __future__ import annotations

import numpy as np
import torch

from ser_kd.data.noise_corpora.shaped_noise import make_shaped_noise
from ser_kd.functional.keyed_random import derive_keys, draw_uniform

LINES_HZ = (400.0, 800.0, 1200.0, 2730.0, 5460.0)
"""Harmonics of an aircraft's 400 Hz supply, and a turbine's whine with its octave; those above half the rate are left out."""

LINES_DB = (0.0, -6.0, -9.0, -2.0, -10.0)
"""Levels of the lines, relative to the strongest."""

BROADBAND_SHARE = 0.6
"""Power of the broadband noise, of the whole."""


def make_cockpit_noise(key: int, samples: int, sample_rate_hz: int) -> np.ndarray:
    """Make a cockpit: tones of fixed frequency beside noise that is flat up to 1 kHz and falls by 6 dB per octave above.

    Returns:
        (T,) float64 of no particular level.
    """
    child = derive_keys(torch.tensor([key]), "phases")
    starts = draw_uniform(child, len(LINES_HZ), 0.0, 2.0 * np.pi)[0].double().numpy()
    time = np.arange(samples) / sample_rate_hz
    tones = np.zeros(samples)
    for line_hz, line_db, start in zip(LINES_HZ, LINES_DB, starts, strict=True):
        if line_hz < sample_rate_hz / 2:
            tones += 10.0 ** (line_db / 20.0) * np.sin(2.0 * np.pi * line_hz * time + start)
    key_of_noise = int(derive_keys(torch.tensor([key]), "noise"))
    noise = make_shaped_noise(key_of_noise, samples, sample_rate_hz, lambda hz: 1.0 / np.sqrt(1.0 + (hz / 1000.0) ** 2))
    noise *= np.sqrt(BROADBAND_SHARE / (1.0 - BROADBAND_SHARE) * np.mean(tones**2) / np.mean(noise**2))
    return tones + noise
