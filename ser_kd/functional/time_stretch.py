"""Longer or shorter speech at its own pitch, by a phase vocoder whose neighbouring bins keep together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

_OVERLAP = 4  # hops per window: squared Hann windows then add up to a constant, 3/2
_COHERENCE = 0.7  # below it a rotation counts less; at 0 rounding errors would grow from frame to frame, at 1 rotations would die out
_SILENCE = 1e-12  # keeps rotations through digital silence; far below the power of any recorded sound


def stretch_in_time(groups: Sequence[tuple[Tensor, Fraction]], length: int, window_samples: int = 1024) -> Tensor:
    """Play each group of waveforms at its own tempo and keep the pitch.

    A frame is taken wherever the output needs one, and a second one a hop before it. The latter and the frame synthesised before are the
    same moment of speech, so the rotation between their spectra is what the new frame must be turned by:

        r_t[k] = m_t[k] / |m_t[k]|,  m_t[k] = sum over j = k-1, k, k+1 of r_(t-1)[j] A_(t-1)[j] conj(B_t[j]),  Y_t[k] = r_t[k] A_t[k]

    with A_t the frame at the wanted moment and B_t the one a hop before. Summing over neighbours gives a weak bin the rotation of the
    partial beside it (phase locking), so that the shape of a period survives; a tempo of 1 gives the input back. Where the three terms
    cancel, r_t stays shorter than 1 in the recursion: dividing by almost nothing would let rounding errors grow.

    Args:
        groups: Waveforms (G, T'), float32 or float64, all of one dtype and device, with the samples of input per sample of output.
        length: T, samples of the output.
        window_samples: Window of the frames: a multiple of 4, some periods of the voice long (1024 is 64 ms at 16 kHz).

    Returns:
        (sum of G, T), in the order of the groups; sample n comes from about n * tempo.

    Source:
        Laroche, Dolson: Improved Phase Vocoder Time-Scale Modification of Audio, 1999; Puckette: Phase-Locked Vocoder, 1995. The weighted
        sum stands in for their peak picking.
    """
    first = groups[0][0]
    hop = window_samples // _OVERLAP
    frames = math.ceil(length / hop) + 3  # the first is centred a hop before the beginning, the last a hop behind the end
    window = torch.hann_window(window_samples, dtype=first.dtype, device=first.device)
    spectra = [_analyse(waveforms, tempo, frames, window) for waveforms, tempo in groups]
    wanted = torch.cat([pair[0] for pair in spectra], dim=1)  # (F, B, K)
    before = torch.cat([pair[1] for pair in spectra], dim=1)
    pieces = torch.fft.irfft(wanted * _rotate(wanted, before), n=window_samples) * (window / 1.5)  # (F, B, window)
    pieces = pieces.unflatten(2, (_OVERLAP, hop))
    summed = pieces.new_zeros(frames + _OVERLAP - 1, pieces.shape[1], hop)
    for part in range(_OVERLAP):
        summed[part : part + frames] += pieces[:, :, part]
    begin = hop + window_samples // 2
    stretched: Tensor = summed.transpose(0, 1).flatten(1)[:, begin : begin + length]
    return stretched


def _analyse(waveforms: Tensor, tempo: Fraction, frames: int, window: Tensor) -> tuple[Tensor, Tensor]:
    """Give the spectra (F, G, K) at the wanted moments and a hop before each."""
    size, hop = len(window), len(window) // _OVERLAP
    centres = [math.floor((number - 1) * hop * tempo + Fraction(1, 2)) for number in range(frames)]
    left = size // 2 + hop - centres[0]
    right = max(centres[-1] + size // 2 - waveforms.shape[1], 0)
    every = functional.pad(waveforms, (left, right)).unfold(1, size, 1)  # (G, positions, window), a view
    starts = torch.tensor(centres, device=waveforms.device) + (left - size // 2)

    wanted, before = (torch.fft.rfft((every[:, places] * window).transpose(0, 1)) for places in (starts, starts - hop))
    return wanted, before


def _rotate(wanted: Tensor, before: Tensor) -> Tensor:
    """Give the rotation (F, B, K), of magnitude 1, that continues the phases of the frame before."""
    products = functional.pad(wanted[:-1] * before[1:].conj() + _SILENCE, (1, 1))  # (F - 1, B, K + 2)
    power = products.abs()
    limits = _COHERENCE * (power[..., :-2] + power[..., 1:-1] + power[..., 2:])
    rotations = functional.pad(torch.ones_like(wanted), (1, 1))  # (F, B, K + 2)
    parts = torch.view_as_real(rotations)  # a complex number divided by a real one would be a complex division
    # The frames must be walked through one by one: with few, prepared tensors this takes a third of the time.
    turned = torch.empty_like(products[0])
    lower, middle, upper = turned[..., :-2], turned[..., 1:-1], turned[..., 2:]
    total, size = torch.empty_like(lower), torch.empty_like(limits[0])
    divided, divisor = torch.view_as_real(total), size[..., None]
    targets = parts[..., 1:-1, :].unbind()
    for number, (rotation, product, limit) in enumerate(zip(rotations.unbind()[:-1], products.unbind(), limits.unbind(), strict=True), 1):
        torch.mul(rotation, product, out=turned)
        torch.add(lower, middle, out=total)
        total.add_(upper)
        torch.abs(total, out=size)
        torch.maximum(size, limit, out=size)
        torch.div(divided, divisor, out=targets[number])
    parts /= rotations.abs().clamp_min(torch.finfo(power.dtype).tiny)[..., None]
    return rotations[..., 1:-1]
