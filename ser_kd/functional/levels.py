"""How loud a clip is, decibels, one level for all clips, and the gain that mixes noise at a wanted signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.functional.masking import clear_padding

VARIANCE_FLOOR = 1e-7
"""Added to a clip's variance, as wav2vec 2.0 and Wav2Small do."""


def root_mean_square(waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Measure the level of each clip over its valid samples.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where every sample is valid.

    Returns:
        (B,) root of the mean square; a clip without a sample is 0.
    """
    samples = torch.tensor(waveforms.shape[1]) if lengths is None else lengths
    level: Tensor = torch.linalg.vector_norm(clear_padding(waveforms, lengths), dim=1) / samples.clamp_min(1).sqrt()
    return level


def active_speech_level(waveforms: Tensor, lengths: Tensor | None = None, frame_samples: int = 512, margin_db: float = 15.9) -> Tensor:
    """Measure the level of each clip where somebody speaks, so that pauses and filled-up zeros do not lower it.

    The active frames are the n loudest, n as large as it may be with every one of them at most ``margin_db`` below their mean power: the
    self-consistent threshold of ITU-T P.56, here on short frames instead of a smoothed envelope with a hangover.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where every sample is valid.
        frame_samples: Length of a frame: 512 is 32 ms at 16 kHz.
        margin_db: How far an active frame may lie below the mean of all active ones, decibels.

    Returns:
        (B,) root of the mean square over active frames; a clip of silence is 0.

    Source:
        ITU-T Recommendation P.56: Objective measurement of active speech level, 2011, method B.
    """
    if lengths is not None:
        waveforms = clear_padding(waveforms, lengths)
    padded = torch.nn.functional.pad(waveforms, (0, -waveforms.shape[1] % frame_samples))
    power = padded.reshape(len(padded), -1, frame_samples).square().mean(dim=2).sort(dim=1, descending=True).values  # (B, F)
    count = torch.arange(1, power.shape[1] + 1, device=power.device)
    mean = power.cumsum(dim=1) / count
    is_active = power >= mean * 10.0 ** (-margin_db / 10.0)
    last = (is_active * count).max(dim=1).values - 1
    level: Tensor = mean.gather(1, last[:, None])[:, 0].sqrt()
    return level


def normalize_waveforms(waveforms: Tensor, lengths: Tensor | None, lowest_variance: float | None = None) -> Tensor:
    """Bring each clip to mean 0 and variance 1 over its own valid samples: (x - mean) / sqrt(var + 1e-7), population variance.

    What is added to the variance lowers quiet clips: one of -35 dB, recorded 26 dB lower still, by 0.5 dB. With ``lowest_variance``
    nothing is added, and every clip above it is heard at exactly one loudness.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where all are.
        lowest_variance: Divide by sqrt(max(var, this)) instead.

    Returns:
        (B, T), zero behind each length.
    """
    waveforms = clear_padding(waveforms, lengths)
    if lengths is None:
        samples = torch.full((1, 1), waveforms.shape[1], dtype=waveforms.dtype, device=waveforms.device)
    else:
        samples = lengths.clamp_min(1).to(waveforms.dtype)[:, None]
    centred = clear_padding(waveforms - waveforms.sum(dim=1, keepdim=True) / samples, lengths)
    variance = centred.square().sum(dim=1, keepdim=True) / samples
    return centred * torch.rsqrt(variance + VARIANCE_FLOOR if lowest_variance is None else variance.clamp_min(lowest_variance))


def amplitude_to_db(amplitude: Tensor) -> Tensor:
    """Turn amplitudes into decibels relative to 1: 20 log10 a; silence is -inf.

    Example:
        >>> amplitude_to_db(torch.tensor([1.0, 10.0])).tolist()
        [0.0, 20.0]
    """
    return 20.0 * torch.log10(amplitude)


def db_to_amplitude(level_db: Tensor) -> Tensor:
    """Turn decibels relative to 1 into amplitudes: 10^(L / 20)."""
    return torch.pow(10.0, level_db / 20.0)


def gain_for_snr(signal_rms: Tensor, noise_rms: Tensor, snr_db: Tensor) -> Tensor:
    """Give the factor on the noise that makes the wanted signal-to-noise ratio: g = rms_s / (rms_n 10^(SNR / 20)).

    Args:
        signal_rms: (B,) level of the speech.
        noise_rms: (B,) level of the noise before the gain.
        snr_db: (B,) wanted ratio, decibels.

    Returns:
        (B,) gain; 0 where the noise is silent, since no gain reaches the ratio and a silent noise stays silent.
    """
    audible = noise_rms > 0
    gain = signal_rms / (torch.where(audible, noise_rms, torch.ones_like(noise_rms)) * db_to_amplitude(snr_db))
    return torch.where(audible, gain, torch.zeros_like(gain))
