import pytest
import torch
from scipy import stats

from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.levels import amplitude_to_db, gain_for_snr, root_mean_square
from ser_kd.transforms.gaussian_noise import GaussianNoise


def test_the_noise_is_normal_with_the_drawn_strength(make_batch):
    batch = make_batch(count=4, size=60_000)
    transform = GaussianNoise(probability=1.0)
    noise = transform(batch).waveforms - batch.waveforms
    sigma = transform.last_parameters["sigma"]
    assert ((sigma >= 0.001) & (sigma <= 0.015)).all()
    for row, length, wanted in zip(noise, batch.lengths, sigma, strict=True):
        assert row[:length].std().item() == pytest.approx(wanted.item(), rel=0.02)
        assert stats.kstest((row[:length] / wanted).double().numpy()[:5000], "norm").pvalue > 0.005
        neighbours = torch.corrcoef(torch.stack([row[: length - 1], row[1:length]]))
        assert abs(neighbours[0, 1].item()) < 0.02


def test_clips_get_unrelated_noises(make_batch):
    batch = make_batch(count=3, size=40_000)
    noise = GaussianNoise(probability=1.0)(batch).waveforms - batch.waveforms
    assert (torch.corrcoef(noise[:, :20_000]) - torch.eye(3)).abs().max() < 0.03


def test_a_wanted_ratio_is_reached(make_batch):
    batch = make_batch(count=1, size=60_000)
    sigma = gain_for_snr(root_mean_square(batch.waveforms, batch.lengths), torch.ones(1), torch.tensor([10.0])).item()
    noisy = GaussianNoise(sigma, sigma, probability=1.0)(batch)
    noise = root_mean_square(noisy.waveforms - batch.waveforms, batch.lengths)
    measured = amplitude_to_db(root_mean_square(batch.waveforms, batch.lengths)) - amplitude_to_db(noise)
    assert measured.item() == pytest.approx(10.0, abs=0.1)


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.01), (-0.1, 0.1)])
def test_range_is_checked(low, high):
    with pytest.raises(ConfigError, match="range of sigma"):
        GaussianNoise(low, high)
