"""Log-mel spectrograms in decibels."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
import torchaudio
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.convolutional_stft import ConvolutionalStft
from ser_kd.frontends.full_precision import full_precision
from ser_kd.functional.levels import normalize_waveforms
from ser_kd.functional.masking import clear_padding, lengths_to_mask

POWER_FLOOR = 1e-10
"""Smallest mel power, -100 dB."""

LOWEST_VARIANCE = 1e-12
"""A clip of -120 dB: anything louder is brought to variance 1."""


class LogMel(nn.Module):
    """Mel spectrogram in decibels, 10 log10(max(power, 1e-10)).

    With the defaults it equals ``librosa.power_to_db(librosa.feature.melspectrogram(...))`` (Slaney's mel scale and area
    norm, centred frames, zero padding). ``top_db`` lifts everything that lies further below the loudest *valid* bin of the *same
    clip*; torchaudio takes the loudest of the batch, by which a quiet clip changes beside a loud one.

    Args:
        sample_rate_hz: Sample rate of the waveforms.
        n_mels: Mel bins, the width of the frames.
        n_fft: Samples per transform.
        hop_samples: Step between frames, samples.
        window_samples: Window length, samples; None is ``n_fft``.
        window: hann, hamming, blackman or rectangular.
        center: Whether frames are centred.
        pad_mode: What a centred frame sees beyond the clip.
        fmin_hz: Lower edge of the lowest filter.
        fmax_hz: Upper edge of the highest filter; None is half the sample rate.
        mel_scale: "slaney" or "htk".
        mel_norm: "slaney" divides each triangle by its width; None leaves a peak of 1.
        top_db: Dynamic range kept below the clip's maximum; None keeps all.
        normalize_waveform: Whether each clip is first brought to mean 0 and variance 1, quiet ones too: nothing is added to the variance,
            as published forms do, for that lets quiet recordings sound quieter.
        form: "fft"; "convolution" or "factored" for export.

    Raises:
        ConfigError: If the mel range does not fit the sample rate.
    """

    def __init__(
        self,
        sample_rate_hz: int = 16_000,
        n_mels: int = 64,
        n_fft: int = 512,
        hop_samples: int = 160,
        window_samples: int | None = None,
        window: str = "hann",
        center: bool = True,
        pad_mode: Literal["constant", "reflect"] = "constant",
        fmin_hz: float = 0.0,
        fmax_hz: float | None = None,
        mel_scale: Literal["slaney", "htk"] = "slaney",
        mel_norm: Literal["slaney"] | None = "slaney",
        top_db: float | None = 80.0,
        normalize_waveform: bool = False,
        form: Literal["fft", "convolution", "factored"] = "fft",
    ) -> None:
        super().__init__()
        fmax_hz = sample_rate_hz / 2 if fmax_hz is None else fmax_hz
        if not 0.0 <= fmin_hz < fmax_hz <= sample_rate_hz / 2:
            raise ConfigError(
                "The mel filters do not fit below half the sample rate.",
                expected=f"0 <= fmin_hz < fmax_hz <= {sample_rate_hz / 2:g}",
                got=f"fmin_hz={fmin_hz:g}, fmax_hz={fmax_hz:g}",
                remedy="lower fmax_hz, or leave it empty for half the sample rate",
            )
        self.width = n_mels
        self.sample_rate_hz = sample_rate_hz
        self.hop_samples = hop_samples
        self.top_db = top_db
        self.normalize_waveform = normalize_waveform
        self.stft = ConvolutionalStft(n_fft, hop_samples, window_samples, window, center, pad_mode, form)
        with warnings.catch_warnings():
            # that a filter falls between two bins and hears nothing: so it is in Wav2Small's 26 filters over 33 bins
            warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero values")
            filters = torchaudio.functional.melscale_fbanks(
                self.stft.bins, fmin_hz, fmax_hz, n_mels, sample_rate_hz, norm=mel_norm, mel_scale=mel_scale
            )  # (K, M)
        self.register_buffer("filters", filters, persistent=False)

    filters: Tensor

    def forward(self, inputs: ModelInput) -> Features:
        lengths = inputs.lengths
        with full_precision(inputs.waveforms):
            waveforms = inputs.waveforms.float()
            heard = (
                normalize_waveforms(waveforms, lengths, LOWEST_VARIANCE) if self.normalize_waveform else clear_padding(waveforms, lengths)
            )
            mel_power = self.stft.project(heard, lengths, self.filters)  # (B, F, M)
            decibels = 10.0 * torch.log10(mel_power.clamp_min(POWER_FLOOR))
            frame_lengths = None if lengths is None else self.stft.frame_lengths(lengths)
            if self.top_db is not None:
                decibels = torch.maximum(decibels, _loudest(decibels, frame_lengths) - self.top_db)
        return Features(decibels, frame_lengths, inputs.texts, inputs.keys)


def _loudest(decibels: Tensor, frame_lengths: Tensor | None) -> Tensor:
    """Find the maximum over each clip's valid frames, (B, 1, 1)."""
    if frame_lengths is not None:
        valid = lengths_to_mask(frame_lengths, decibels.shape[1])
        decibels = decibels.masked_fill(~valid.unsqueeze(-1), float("-inf"))
    return decibels.amax(dim=(1, 2), keepdim=True)
