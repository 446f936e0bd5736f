import copy

import pytest
import torch

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.frontends.convolutional_stft import ConvolutionalStft

SETTINGS = [
    {"n_fft": 512, "hop_samples": 160},
    {"n_fft": 256, "hop_samples": 100, "window_samples": 200, "window": "hamming"},
    {"n_fft": 255, "hop_samples": 64, "window_samples": 201, "window": "blackman"},
    {"n_fft": 64, "hop_samples": 32, "center": False},
    {"n_fft": 512, "hop_samples": 128, "pad_mode": "reflect", "window": "rectangular"},
]


@pytest.mark.parametrize("form", ["convolution", "factored"])
@pytest.mark.parametrize("settings", [*SETTINGS, {"n_fft": 101, "hop_samples": 50}])
def test_exported_forms_equal_fft(settings, form, make_voice):
    clips = torch.stack([make_voice(4000, seed) for seed in range(2)])
    fft = ConvolutionalStft(**settings)(clips)
    exported = ConvolutionalStft(**settings, form=form)(clips)
    assert fft.shape == exported.shape == (2, fft.shape[1], settings["n_fft"] // 2 + 1)
    torch.testing.assert_close(exported, fft, rtol=1e-4, atol=1e-4 * float(fft.median()))


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("length", [700, 701, 800, 999, 4000])
def test_frame_lengths_tell_how_many_frames_come(settings, length):
    stft = ConvolutionalStft(**settings)
    assert stft(torch.randn(1, length)).shape[1] == int(stft.frame_lengths(torch.tensor([length]))[0])


@pytest.mark.parametrize("settings", [*SETTINGS, {"n_fft": 2048, "hop_samples": 512, "pad_mode": "reflect"}])
def test_a_clip_gives_the_same_valid_frames_alone_and_in_a_batch(settings, make_voice):
    stft = ConvolutionalStft(**settings)
    long, short = make_voice(4000, 1), make_voice(790, 2)
    waveforms = torch.stack([long, torch.nn.functional.pad(short, (0, 4000 - 790))])
    lengths = torch.tensor([4000, 790])
    together, alone = stft(waveforms, lengths), stft(short[None], lengths[1:])
    count = int(stft.frame_lengths(lengths)[1])
    assert alone.shape[1] == count
    torch.testing.assert_close(together[1, :count], alone[0])


def test_reflection_is_that_of_torch(make_voice):
    clip = make_voice(3000)[None]
    expected = (
        torch.stft(clip, 512, 160, window=torch.hann_window(512), center=True, pad_mode="reflect", return_complex=True).abs().square()
    )
    torch.testing.assert_close(ConvolutionalStft(512, 160, pad_mode="reflect")(clip), expected.transpose(1, 2))


def test_a_clip_shorter_than_a_window_gives_one_frame():
    stft = ConvolutionalStft(n_fft=512, hop_samples=160, center=False)
    assert stft(torch.randn(1, 100)).shape == (1, 1, 257)
    assert stft.frame_lengths(torch.tensor([100, 512])).tolist() == [1, 1]


def test_the_form_can_be_switched_and_leaves_no_trace_in_the_state(make_voice):
    stft = ConvolutionalStft()
    clip = make_voice(2000)[None]
    before = stft(clip)
    for form in ("convolution", "factored"):
        stft.form = form
        assert stft.state_dict() == {}
        torch.testing.assert_close(copy.deepcopy(stft)(clip), before, rtol=1e-4, atol=1e-4 * float(before.max()))
    stft.form = "fft"
    assert not [name for name, _ in stft.named_buffers() if name != "window"]
    assert torch.equal(stft(clip), before)


def test_mixed_precision_changes_nothing(make_voice):
    clip = make_voice(2000)[None]
    stft = ConvolutionalStft(form="convolution")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = stft(clip)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, stft(clip))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"n_fft": 400, "window_samples": 512}, "window_samples=512"),
        ({"hop_samples": 0}, "hop_samples=0"),
        ({"window": "kaiser"}, "one of hann"),
        ({"pad_mode": "circular"}, "constant, reflect"),
        ({"form": "dct"}, "Unknown form 'dct'"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(settings, text):
    with pytest.raises(ConfigError, match=text):
        ConvolutionalStft(**settings)


def test_a_waveform_without_batch_axis_is_refused():
    with pytest.raises(ShapeError, match=r"2 axes \(batch, samples\)"):
        ConvolutionalStft()(torch.randn(1000))


@pytest.mark.parametrize(("n_fft", "window_samples"), [(64, 64), (64, 40), (30, 20)])
def test_the_kernels_of_a_file_are_those_of_training(n_fft, window_samples):
    stft = ConvolutionalStft(n_fft, 16, window_samples, form="convolution")
    torch.testing.assert_close(stft._describe_kernels(), stft.kernels, rtol=0, atol=5e-7)
