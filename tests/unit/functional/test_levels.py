import pytest
import torch

from ser_kd.functional.levels import (
    active_speech_level,
    amplitude_to_db,
    db_to_amplitude,
    gain_for_snr,
    normalize_waveforms,
    root_mean_square,
)


def test_level_over_valid_samples_only():
    waveforms = torch.tensor([[3.0, -4.0, 9.0, float("nan")], [1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 0.0, 0.0]])
    level = root_mean_square(waveforms, torch.tensor([2, 4, 0]))
    torch.testing.assert_close(level, torch.tensor([12.5**0.5, 1.0, 0.0]))
    torch.testing.assert_close(root_mean_square(waveforms[1:]), torch.tensor([1.0, 2.5]))


def test_decibels_there_and_back():
    assert amplitude_to_db(torch.tensor([0.1, 1.0, 0.0])).tolist() == [-20.0, 0.0, -torch.inf]
    amplitude = torch.tensor([0.01, 0.5, 3.0])
    torch.testing.assert_close(db_to_amplitude(amplitude_to_db(amplitude)), amplitude)


def test_gain_reaches_the_wanted_ratio():
    generator = torch.Generator().manual_seed(0)
    speech, noise = torch.randn(5, 4000, generator=generator) * 0.2, torch.rand(5, 4000, generator=generator)
    wanted = torch.tensor([0.0, 5.0, 10.0, 15.0, 20.0])
    gain = gain_for_snr(root_mean_square(speech), root_mean_square(noise), wanted)
    measured = amplitude_to_db(root_mean_square(speech)) - amplitude_to_db(root_mean_square(gain[:, None] * noise))
    assert (measured - wanted).abs().max() < 0.01


def test_silence_needs_no_gain():
    gain = gain_for_snr(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([5.0, 5.0]))
    assert gain.tolist() == [0.0, 0.0]


def test_active_level_leaves_pauses_out():
    generator = torch.Generator().manual_seed(0)
    speech = 0.2 * torch.randn(1, 5120, generator=generator)
    pauses = torch.cat([torch.zeros(1, 5120), speech, 0.002 * torch.randn(1, 10_240, generator=generator)], dim=1)
    torch.testing.assert_close(active_speech_level(pauses), root_mean_square(speech), rtol=1e-5, atol=0)
    assert root_mean_square(pauses) < 0.51 * root_mean_square(speech)
    behind = torch.cat([speech, torch.full((1, 5000), float("nan"))], dim=1)
    torch.testing.assert_close(active_speech_level(behind, torch.tensor([5120])), root_mean_square(speech), rtol=1e-5, atol=0)
    assert active_speech_level(torch.zeros(2, 1000)).tolist() == [0.0, 0.0]


def test_active_level_equals_the_search_over_thresholds():
    generator = torch.Generator().manual_seed(3)
    clip = torch.randn(1, 6400, generator=generator) * torch.logspace(-3, 0, 10).repeat_interleave(640)
    power = clip.unflatten(1, (-1, 64)).square().mean(dim=2)[0].tolist()
    fitting = []
    for threshold in power:
        active = [value for value in power if value >= threshold]
        mean = sum(active) / len(active)
        if threshold >= mean * 10**-1.59:
            fitting.append((len(active), mean))
    assert active_speech_level(clip, frame_samples=64).item() == pytest.approx(max(fitting)[1] ** 0.5, rel=1e-5)


def test_waveforms_get_mean_0_and_variance_1_over_their_valid_samples():
    waveforms = torch.tensor([[1.0, 3.0, float("nan")], [2.0, 2.0, 2.0]])
    expected = torch.tensor([[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(normalize_waveforms(waveforms, torch.tensor([2, 3])), expected)
