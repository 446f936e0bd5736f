import pytest
import torch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.noise_corpora.noise_corpus import NOISE_SPLITS, cut_share
from ser_kd.transforms.background_noise import BackgroundNoise


def test_a_track_is_cut_at_60_and_80_per_cent_with_a_guard(make_counting):
    corpus = make_counting(guard_s=0.1)
    banks = {split: corpus.bank(split, ["wind"]) for split in NOISE_SPLITS}
    told = {split: [(part.type, part.source, part.start_s, part.end_s) for part in bank.parts] for split, bank in banks.items()}
    assert told == {
        "train": [("wind", "wind", 0.0, 5.95)],
        "validation": [("wind", "wind", 6.05, 7.95)],
        "test": [("wind", "wind", 8.05, 10.0)],
    }
    heard = {split: set(bank.clips()[0].tolist()) for split, bank in banks.items()}
    assert (min(heard["test"]), max(heard["test"])) == (10_806, 11_000)
    assert not heard["train"] & heard["validation"] | heard["train"] & heard["test"] | heard["validation"] & heard["test"]
    assert cut_share(1000, (0.6, 0.8), 500.0, 100) == (610, 790)  # a guard takes at most a fiftieth


def test_no_window_leaves_its_part(make_counting):
    bank = make_counting().bank("test", ["rain"])
    stretches = bank.take(torch.zeros(50, dtype=torch.int64), torch.arange(0, 5000, 100), 450)  # twice as long as the part
    assert stretches.min() >= 811 - 1
    assert stretches.max() == 1000


def test_held_out_types_sound_in_the_test_alone(make_counting):
    corpus = make_counting(types=["mill", "rain"], held_out=["rain"])
    assert (corpus.types, corpus.heard_types) == (("mill", "rain"), ("mill",))
    assert corpus.bank("train").types == corpus.bank("validation").types == ("mill",)
    assert corpus.bank("test").types == ("mill", "rain")
    with pytest.raises(ConfigError, match="may not hear noises that are held out"):
        corpus.bank("train", ["rain"])
    assert corpus.describe()["heard_types"] == ["mill"]


def test_the_papers_way_gives_whole_tracks_to_all_and_says_so(make_counting):
    corpus = make_counting(noise_split="paper")
    for split in NOISE_SPLITS:
        assert corpus.bank(split).lengths.tolist() == [1000, 1000, 1000]
    assert corpus.describe()["test_was_heard"] is True
    assert make_counting().describe()["test_was_heard"] is False


def test_a_bank_serves_the_mixing(make_counting):
    transform = BackgroundNoise(make_counting().bank("train"), 5.0, 5.0, probability=1.0)
    assert transform.bank.names == ("rain", "wind", "mill")


def test_what_cannot_be_chosen_is_told(make_counting):
    with pytest.raises(ConfigError, match="Unknown type of noise: snow") as fault:
        make_counting(types=["rain", "snow"])
    assert "rain, wind, mill" in fault.value.expected
    with pytest.raises(ConfigError, match="named twice"):
        make_counting(types=["rain", "rain"])
    with pytest.raises(ConfigError, match="Unknown type of noise: wind"):
        make_counting(types=["rain", "mill"], held_out=["wind"])
    with pytest.raises(ConfigError, match="No type of noise is left"):
        make_counting(types=["rain"], held_out=["rain"])
    with pytest.raises(ConfigError, match="Unknown split") as fault:
        make_counting(noise_split="random")
    assert "time" in fault.value.expected
    assert "paper" in fault.value.expected
    with pytest.raises(ConfigError, match="Unknown split"):
        make_counting().bank("all")
    with pytest.raises(ConfigError, match="guard"):
        make_counting(guard_s=-1.0)


def test_a_click_is_too_short_to_be_cut(make_counting):
    with pytest.raises(DataError, match="too short to be cut"):
        make_counting({"hum": torch.ones(3)}, sample_rate_hz=16_000).bank("test")


def test_a_silent_part_is_no_noise(make_counting):
    track = torch.ones(1000)
    track[700:] = 0.0
    corpus = make_counting({"hum": track})
    assert len(corpus.bank("train")) == 1
    with pytest.raises(DataError, match="silent") as fault:
        corpus.bank("test")
    assert "hum: 8.10 to 10.00 s" in fault.value.got
