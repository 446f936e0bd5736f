"""Stationary coloured noise: with the long-term spectrum of speech, or pink."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ser_kd.data.noise_corpora.shaped_noise import make_shaped_noise

Colour = Literal["speech", "pink"]

COLOURS: tuple[Colour, ...] = ("speech", "pink")


def make_stationary_noise(key: int, samples: int, sample_rate_hz: int, colour: Colour = "speech") -> np.ndarray:
    """Make stationary noise.

    ``speech``: flat from 100 to 500 Hz, falling by 9 dB per octave above and by 12 dB per octave below: roughly the long-term spectrum of
    speech. ``pink``: power falls by 3 dB per octave from 20 Hz up.

    Args:
        key: Random key.
        samples: T.
        sample_rate_hz: Rate.
        colour: ``speech`` or ``pink``.

    Returns:
        (T,) float64 of no particular level.
    """
    return make_shaped_noise(key, samples, sample_rate_hz, _shape_as_speech if colour == "speech" else _shape_as_pink)


def _shape_as_speech(frequency_hz: np.ndarray) -> np.ndarray:
    falling = np.maximum(frequency_hz / 500.0, 1.0) ** (-9.0 / (20.0 * np.log10(2.0)))
    return falling * np.minimum(frequency_hz / 100.0, 1.0) ** 2


def _shape_as_pink(frequency_hz: np.ndarray) -> np.ndarray:
    return np.where(frequency_hz < 20.0, 0.0, 1.0 / np.sqrt(np.maximum(frequency_hz, 20.0)))
