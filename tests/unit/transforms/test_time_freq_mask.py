import pytest
import torch

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Features
from ser_kd.transforms.time_freq_mask import TimeFrequencyMask


def make_features(count=40, frames=50, bins=20):
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(5, frames, count).long()
    keys = torch.randint(-(2**62), 2**62, (count,), generator=generator)
    return Features(torch.randn(count, frames, bins, generator=generator) + 3, lengths, keys=keys)


@pytest.mark.parametrize("fill", ["zero", "mean"])
def test_equals_the_plain_loop(fill):
    features = make_features(count=6)
    transform = TimeFrequencyMask(fill=fill, max_time_share=0.5, probability=1.0)
    found, drawn = transform(features).frames, transform.last_parameters
    for row in range(6):
        length, expected = int(features.lengths[row]), features.frames[row].clone()
        quiet = features.frames[row, :length].mean(dim=0) if fill == "mean" else torch.zeros(20)
        for start, width in zip(drawn["time_start"][row], drawn["time_width"][row], strict=True):
            expected[start : start + width] = quiet
        for start, width in zip(drawn["frequency_start"][row], drawn["frequency_width"][row], strict=True):
            expected[:length, start : start + width] = quiet[start : start + width]
        torch.testing.assert_close(found[row], expected)


def test_bands_are_no_wider_than_asked_and_lie_among_valid_frames():
    features = make_features(count=500)
    transform = TimeFrequencyMask(time_masks=3, max_time_width_frames=6, max_time_share=0.2, max_frequency_width_bins=4, probability=1.0)
    transform(features)
    drawn = transform.last_parameters
    widest = (features.lengths * 0.2).long().clamp_max(6)[:, None]
    assert drawn["time_width"].shape == (500, 3)
    assert (drawn["time_width"] <= widest).all()
    assert (drawn["time_start"] >= 0).all()
    assert (drawn["time_start"] + drawn["time_width"] <= features.lengths[:, None]).all()
    assert (drawn["frequency_start"] + drawn["frequency_width"] <= 20).all()
    # both ends of every range are reached
    assert drawn["time_width"].unique().tolist() == list(range(7))
    assert drawn["frequency_width"].unique().tolist() == list(range(5))
    assert (drawn["frequency_start"] + drawn["frequency_width"]).max() == 20


def test_without_masks_nothing_happens_and_without_lengths_every_frame_counts():
    features = make_features()
    off = TimeFrequencyMask(time_masks=0, frequency_masks=0, probability=1.0)
    assert torch.equal(off(features).frames, features.frames)
    features.lengths = None
    assert TimeFrequencyMask(probability=1.0)(features).lengths is None


def test_arguments_are_checked():
    with pytest.raises(ConfigError, match="numbers and widths"):
        TimeFrequencyMask(time_masks=-1)
    with pytest.raises(ConfigError, match="numbers and widths"):
        TimeFrequencyMask(max_time_share=2.0)
    with pytest.raises(ConfigError, match="Unknown fill"):
        TimeFrequencyMask(fill="noise")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="feature frames"):
        TimeFrequencyMask()(Features(None, None, keys=torch.zeros(1, dtype=torch.int64)))
