"""Gaussian noise with a given spectrum, slowly wandering curves, and the level they are brought to: what synthetic noises are made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ser_kd.functional.keyed_random import draw_normal, draw_uniform

TRACK_RMS = 0.1
"""Level of every track: about that of speech, far below full scale."""


def make_shaped_noise(key: int, samples: int, sample_rate_hz: int, gain_at: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Make Gaussian noise whose amplitude spectrum follows a curve: white noise times the curve, over the whole length at once.

    Args:
        key: Random key.
        samples: T.
        sample_rate_hz: Rate.
        gain_at: Frequencies (N,) in Hz, from 0 up, to amplitudes (N,).

    Returns:
        (T,) float64; the end runs on into the beginning.
    """
    white = draw_normal(torch.tensor([key]), samples)[0].double().numpy()
    spectrum = np.fft.rfft(white)
    shaped: np.ndarray = np.fft.irfft(spectrum * gain_at(np.fft.rfftfreq(samples, 1.0 / sample_rate_hz)), n=samples)
    return shaped


def make_slow_curve(key: int, samples: int, sample_rate_hz: int, knot_s: float) -> np.ndarray:
    """Make a smooth curve in [-1, 1] through uniform values ``knot_s`` seconds apart, joined by half waves of a cosine.

    Returns:
        (T,) float64.
    """
    knots = 2 + int(samples / (knot_s * sample_rate_hz))
    values = draw_uniform(torch.tensor([key]), knots, -1.0, 1.0)[0].double().numpy()
    place = np.arange(samples) / (knot_s * sample_rate_hz)
    number = place.astype(np.int64)
    weight = 0.5 - 0.5 * np.cos(np.pi * (place - number))
    curve: np.ndarray = values[number] * (1.0 - weight) + values[number + 1] * weight
    return curve


def bring_to_level(track: np.ndarray) -> Tensor:
    """Scale a track to ``TRACK_RMS``.

    Args:
        track: (T,) float64.

    Returns:
        (T,) float32.
    """
    level = float(np.sqrt(np.mean(np.square(track))))
    return torch.from_numpy((track * (TRACK_RMS / level if level > 0.0 else 0.0)).astype(np.float32))
