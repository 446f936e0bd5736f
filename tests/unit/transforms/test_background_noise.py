from dataclasses import replace

import pytest
import torch
from scipy import stats

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.functional.levels import active_speech_level, amplitude_to_db, root_mean_square
from ser_kd.functional.p56_level import measure_p56_level
from ser_kd.transforms.background_noise import BackgroundNoise


@pytest.mark.parametrize("level", ["rms", "active_speech", "p56"])
def test_the_drawn_ratio_is_measured(make_batch, make_bank, level):
    batch = make_batch(count=30, size=4000)
    batch.waveforms[:, 500:1500] = 0.0
    transform = BackgroundNoise(make_bank(), probability=1.0, level=level)  # some noises are shorter than the clips and go round
    noise = transform(batch).waveforms - batch.waveforms
    measure = {"rms": root_mean_square, "active_speech": active_speech_level, "p56": measure_p56_level}[level]
    measured = amplitude_to_db(measure(batch.waveforms, batch.lengths)) - amplitude_to_db(root_mean_square(noise, batch.lengths))
    wanted = transform.last_parameters["snr_db"]
    assert (measured - wanted).abs().max() < 0.1
    assert wanted.min() < 3
    assert wanted.max() > 17


def test_the_noise_is_the_drawn_stretch_of_the_bank(make_batch, make_bank):
    batch, bank = make_batch(count=20, size=3000), make_bank()
    transform = BackgroundNoise(bank, probability=1.0)
    added = transform(batch).waveforms - batch.waveforms
    drawn = transform.last_parameters
    assert set(drawn["noise"].tolist()) == {0, 1, 2}
    for row in range(20):
        number, offset, length = int(drawn["noise"][row]), int(drawn["offset"][row]), int(batch.lengths[row])
        clip = bank.clips[number]
        looped = torch.stack([clip[(offset + place) % len(clip)] for place in range(length)])
        scale = added[row, :length].norm() / looped.norm()
        torch.testing.assert_close(added[row, :length], scale * looped, rtol=0, atol=1e-6)


def test_offsets_are_spread_over_the_whole_noise(make_batch, make_bank):
    bank = make_bank()
    transform = BackgroundNoise(bank, probability=0.0)
    transform(make_batch(count=3000, size=2))
    share = transform.last_parameters["offset"] / bank.lengths[transform.last_parameters["noise"]]
    assert stats.kstest(share.double().numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(transform.last_parameters["snr_db"].double().numpy(), "uniform", args=(0, 20)).pvalue > 0.01


def test_ratios_of_a_list_are_drawn_equally_often_and_anew_in_each_epoch(make_batch, make_bank):
    transform = BackgroundNoise(make_bank(), probability=0.0, snrs_db=[0, 5, 10, 15, 20])
    batch = make_batch(count=3000, size=2)
    transform(batch)
    first = transform.last_parameters["snr_db"]
    values, counts = first.unique(return_counts=True)
    assert values.tolist() == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert stats.chisquare(counts.numpy()).pvalue > 0.01
    transform(replace(batch, keys=batch.keys + 1))
    assert (transform.last_parameters["snr_db"] != first).float().mean() == pytest.approx(0.8, abs=0.05)


def test_a_probability_leaves_the_others_clean(make_batch, make_bank):
    batch = make_batch(count=400, size=40)
    noisy = BackgroundNoise(make_bank(), probability=0.8, snrs_db=[0]).__call__(batch).waveforms
    assert (noisy == batch.waveforms).all(dim=1).float().mean() == pytest.approx(0.2, abs=0.06)


def test_fixed_noise_is_the_same_in_every_epoch_and_run(make_batch, make_bank):
    transform = BackgroundNoise(make_bank(), probability=1.0, snrs_db=[0, 10], fixed=True)
    batch = make_batch()
    first = transform(batch).waveforms
    assert torch.equal(transform(replace(batch, keys=batch.keys + 1)).waveforms, first)
    order = [3, 0, 5]
    torch.testing.assert_close(transform(batch.take(order)).waveforms, first[order])
    offsets = transform.last_parameters["offset"]
    assert len(offsets.unique()) == 3
    transform(replace(batch.take(order), ids=["other", "names", "here"]))
    assert not torch.equal(transform.last_parameters["offset"], offsets)


def test_noises_can_be_handed_in_later(make_batch, make_bank):
    transform = BackgroundNoise(probability=1.0)
    assert transform.awaits_noise
    with pytest.raises(ConfigError, match="no noises yet"):
        transform(make_batch())
    transform.take_noise(make_bank())
    assert not transform.awaits_noise
    assert torch.equal(transform(make_batch()).waveforms, BackgroundNoise(make_bank(), probability=1.0)(make_batch()).waveforms)
    with pytest.raises(ConfigError, match="no clip to draw"):
        transform.take_noise(make_bank([]))


def test_nothing_is_scaled_back(make_batch, make_bank):
    batch = make_batch()
    loud = replace(batch, waveforms=batch.waveforms * 9)
    assert BackgroundNoise(make_bank(), 0.0, 0.0, probability=1.0)(loud).waveforms.abs().max() > 1.5


def test_silence_has_no_ratio(make_batch, make_bank):
    batch = make_batch()
    batch.waveforms[2] = 0.0
    with pytest.raises(DataError, match="Silent speech") as fault:
        BackgroundNoise(make_bank(), probability=1.0)(batch)
    assert fault.value.got == "clip2"
    bank = make_bank([torch.zeros(5000)])
    with pytest.raises(DataError, match="silent stretch of noise") as fault:
        BackgroundNoise(bank, probability=1.0)(make_batch())
    assert "noise0" in fault.value.got
    BackgroundNoise(bank, probability=0.0)(batch)


def test_arguments_are_checked(make_bank):
    with pytest.raises(ConfigError, match="range of snr_db"):
        BackgroundNoise(make_bank(), 10.0, 0.0)
    for ratios in ([], [200.0], [float("nan")]):
        with pytest.raises(ConfigError, match="no signal-to-noise ratios"):
            BackgroundNoise(make_bank(), snrs_db=ratios)
    with pytest.raises(ConfigError, match="Unknown level"):
        BackgroundNoise(make_bank(), level="loud")
    with pytest.raises(ConfigError, match="no clip to draw"):
        BackgroundNoise(make_bank([]))
    with pytest.raises(ConfigError, match="no clip to draw"):
        BackgroundNoise("noises")
