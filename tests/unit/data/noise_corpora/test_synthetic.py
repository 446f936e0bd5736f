import numpy as np
import pytest
import torch
from scipy.signal import welch

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.noise_corpora.babble import share_clips
from ser_kd.data.noise_corpora.cockpit import LINES_HZ
from ser_kd.data.noise_corpora.engine import FUNDAMENTAL_HZ, engine_phase
from ser_kd.data.noise_corpora.noise_corpus import NOISE_SPLITS
from ser_kd.data.noise_corpora.split_audit import audit_noise_splits
from ser_kd.data.noise_corpora.synthetic import TYPES, SyntheticNoise
from ser_kd.functional.keyed_random import hash_text

RATE_HZ = 16_000
SILENT_TYPES = ["stationary", "engine", "cockpit", "channel"]


@pytest.fixture(scope="module")
def tracks():
    corpus = SyntheticNoise(types=SILENT_TYPES, duration_s=20.0, noise_split="paper")
    bank = corpus.bank("train")
    return dict(zip(bank.names, [clip.numpy() for clip in bank.clips()], strict=True))


def spectrum_db(track):
    frequency, power = welch(track, RATE_HZ, nperseg=8192)
    return frequency, 10 * np.log10(power + 1e-20)


def test_tracks_are_of_one_level_and_far_below_full_scale(tracks):
    for name, track in tracks.items():
        assert np.sqrt(np.mean(track**2)) == pytest.approx(0.1, rel=1e-4), name
        assert np.abs(track).max() < 1.0, name
        assert track.dtype == np.float32


def test_the_seed_alone_decides(tracks):
    again = SyntheticNoise(types=["channel"], duration_s=20.0).bank("train").clips()[0].numpy()
    np.testing.assert_array_equal(again, tracks["channel"][: len(again)])
    other = SyntheticNoise(types=["channel"], duration_s=20.0, seed=1).bank("train").clips()[0].numpy()
    assert abs(np.corrcoef(again, other)[0, 1]) < 0.05


def test_seconds_of_the_test_are_in_no_track_of_another_length(tracks):
    longer = SyntheticNoise(types=["engine"], duration_s=60.0).bank("train").clips()[0].numpy()
    size = min(len(longer), len(tracks["engine"]))
    assert abs(np.corrcoef(longer[:size], tracks["engine"][:size])[0, 1]) < 0.2


def test_the_engine_has_lines_at_multiples_of_its_fundamental(tracks):
    phase = engine_phase(hash_text("synthetic noise", 0, "engine", len(tracks["engine"]), RATE_HZ), len(tracks["engine"]), RATE_HZ)
    speed_hz = np.diff(phase) * RATE_HZ / (2 * np.pi)
    assert 0.9 * FUNDAMENTAL_HZ - 1e-6 <= speed_hz.min() < speed_hz.max() <= 1.1 * FUNDAMENTAL_HZ + 1e-6
    assert speed_hz.max() - speed_hz.min() > 1.0

    def strength(order):  # turned back by the engine's own phase, a line stands still
        return abs(np.mean(tracks["engine"] * np.exp(-1j * order * phase)))

    for order in range(1, 11):
        assert strength(order) > 10 * strength(order + 0.5), order
    frequency, power_db = spectrum_db(tracks["engine"])
    assert power_db[(frequency > 4000) & (frequency < 7000)].mean() < power_db[frequency < 200].max() - 40


def test_the_cockpit_has_steady_tones_over_a_broad_band(tracks):
    frequency, power_db = spectrum_db(tracks["cockpit"])
    for line_hz in LINES_HZ:
        around = power_db[(abs(frequency - line_hz) > 20) & (abs(frequency - line_hz) < 80)]
        assert power_db[abs(frequency - line_hz) < 5].max() > around.mean() + 10, line_hz
    assert np.median(power_db[frequency > 100]) > power_db.max() - 60


def test_the_channel_keeps_its_band_and_fades(tracks):
    frequency, power_db = spectrum_db(tracks["channel"])
    inside = np.median(power_db[(frequency > 500) & (frequency < 3200)])
    assert power_db[(frequency < 280) | (frequency > 3420)].max() < inside - 30
    level_db = 20 * np.log10(np.sqrt(np.square(tracks["channel"].reshape(-1, 1600)).mean(axis=1)))
    assert 6 < np.ptp(level_db) < 20


