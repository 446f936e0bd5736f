import pytest
import torch

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import Frontend
from ser_kd.frontends.log_mel import LogMel


def test_shape_width_and_keys(make_voice, make_inputs):
    frontend = LogMel()
    assert isinstance(frontend, Frontend)
    inputs = make_inputs(make_voice(3200), make_voice(1600, 1))
    features = frontend(inputs)
    assert features.frames.shape == (2, 21, 64)
    assert features.lengths.tolist() == [21, 11]
    assert features.keys is inputs.keys


SETTINGS = [{}, {"pad_mode": "reflect"}, {"center": False}, {"normalize_waveform": True}, {"form": "convolution"}, {"form": "factored"}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_clip_is_heard_the_same_alone_and_in_a_batch(settings, make_voice, check_alone_equals_batch):
    # The loud neighbour lifts a quiet clip wherever the range is taken from the batch.
    check_alone_equals_batch(LogMel(**settings), make_voice(4000, loudness=0.9), make_voice(1777, 1, loudness=1e-5), tolerance=1e-3)


def test_what_lies_behind_the_end_is_not_heard(make_voice, check_alone_equals_batch):
    check_alone_equals_batch(LogMel(), make_voice(3000), make_voice(1500, 1), behind=float("nan"))


def test_the_range_is_that_of_the_clips_own_valid_frames(make_voice, make_inputs):
    features = LogMel(top_db=40.0)(make_inputs(make_voice(3200), make_voice(1600, 1, 1e-3)))
    for row, length in enumerate(features.lengths.tolist()):
        valid = features.frames[row, :length]
        assert float(valid.max() - valid.min()) == pytest.approx(40.0, abs=1e-3)


def test_a_click_that_only_a_frame_behind_the_end_hears_sets_no_range(make_voice, check_alone_equals_batch):
    clip = make_voice(1999, loudness=1e-6)
    clip[-1] = 1.0  # frames of 512 samples are centred on 0, 400, … 1600, and in a batch on 2000 too
    check_alone_equals_batch(LogMel(hop_samples=400), make_voice(4000), clip, tolerance=1e-3)


def test_without_a_range_silence_lies_at_minus_100_db():
    frames = LogMel(top_db=None)(ModelInput(torch.zeros(1, 1600), torch.tensor([1600]))).frames
    assert torch.equal(frames, torch.full_like(frames, -100.0))


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")  # Wav2Small's own layout has empty filters
def test_a_normalised_waveform_forgets_gain_and_offset(make_voice, make_inputs):
    frontend = LogMel(n_mels=26, n_fft=64, hop_samples=32, center=False, top_db=None, normalize_waveform=True)
    clip = make_voice(3200)
    first, second = frontend(make_inputs(clip)).frames, frontend(make_inputs(0.3 * clip + 0.05)).frames
    assert first.shape == (1, 99, 26)
    torch.testing.assert_close(first, second, rtol=0, atol=0.02)


@pytest.mark.filterwarnings("ignore:At least one mel filterbank")
@pytest.mark.parametrize("gain", [0.05, 20.0])
def test_a_quiet_clip_is_heard_at_the_same_loudness_too(gain, make_inputs):
    """-37 dB at first, -63 with the smaller gain, where 1e-7 added to the variance would take 0.8 dB."""
    frontend = LogMel(n_mels=26, n_fft=64, hop_samples=32, center=False, top_db=None, normalize_waveform=True)
    quiet = 0.014 * torch.randn(3200, generator=torch.Generator().manual_seed(0))
    first, second = frontend(make_inputs(quiet)).frames, frontend(make_inputs(gain * quiet)).frames
    torch.testing.assert_close(first, second, rtol=0, atol=2e-3)


def test_all_samples_are_valid_where_no_lengths_are_given(make_voice, make_inputs):
    inputs = make_inputs(make_voice(3000))
    features = LogMel()(ModelInput(inputs.waveforms, None))
    assert features.lengths is None
    torch.testing.assert_close(features.frames, LogMel()(inputs).frames)


def test_mixed_precision_changes_nothing(make_voice, make_inputs):
    inputs = make_inputs(make_voice(2000))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = LogMel()(inputs).frames
    assert torch.equal(mixed, LogMel()(inputs).frames)


@pytest.mark.parametrize("edges", [{"fmax_hz": 9000.0}, {"fmin_hz": 5000.0, "fmax_hz": 4000.0}, {"fmin_hz": -1.0}])
def test_filters_beyond_half_the_sample_rate_are_refused(edges):
    with pytest.raises(ConfigError, match="below half the sample rate"):
        LogMel(**edges)
