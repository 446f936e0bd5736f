"""Real speech where it is at hand, the demo's voices otherwise: a buzz of one pitch would say nothing about a dictionary."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio as measure_si_sdr

from ser_kd.contracts.batch import ModelInput, SpeechBatch
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Fittable
from ser_kd.distill.fitting import fit_statistics
from ser_kd.frontends.enhancement import EnhancedFrontend, VadNmf
from ser_kd.frontends.log_mel import LogMel
from ser_kd.storage.audio_files import list_audio, read_audio
from tests.conftest import find_real


def fit(clips, **options):
    enhancement = VadNmf(**options)
    enhancement.begin_fit()
    for clip in clips:
        enhancement.update_fit(ModelInput(clip[None], torch.tensor([len(clip)])))
    enhancement.end_fit()
    return enhancement


def pink(samples, seed):
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return torch.from_numpy(np.fft.irfft(spectrum, samples)).float()


def white(samples, seed):
    return torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def mix(clip, noise, snr_db):
    return clip + noise * (clip.norm() / noise.norm()) * 10 ** (-snr_db / 20)


@pytest.fixture(scope="module")
def demo_voices():
    pytest.importorskip("espeakng_loader", reason="the demo's voices need espeakng-loader")
    from ser_kd.data.demo_speech import draw_clip, synthesise_clip

    def speak(speakers, emotions):
        return [torch.from_numpy(synthesise_clip(draw_clip(s, e, 1), 16_000)).float() for s in speakers for e in emotions]

    return speak((1, 2, 3, 4), ("neutral", "angry")), speak((5, 6), ("happy",))


@pytest.fixture(scope="module")
def enhancement(demo_voices):
    return fit(demo_voices[0], speech_atoms=32)


def check_promises(enhancement, clips):
    """Noise at 0 dB: at least 3 dB SI-SDR gained; speech without noise, or with little: less than 1 dB lost."""
    for make, ratios in ((white, (0.0, 20.0)), (pink, (0.0,))):
        gains = {}
        for snr_db in ratios:
            noisy = [mix(clip, make(len(clip), seed), snr_db) for seed, clip in enumerate(clips)]
            before = [float(measure_si_sdr(each, clip)) for each, clip in zip(noisy, clips, strict=True)]
            after = [float(measure_si_sdr(enhancement.enhance(each[None])[0], clip)) for each, clip in zip(noisy, clips, strict=True)]
            gains[snr_db] = np.array(after) - np.array(before)
        assert gains[0.0].mean() >= 3.0, (make.__name__, gains)
        assert gains.get(20.0, np.zeros(1)).mean() > -1.0, (make.__name__, gains)
    for clip in clips:
        clean = enhancement.enhance(clip[None])[0]
        # what is lost of clean speech: its distance from itself is infinite, so 20 dB stand for "all but nothing"
        assert float(measure_si_sdr(clean, clip)) > 20.0
        assert abs(20 * float(torch.log10(clean.norm() / clip.norm()))) < 1.0


def test_noise_is_taken_out_and_clean_speech_kept(enhancement, demo_voices):
    check_promises(enhancement, demo_voices[1])


@pytest.mark.corpus
def test_so_it_is_on_real_speech():
    root = find_real("RAVDESS", "SER_KD_RAVDESS")
    files = sorted(list_audio(Path(root)).values())
    training = [path for path in files if "Actor_0" in str(path)][::36]
    test = [path for path in files if "Actor_2" in str(path)][::80][:3]
    clips = [torch.from_numpy(read_audio(path, 16_000)) for path in test]
    check_promises(fit([torch.from_numpy(read_audio(path, 16_000)) for path in training]), clips)


def test_a_clip_comes_out_the_same_in_any_company(enhancement, demo_voices):
    clips = [mix(clip, white(len(clip), seed), 5.0) for seed, clip in enumerate(demo_voices[1])]
    longest = max(map(len, clips)) + 3000
    lengths = torch.tensor([len(clip) for clip in clips])
    batch = torch.full((2, longest), float("nan"))  # nothing behind a clip's end may be heard
    for row, clip in zip(batch, clips, strict=True):
        row[: len(clip)] = clip
    together = enhancement(ModelInput(batch, lengths, texts=["a", "b"]))
    assert together.texts == ["a", "b"]
    assert together.waveforms.shape == batch.shape
    for row, clip in zip(together.waveforms, clips, strict=True):
        torch.testing.assert_close(row[: len(clip)], enhancement.enhance(clip[None])[0], atol=1e-4, rtol=1e-3)
        assert not row[len(clip) :].any()
    torch.testing.assert_close(enhancement.enhance(batch, lengths), together.waveforms, atol=0.0, rtol=0.0)


def test_loudness_changes_loudness_alone(enhancement, demo_voices):
    noisy = mix(demo_voices[1][0], white(len(demo_voices[1][0]), 0), 0.0)[None]
    for gain in (1e-3, 100.0):
        torch.testing.assert_close(enhancement.enhance(gain * noisy) / gain, enhancement.enhance(noisy), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("samples", [1, 100, 700, 5000])
def test_silent_short_and_wholly_noisy_clips_come_out_as_they_went_in(enhancement, samples):
    for clip in (torch.zeros(1, samples), 0.1 * white(samples, 1)[None]):
        torch.testing.assert_close(enhancement.enhance(clip), clip, atol=0.0, rtol=0.0)
    assert enhancement.enhance(torch.zeros(0, samples)).shape == (0, samples)


def test_speech_without_a_pause_and_zeros_around_stay_finite(enhancement, demo_voices):
    clip = demo_voices[1][0]
    middle = int(clip.abs().argmax().clamp(4000, len(clip) - 4000))
    loud = clip[middle - 4000 : middle + 4000]
    for odd in (loud, torch.cat([torch.zeros(20_000), mix(loud, white(len(loud), 2), 0.0), torch.zeros(20_000)])):
        enhanced = enhancement.enhance(odd[None])
        assert torch.isfinite(enhanced).all()
        assert enhanced.shape == (1, len(odd))
        assert float(enhanced.norm()) > 0.1 * float(odd.norm())


def test_fitted_through_the_one_door_to_training_clips_alone(demo_voices):
    training = demo_voices[0][:6]

    def batches(clips, size):
        for first in range(0, len(clips), size):
            part = clips[first : first + size]
            lengths = torch.tensor([len(clip) for clip in part])
            waveforms = torch.nn.utils.rnn.pad_sequence(part, batch_first=True)
            names = [str(number) for number in range(len(part))]
            yield SpeechBatch(names, names, waveforms, lengths, torch.arange(len(part)))

    fitted = []
    for size in (1, 4):
        model = torch.nn.Sequential(VadNmf(speech_atoms=16))
        assert isinstance(model[0], Fittable)
        assert not model[0].is_fitted
        assert fit_statistics(model, batches(training, size)) == 1
        fitted.append(model[0])
    torch.testing.assert_close(fitted[0].speech, fitted[1].speech, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(fitted[0].speech.sum(dim=0), torch.ones(16))
    loaded = torch.nn.Sequential(VadNmf(speech_atoms=16))
    loaded.load_state_dict(torch.nn.Sequential(copy.deepcopy(fitted[0])).state_dict())
    assert loaded[0].is_fitted
    assert fit_statistics(loaded, batches([training[0][:9000]], 1)) == 0
    assert torch.equal(loaded[0].speech, fitted[0].speech)


def test_stands_before_any_front_end(enhancement, demo_voices):
    inner = LogMel()
    frontend = EnhancedFrontend(enhancement, inner)
    clip = mix(demo_voices[1][0], white(len(demo_voices[1][0]), 0), 0.0)[None]
    inputs = ModelInput(clip, torch.tensor([clip.shape[1]]))
    assert frontend.width == inner.width
    assert torch.equal(frontend(inputs).frames, inner(enhancement(inputs)).frames)
    assert any(name == "enhancement.speech" for name in frontend.state_dict())


def test_what_cannot_be_is_told():
    with pytest.raises(ConfigError, match="never fitted"):
        VadNmf().enhance(torch.randn(1, 16_000))
    with pytest.raises(ConfigError, match="never begun"):
        VadNmf().end_fit()
    with pytest.raises(DataError, match="cannot be fitted"):
        fit([torch.zeros(16_000), torch.randn(900)])
    for wrong in ({"noise_atoms": 0}, {"hop_samples": 300}, {"floor": 1.0}, {"sparsity": -0.1}):
        with pytest.raises(ConfigError, match="cannot be"):
            VadNmf(**wrong)
