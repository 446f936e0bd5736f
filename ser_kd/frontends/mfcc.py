"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from typing import Literal

import torchaudio
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.frontends.full_precision import full_precision
from ser_kd.frontends.log_mel import LogMel
from ser_kd.frontends.wrapped import read_frames


class Mfcc(nn.Module):
    """The first coefficients of the orthonormal DCT-II over log-mel bins, as ``librosa.feature.mfcc``.

    The defaults are TIM-Net's (39 coefficients, librosa's own settings) at 16 kHz: 84,351 samples give 165 frames. Its
    read-me names another profile, 50 ms windows every 12.5 ms: n_fft=1024, window_samples=800, hop_samples=200,
    window="hamming" give 422 frames.

    Args:
        n_mfcc: Coefficients, the width of the frames.
        sample_rate_hz: Sample rate of the waveforms.
        n_mels: Mel bins before the cosine transform.
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
        normalize_waveform: Whether each clip is first brought to mean 0 and variance 1.
        form: "fft"; "convolution" or "factored" for export.

    Raises:
        ConfigError: If there are more coefficients than mel bins.

    Source: Ye et al. 2023, TIM-Net, extract_feature.py (settings).
    """

    def __init__(
        self,
        n_mfcc: int = 39,
        sample_rate_hz: int = 16_000,
        n_mels: int = 128,
        n_fft: int = 2048,
        hop_samples: int = 512,
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
        if not 0 < n_mfcc <= n_mels:
            raise ConfigError(
                "There cannot be more cepstral coefficients than mel bins.",
                expected=f"1 <= n_mfcc <= n_mels = {n_mels}",
                got=f"n_mfcc={n_mfcc}",
                remedy="raise n_mels or lower n_mfcc",
            )
        self.width = n_mfcc
        self.log_mel = LogMel(
            sample_rate_hz=sample_rate_hz,
            n_mels=n_mels,
            n_fft=n_fft,
            hop_samples=hop_samples,
            window_samples=window_samples,
            window=window,
            center=center,
            pad_mode=pad_mode,
            fmin_hz=fmin_hz,
            fmax_hz=fmax_hz,
            mel_scale=mel_scale,
            mel_norm=mel_norm,
            top_db=top_db,
            normalize_waveform=normalize_waveform,
            form=form,
        )
        self.sample_rate_hz = sample_rate_hz
        self.hop_samples = hop_samples
        self.register_buffer("cosines", torchaudio.functional.create_dct(n_mfcc, n_mels, norm="ortho"), persistent=False)  # (M, D)

    cosines: Tensor

    def forward(self, inputs: ModelInput) -> Features:
        decibels, lengths = read_frames(self.log_mel, inputs)
        with full_precision(decibels):
            return Features(decibels @ self.cosines, lengths, inputs.texts, inputs.keys)
