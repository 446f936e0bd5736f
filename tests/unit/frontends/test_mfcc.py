import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.frontends.mfcc import Mfcc

LONGEST_RAVDESS_CLIP = 84_351


@pytest.mark.parametrize(
    ("settings", "frames"), [({}, 165), ({"n_fft": 1024, "window_samples": 800, "hop_samples": 200, "window": "hamming"}, 422)]
)
def test_both_profiles_give_the_published_number_of_frames(settings, frames, make_voice, make_inputs):
    features = Mfcc(**settings)(make_inputs(make_voice(LONGEST_RAVDESS_CLIP)))
    assert features.frames.shape == (1, frames, 39)
    assert features.lengths.tolist() == [frames]


@pytest.mark.parametrize("form", ["fft", "convolution", "factored"])
def test_a_clip_is_heard_the_same_alone_and_in_a_batch(form, make_voice, check_alone_equals_batch):
    check_alone_equals_batch(Mfcc(form=form), make_voice(9000, loudness=0.9), make_voice(4444, 1, 1e-5), tolerance=2e-3)


def test_the_first_coefficient_is_the_scaled_sum_of_the_bins(make_voice, make_inputs):
    frontend = Mfcc(n_mfcc=4, n_mels=32, n_fft=512, hop_samples=160)
    inputs = make_inputs(make_voice(2000))
    bins = frontend.log_mel(inputs).frames
    torch.testing.assert_close(frontend(inputs).frames[..., 0], bins.sum(dim=-1) / 32**0.5)


def test_mixed_precision_changes_nothing(make_voice, make_inputs):
    frontend, inputs = Mfcc(), make_inputs(make_voice(4000))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = frontend(inputs).frames
    assert torch.equal(mixed, frontend(inputs).frames)


@pytest.mark.parametrize("count", [0, 41])
def test_more_coefficients_than_bins_are_refused(count):
    with pytest.raises(ConfigError, match="n_mels = 40"):
        Mfcc(n_mfcc=count, n_mels=40)
