import math

import pytest
import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.levels import amplitude_to_db, root_mean_square
from ser_kd.transforms.pitch_shift import PitchShift
from tests.conftest import speech_like


def batch_of(waveforms, lengths=None):
    count = len(waveforms)
    lengths = torch.full((count,), waveforms.shape[1]) if lengths is None else torch.tensor(lengths)
    return SpeechBatch([str(row) for row in range(count)], ["a"] * count, waveforms, lengths, torch.arange(count))


def shift(batch, transform, steps):
    """Apply with chosen places in the grid."""
    return transform.apply(batch, {"step": torch.tensor(steps)}, torch.ones(len(steps), dtype=torch.bool)).waveforms


def find_peak_hz(waveform, sample_rate_hz):
    """The highest peak of the spectrum, interpolated by a parabola through its logarithm."""
    size = len(waveform)
    spectrum = torch.fft.rfft(waveform.double() * torch.hann_window(size, dtype=torch.float64)).abs()
    place = int(spectrum.argmax())
    left, middle, right = spectrum[place - 1 : place + 2].log().tolist()
    return (place + 0.5 * (left - right) / (left - 2 * middle + right)) * sample_rate_hz / size


@pytest.mark.parametrize(("sample_rate_hz", "window_samples"), [(16_000, 1024), (48_000, 2048)])
def test_every_step_moves_220_hz_within_10_cents_and_keeps_the_amplitude(sample_rate_hz, window_samples):
    transform = PitchShift(window_samples=window_samples)
    assert transform.steps == tuple(number / 2 for number in range(-8, 9))
    time = torch.arange(2 * sample_rate_hz) / sample_rate_hz
    tones = (0.3 * torch.sin(2 * math.pi * 220 * time)).expand(17, -1)
    found = shift(batch_of(tones), transform, list(range(17)))
    assert found.shape == tones.shape
    inside = found[:, sample_rate_hz // 5 : -sample_rate_hz // 5]
    for semitones, row in zip(transform.steps, inside, strict=True):
        assert abs(1200 * math.log2(find_peak_hz(row, sample_rate_hz) / 220) - 100 * semitones) < 2.0  # asked for: 10
    change = amplitude_to_db(root_mean_square(inside)) - amplitude_to_db(torch.tensor(0.3 / math.sqrt(2)))
    assert change.abs().max() < 0.1  # asked for: 1


@pytest.mark.parametrize("semitones", [-4.0, -0.5, 4.0])
def test_speech_keeps_level_and_place(semitones):
    clips = torch.stack([torch.from_numpy(speech_like(seed, 1.0)) for seed in range(3)])
    clips[:, 6000:8000] = 0.0
    found = shift(batch_of(clips), PitchShift(semitones, semitones), [0, 0, 0])
    change = amplitude_to_db(root_mean_square(found)) - amplitude_to_db(root_mean_square(clips))
    assert change.abs().max() < 0.7
    assert root_mean_square(found[:, 6500:7500]).max() < 0.1 * root_mean_square(clips).min()


def test_step_zero_gives_a_clip_back_bit_by_bit():
    clips = 0.1 * torch.randn(2, 5000, generator=torch.Generator().manual_seed(0))
    transform = PitchShift()
    found = shift(batch_of(clips), transform, [8, 9])
    assert torch.equal(found[0], clips[0])
    assert not torch.equal(found[1], clips[1])


def test_a_clip_alone_is_its_row_of_a_batch():
    """Different widths, neighbours of the same step and of others, and more clips than are shifted at a time."""
    lengths = [9000, 16_000, 7001, 12_345, 5000, 16_000, 800]
    steps = [0, 16, 0, 3, 0, 12, 16]
    clips = torch.stack([torch.from_numpy(speech_like(seed, 1.0)) for seed in range(7)])
    clips[torch.arange(16_000) >= torch.tensor(lengths)[:, None]] = 0.0
    transform = PitchShift()
    together = shift(batch_of(clips, lengths), transform, steps)
    for row, (length, step) in enumerate(zip(lengths, steps, strict=True)):
        alone = shift(batch_of(clips[row : row + 1, :length], [length]), transform, [step])
        torch.testing.assert_close(together[row : row + 1, :length], alone, rtol=0, atol=1e-6)
        assert not together[row, length:].any()


def test_all_steps_are_equally_likely(make_batch):
    transform = PitchShift(-1.0, 1.0, 0.5, probability=0.0)
    transform(make_batch(count=3000, size=2))
    counts = torch.bincount(transform.last_parameters["step"], minlength=5)
    assert len(counts) == 5
    assert ((counts - 600).abs() < 100).all()


@pytest.mark.parametrize("grid", [(4.0, -4.0, 0.5), (-4.0, 4.0, 0.0), (-4.0, 4.0, 3.0), (-13.0, 4.0, 0.5), (0.0, float("nan"), 0.5)])
def test_the_grid_is_checked(grid):
    with pytest.raises(ConfigError, match="grid of semitones"):
        PitchShift(*grid)


@pytest.mark.parametrize("window", [32, 1000])
def test_the_window_is_checked(window):
    with pytest.raises(ConfigError, match="power of two"):
        PitchShift(window_samples=window)
