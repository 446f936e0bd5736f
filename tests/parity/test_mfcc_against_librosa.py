"""Our front-ends against librosa and the feature extractor of transformers."""

import librosa
import numpy as np
import pytest
import torch
from transformers import Wav2Vec2FeatureExtractor

from ser_kd.contracts.batch import ModelInput
from ser_kd.frontends.deltas import Deltas
from ser_kd.frontends.log_mel import LogMel
from ser_kd.frontends.mfcc import Mfcc
from ser_kd.frontends.precomputed import Precomputed
from ser_kd.frontends.waveform import Waveform

SAMPLES = 24_011


def buzz_over_noise() -> np.ndarray:
    random = np.random.default_rng(3)
    time = np.arange(SAMPLES) / 16_000
    phase = 2 * np.pi * np.cumsum(150 * (1 + 0.3 * np.sin(2 * np.pi * 2 * time))) / 16_000
    return sum(np.sin(k * phase) / k for k in range(1, 30)) * 0.1 * np.abs(np.sin(4 * time)) + 0.003 * random.standard_normal(SAMPLES)


def tones_over_noise() -> np.ndarray:
    random = np.random.default_rng(4)
    time = np.arange(SAMPLES) / 16_000
    return 0.3 * np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 3100 * time) + 0.003 * random.standard_normal(SAMPLES)


def speech_after_silence() -> np.ndarray:
    """Zeros in front exercise the dynamic range: they lie exactly top_db below the loudest bin."""
    clip = buzz_over_noise()
    clip[:9000] = 0.0
    return clip


SIGNALS = [buzz_over_noise, tones_over_noise, speech_after_silence]
PROFILES = {
    "official": ({}, {"n_fft": 2048, "hop_length": 512}),
    "50_ms": (
        {"n_fft": 1024, "window_samples": 800, "hop_samples": 200, "window": "hamming"},
        {"n_fft": 1024, "win_length": 800, "hop_length": 200, "window": "hamming"},
    ),
    "htk": (
        {"mel_scale": "htk", "mel_norm": None, "fmin_hz": 50.0, "fmax_hz": 7000.0},
        {"htk": True, "mel_norm": None, "fmin": 50, "fmax": 7000},
    ),
    "reflect": ({"pad_mode": "reflect"}, {"pad_mode": "reflect"}),
}


def ask(frontend, clip: np.ndarray) -> np.ndarray:
    waveform = torch.from_numpy(clip).float()[None]
    return frontend(ModelInput(waveform, torch.tensor([waveform.shape[1]]))).frames[0].numpy()


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("profile", PROFILES)
def test_mfcc_equals_librosa(signal, profile):
    ours, theirs = PROFILES[profile]
    clip = signal()
    expected = librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=39, **theirs).T
    np.testing.assert_allclose(ask(Mfcc(39, **ours), clip), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("form", ["convolution", "factored"])
def test_the_exported_forms_equal_librosa(form):
    clip = speech_after_silence()
    expected = librosa.feature.mfcc(y=clip, sr=16_000, n_mfcc=39).T
    np.testing.assert_allclose(ask(Mfcc(39, form=form), clip), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("signal", SIGNALS)
def test_log_mel_equals_librosa(signal):
    clip = signal()
    power = librosa.feature.melspectrogram(y=clip, sr=16_000, n_fft=512, hop_length=160, n_mels=64)
    np.testing.assert_allclose(ask(LogMel(), clip), librosa.power_to_db(power, top_db=80.0).T, rtol=0, atol=1e-3)


def test_deltas_equal_librosa_inside_a_clip():
    frames = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
    inputs = ModelInput(torch.zeros(1, 1), torch.tensor([1]), features={"frames": (torch.from_numpy(frames)[None], torch.tensor([40]))})
    ours = Deltas(Precomputed("frames", 5), orders=1)(inputs).frames[0, :, 5:].numpy()
    np.testing.assert_allclose(ours[4:-4], librosa.feature.delta(frames, axis=0)[4:-4], rtol=0, atol=1e-5)


def test_normalised_waveforms_equal_those_of_transformers():
    clips = [buzz_over_noise().astype(np.float32), (tones_over_noise()[:20_000] + 0.2).astype(np.float32)]
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    expected = extractor(clips, sampling_rate=16_000, padding=True, return_tensors="pt").input_values
    waveforms = torch.zeros(2, SAMPLES)
    for row, clip in zip(waveforms, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    ours = Waveform(normalize=True)(ModelInput(waveforms, torch.tensor([SAMPLES, 20_000]))).frames[..., 0]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