@pytest.mark.parametrize(("colour", "fall_db"), [("speech", 9.0), ("pink", 3.0)])
def test_stationary_noise_falls_by_octaves(colour, fall_db):
    (track,) = SyntheticNoise(types=["stationary"], duration_s=20.0, colour=colour).bank("train").clips()
    frequency, power_db = spectrum_db(track.numpy())
    octaves = [power_db[(frequency > hz / 1.2) & (frequency < hz * 1.2)].mean() for hz in (1000, 2000, 4000)]
    assert -np.diff(octaves) == pytest.approx([fall_db, fall_db], abs=0.7)


TONES_HZ = {"anna": 1000, "bert": 1500, "carl": 2100}


def speak(clip):
    """A tone that tells the speaker, with a pause; the clip's number makes it a few Hz higher."""
    speaker, number = clip.split("-")
    time = np.arange(8000) / RATE_HZ
    sound = np.sin(2 * np.pi * (TONES_HZ[speaker] + 10 * int(number)) * time)
    return (0.3 * sound * (time < 0.4)).astype(np.float32)


def make_babble(speakers=("anna", "bert"), **words):
    corpus = SyntheticNoise(types=["babble"], duration_s=30.0, talkers=4, **words)
    corpus.take_speech({speaker: [f"{speaker}-{number}" for number in range(10)] for speaker in speakers}, speak)
    return corpus


def test_babble_holds_the_training_speakers_and_nobody_else():
    for split in NOISE_SPLITS:
        frequency, power_db = spectrum_db(make_babble().bank(split).clips()[0].numpy())
        strongest = {name: power_db[(frequency > hz - 20) & (frequency < hz + 110)].max() for name, hz in TONES_HZ.items()}
        assert min(strongest["anna"], strongest["bert"]) > strongest["carl"] + 25
    assert make_babble().describe()["babble_speakers"] == ["anna", "bert"]


def test_each_part_of_the_babble_has_clips_of_its_own():
    ids = {speaker: [f"{speaker}-{number}" for number in range(10)] for speaker in ("anna", "bert")}
    shares = {split: {clip for clips in share_clips(ids, split).values() for clip in clips} for split in NOISE_SPLITS}
    assert [len(shares[split]) for split in NOISE_SPLITS] == [12, 4, 4]
    assert set().union(*shares.values()) == {clip for clips in ids.values() for clip in clips}
    heard = set()
    corpus = SyntheticNoise(types=["babble"], duration_s=12.0, talkers=2)
    corpus.take_speech(ids, lambda clip: heard.add(clip) or speak(clip))
    corpus.bank("train")
    assert heard == set().union(*shares.values())


def test_babble_is_the_same_again_and_another_for_other_speakers():
    first, again, other = (
        make_babble(speakers).bank("test").clips()[0] for speakers in (("anna", "bert"), ("bert", "anna"), ("anna", "carl"))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_all_types_pass_the_audit():
    corpus = SyntheticNoise(duration_s=10.0, held_out=["engine"])
    assert corpus.types == TYPES
    assert corpus.needs_speech
    # clips of a few tones would repeat themselves; noise stands for speech
    corpus.take_speech(
        {"a": [str(number) for number in range(10)]},
        lambda clip: np.random.default_rng(int(clip)).standard_normal(16_000 + int(clip)).astype(np.float32),
    )
    assert not corpus.needs_speech
    audit = audit_noise_splits(corpus)
    audit.raise_if_leaking()
    assert len(audit.parts["train"]) == 4


def test_babble_without_speech_is_refused():
    with pytest.raises(ConfigError, match="none was handed in"):
        SyntheticNoise(types=["babble"], duration_s=10.0).bank("train")
    few = SyntheticNoise(types=["babble"], duration_s=10.0)
    few.take_speech({"anna": ["anna-1"]}, speak)
    with pytest.raises(DataError, match="too few clips"):
        few.bank("train")
    silent = SyntheticNoise(types=["babble"], duration_s=10.0)
    silent.take_speech({"anna": [f"anna-{number}" for number in range(9)]}, lambda clip: np.zeros(100, np.float32))
    with pytest.raises(DataError, match="from silence") as fault:
        silent.bank("train")
    assert "anna" in fault.value.got
    assert not SyntheticNoise(types=["engine"]).needs_speech


@pytest.mark.parametrize("words", [{"duration_s": 1.0}, {"duration_s": float("nan")}, {"talkers": 0}, {"colour": "brown"}])
def test_noises_that_cannot_be_made_are_refused(words):
    with pytest.raises(ConfigError, match="cannot be made"):
        SyntheticNoise(**words)
