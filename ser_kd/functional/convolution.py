"""Convolution of whole clips with long responses."""

from __future__ import annotations

import torch
from scipy.fft import next_fast_len
from torch import Tensor


def convolve(waveforms: Tensor, responses: Tensor) -> Tensor:
    """Convolve each clip with its response by the Fourier transform: y[t] = sum over n of h[n] x[t - n].

    Args:
        waveforms: (B, T) float32 or float64.
        responses: (B, N) of the same dtype.

    Returns:
        (B, T + N - 1); nothing wraps around.
    """
    samples = waveforms.shape[1] + responses.shape[1] - 1
    size = next_fast_len(samples, real=True)
    product = torch.fft.rfft(waveforms, n=size) * torch.fft.rfft(responses, n=size)
    convolved: Tensor = torch.fft.irfft(product, n=size)[:, :samples]
    return convolved
