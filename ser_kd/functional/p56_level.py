"""Active speech level by method B of ITU-T P.56: a smoothed envelope with a hangover and a threshold 15.9 dB below the level it gives."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ser_kd.functional.convolution import convolve
from ser_kd.functional.masking import clear_padding, lengths_to_mask

TIME_CONSTANT_S = 0.03
HANGOVER_S = 0.2
MARGIN_DB = 15.9
THRESHOLDS = 16
"""Halvings of the threshold below the highest envelope: 90 dB."""


def measure_p56_level(waveforms: Tensor, lengths: Tensor | None = None, sample_rate_hz: int = 16_000) -> Tensor:
    """Measure the active speech level of each clip.

    The envelope is |x| smoothed twice with a time constant of 30 ms. For a threshold c_j, a sample counts as active where the envelope
    reaches it or did so within the last 200 ms; A_j is the clip's energy over its active samples, in decibels. The active level is A
    where A - C is 15.9 dB, between neighbouring thresholds by a straight line. All is computed at once for all clips: the smoothing as a
    convolution, the hangover as a running minimum over the numbers of the thresholds, the activity of all thresholds as one histogram.

    The recommendation's thresholds are fixed halvings of full scale; here they are halvings of the clip's highest envelope, so that a clip
    played twice as loud is exactly 6 dB higher. Where even the highest one lies further below its level (a single click), its A is given.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where every sample is valid.
        sample_rate_hz: Their rate.

    Returns:
        (B,) root of the mean square while somebody speaks; a clip of silence is 0.

    Source:
        ITU-T Recommendation P.56: Objective measurement of active speech level, 2011, method B.
    """
    speech = clear_padding(waveforms.float(), lengths)
    envelope = _smooth_twice(speech.abs(), sample_rate_hz)
    if lengths is not None:
        envelope = clear_padding(envelope, lengths)
    highest = envelope.amax(dim=1, keepdim=True)
    is_heard = highest[:, 0] > 0.0
    reached = _hold(_number_thresholds(envelope / torch.where(highest > 0.0, highest, 1.0)), round(HANGOVER_S * sample_rate_hz) + 1)
    if lengths is not None:
        reached = reached.masked_fill(~lengths_to_mask(lengths, reached.shape[1]), THRESHOLDS)
    rows = (THRESHOLDS + 1) * torch.arange(len(reached), device=reached.device)[:, None]
    counts = torch.bincount((reached + rows).flatten(), minlength=(THRESHOLDS + 1) * len(reached)).reshape(len(reached), -1)
    active = counts.cumsum(dim=1)[:, :THRESHOLDS].clamp_min(1).double()  # (B, J), the highest threshold first
    level_db = 10.0 * torch.log10(torch.linalg.vector_norm(speech, dim=1, keepdim=True).double().square() / active)
    threshold_db = 20.0 * torch.log10(highest.double()) - 20.0 * math.log10(2.0) * torch.arange(THRESHOLDS, device=highest.device)
    gap = level_db - threshold_db  # grows from column to column
    above = (gap <= MARGIN_DB).sum(dim=1).clamp(1, THRESHOLDS - 1)[:, None] - 1  # the lowest threshold whose gap is within the margin
    gaps, levels = (torch.cat([values.gather(1, above), values.gather(1, above + 1)], dim=1) for values in (gap, level_db))
    weight = ((MARGIN_DB - gaps[:, 0]) / (gaps[:, 1] - gaps[:, 0])).clamp(0.0, 1.0)
    chosen_db = levels[:, 0] + weight * (levels[:, 1] - levels[:, 0])
    level: Tensor = torch.where(is_heard, torch.pow(10.0, chosen_db / 20.0), torch.zeros_like(chosen_db)).to(waveforms.dtype)
    return level


def _smooth_twice(magnitude: Tensor, sample_rate_hz: int) -> Tensor:
    """Filter by p[t] = g p[t - 1] + (1 - g) x[t], twice over: a convolution with (1 - g)^2 (n + 1) g^n."""
    decay = math.exp(-1.0 / (TIME_CONSTANT_S * sample_rate_hz))
    number = torch.arange(min(round(24 * TIME_CONSTANT_S * sample_rate_hz), magnitude.shape[1]), device=magnitude.device)
    response = (1.0 - decay) ** 2 * (number + 1.0) * torch.pow(torch.tensor(decay, dtype=torch.float64), number)
    smoothed = convolve(magnitude, response.to(magnitude.dtype)[None])[:, : magnitude.shape[1]]
    # rounding of the transform: about 1e-7 of the loudest; silence must stay silence
    return torch.where(smoothed > 1e-6 * smoothed.amax(dim=1, keepdim=True), smoothed, torch.zeros_like(smoothed))


def _number_thresholds(share: Tensor) -> Tensor:
    """Give the first of the thresholds 1, 1/2, 1/4, … that a share of the highest envelope reaches: (B, T) uint8."""
    exponent = torch.frexp(share).exponent  # share = m 2^e with m in [1/2, 1)
    return torch.where(share > 0.0, 1 - exponent, THRESHOLDS).clamp_(0, THRESHOLDS).to(torch.uint8)


def _hold(reached: Tensor, samples: int) -> Tensor:
    """Give the highest threshold, which has the smallest number, reached within the last samples, by windows of doubling length."""
    size = 1
    while size < samples:
        step = min(size, samples - size)
        reached = torch.cat([reached[:, :step], torch.minimum(reached[:, step:], reached[:, :-step])], dim=1)
        size += step
    return reached
