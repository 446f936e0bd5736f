"""An engine: harmonics of a slowly drifting fundamental over low-passed noise."""

from __future__ import annotations

import numpy as np
import torch

from ser_kd.data.noise_corpora.shaped_noise import make_shaped_noise, make_slow_curve
from ser_kd.functional.keyed_random import derive_keys, draw_uniform

FUNDAMENTAL_HZ = 38.0
DRIFT = 0.1
"""Share by which the fundamental wanders up and down."""

HARMONICS = 30
NOISE_SHARE = 0.3
"""Power of the noise, of the whole."""


def engine_phase(key: int, samples: int, sample_rate_hz: int) -> np.ndarray:
    """Give the phase of the fundamental: its frequency wanders by a tenth around 38 Hz within some ten seconds.

    Returns:
        (T,) float64 radians, running upwards.
    """
    drift = make_slow_curve(_child(key, "drift"), samples, sample_rate_hz, knot_s=8.0)
    phase: np.ndarray = 2.0 * np.pi * np.cumsum(FUNDAMENTAL_HZ * (1.0 + DRIFT * drift)) / sample_rate_hz
    return phase


def make_engine_noise(key: int, samples: int, sample_rate_hz: int) -> np.ndarray:
    """Make an engine: sum over k of a_k sin(k phi(t) + p_k), a_k about 1 / k, beside noise that falls by 12 dB per octave above 200 Hz.

    Returns:
        (T,) float64 of no particular level.
    """
    phase = engine_phase(key, samples, sample_rate_hz)
    strengths = draw_uniform(torch.tensor([_child(key, "strengths")]), HARMONICS, 0.5, 1.5)[0].double().numpy()
    starts = draw_uniform(torch.tensor([_child(key, "starts")]), HARMONICS, 0.0, 2.0 * np.pi)[0].double().numpy()
    tones = np.zeros(samples)
    for number, (strength, start) in enumerate(zip(strengths, starts, strict=True), 1):
        tones += strength / number * np.sin(number * phase + start)
    noise = make_shaped_noise(_child(key, "noise"), samples, sample_rate_hz, lambda hz: 1.0 / (1.0 + (hz / 200.0) ** 2))
    noise *= np.sqrt(NOISE_SHARE / (1.0 - NOISE_SHARE) * np.mean(tones**2) / np.mean(noise**2))
    return tones + noise


def _child(key: int, purpose: str) -> int:
    return int(derive_keys(torch.tensor([key]), purpose))
