"""Noises are audited and fit for mixing before the first step, and what must be told of them is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.data.clip_bank import HeldClips
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.noise_corpora.noise_corpus import NoiseBank, NoisePart
from ser_kd.data.protocols.by_speaker import LeaveOneSpeakerOut
from ser_kd.distill.views import Views
from ser_kd.tasks.noise import check_silences, describe_short_noises, hand_over_noise, prepare_noise, prepare_training_noise
from ser_kd.transforms.background_noise import BackgroundNoise
from ser_kd.transforms.gain import Gain
from tests.conftest import speech_like


def make_data(folder: Path, silent: int | None = None) -> SpeechDataModule:
    """20 clips of 0.3 s by 4 speakers, 10 of them for training."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["path,label,speaker"]
    for number in range(20):
        soundfile.write(folder / f"{number}.wav", speech_like(number) * (number != silent), 16_000)
        rows.append(f"{number}.wav,{('angry', 'sad')[number % 2]},s{number // 5}")
    (folder / "my.csv").write_text("\n".join(rows) + "\n")
    data = SpeechDataModule(ManifestCsvCorpus(folder / "my.csv"), LeaveOneSpeakerOut(), batch_size=4, cache_dir=folder / "cache")
    data.setup()
    return data


def synthetic(**words: object) -> object:
    return OmegaConf.create({"_target_": "ser_kd.data.noise_corpora.synthetic.SyntheticNoise", "duration_s": 10.0, **words})


def folder_of(root: Path, clips: dict[str, np.ndarray], **words: object) -> object:
    for name, clip in clips.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, clip, 16_000)
    return OmegaConf.create({"_target_": "ser_kd.data.noise_corpora.folder.FolderNoise", "root": str(root), **words})


def rush(seed: int, seconds: float = 2.0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(16_000 * seconds))


def test_babble_is_mixed_from_the_training_speakers_of_the_fold(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    corpus = prepare_noise(synthetic(types=["babble", "channel"]), data)
    assert corpus.describe()["babble_speakers"] == sorted({u.speaker for u in data.fold.train})
    assert len(corpus.describe()["babble_speakers"]) == 2
    assert corpus.bank("train").names == ("babble", "channel")


def test_everything_is_told_before_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = make_data(tmp_path)
    noise = prepare_training_noise(synthetic(types=["engine", "channel"], held_out=["channel"]), data)
    assert noise.notes == [
        "noises of synthetic, training heard engine; never heard: channel",
        "noise engine: train 0.0 to 5.9 s; validation 6.1 to 7.9 s; test 8.1 to 10.0 s",
        "noise channel: train never; validation never; test 8.1 to 10.0 s",
    ]
    assert not capsys.readouterr().err
    papers = prepare_training_noise(synthetic(types=["engine"], noise_split="paper"), data)
    assert "the noise of the test was heard in training" in papers.notes[-1]
    assert "the noise of the test was heard in training" in capsys.readouterr().err
    excerpt = folder_of(tmp_path / "noise", {"volvo.wav": rush(1)}, check_duration=False, types=["volvo"])
    excerpt._target_ = "ser_kd.data.noise_corpora.noisex92.Noisex92"  # type: ignore[attr-defined]
    excerpts = prepare_training_noise(excerpt, data)
    assert excerpts.notes[-1].endswith("volvo.wav lasts 2.00 s, not 235 s as published")
    assert capsys.readouterr().err.count("not 235 s as published") == 1


def test_noises_go_to_the_views_that_wait_for_them(tmp_path: Path) -> None:
    noise = prepare_training_noise(synthetic(types=["engine", "channel"], held_out=["channel"]), make_data(tmp_path))
    views = Views(both=Gain(), student=BackgroundNoise(probability=1.0))
    hand_over_noise(noise, views)
    assert views.student.bank.names == ("engine",)  # type: ignore[union-attr]
    assert views.student.bank.lengths.tolist() == [94_400]  # type: ignore[union-attr]
    hand_over_noise(None, Views(student=Gain()))
    with pytest.raises(ConfigError, match="no noises are chosen"):
        hand_over_noise(None, Views(student=BackgroundNoise()))
    with pytest.raises(ConfigError, match="nobody hears"):
        hand_over_noise(noise, Views(student=BackgroundNoise(HeldClips(["a"], [torch.ones(5)], 16_000))))


def test_noise_that_two_splits_hear_stops_the_run(tmp_path: Path) -> None:
    node = folder_of(tmp_path / "noise", {f"rain/{number}.wav": rush(0) for number in range(5)})
    with pytest.raises(LeakageError, match="heard in two splits"):
        prepare_training_noise(node, make_data(tmp_path))


def test_noise_shorter_than_speech_goes_round_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    node = folder_of(
        tmp_path / "noise", {f"rain/{number}.wav": rush(number, 0.1 + 0.1 * number) for number in range(5)}, noise_split="paper"
    )
    noise = prepare_training_noise(node, make_data(tmp_path))
    told = "2 of 5 noises are shorter than the longest clip (0.30 s) and go round: rain/0.wav 0.10 s, rain/1.wav 0.20 s"
    assert describe_short_noises(noise.corpus.bank("train"), 4800) == [told]
    assert told in capsys.readouterr().err
    assert describe_short_noises(noise.corpus.bank("train"), 1000) == []


def test_silent_noise_or_speech_stops_the_run_before_the_first_step(tmp_path: Path) -> None:
    pause = np.concatenate([rush(1), np.zeros(5000), rush(2)])
    with pytest.raises(DataError, match="noise is silent for as long as a clip lasts") as fault:
        prepare_training_noise(folder_of(tmp_path / "a", {"rain/1.wav": pause}, noise_split="paper"), make_data(tmp_path / "speech"))
    assert "rain/1.wav: 0.31 s from 2.00 s" in fault.value.got
    short = np.concatenate([rush(1), np.zeros(4700), rush(2)])
    prepare_training_noise(folder_of(tmp_path / "b", {"rain/1.wav": short}, noise_split="paper"), make_data(tmp_path / "speech"))
    with pytest.raises(DataError, match="Silent speech") as fault:
        prepare_training_noise(synthetic(types=["engine"]), make_data(tmp_path / "silent", silent=13))
    assert "13" in fault.value.got


def test_silence_is_measured_around_the_end() -> None:
    clip = torch.ones(100)
    clip[:20] = clip[90:] = 0.0
    bank = NoiseBank([NoisePart("hum", "hum", 0.0, 1.0)], [clip], 100)
    check_silences(bank, 31)
    with pytest.raises(DataError, match="silent") as fault:
        check_silences(bank, 30)
    assert "hum: 0.30 s from 0.90 s" in fault.value.got


def test_what_is_no_noise_corpus_is_refused(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    with pytest.raises(ConfigError, match="no noise corpus"):
        prepare_noise(OmegaConf.create({"_target_": "ser_kd.data.synthetic_rooms.SyntheticRooms", "rooms": 2}), data)
    with pytest.raises(ConfigError, match="at 8000 Hz"):
        prepare_noise(synthetic(types=["engine"], sample_rate_hz=8000), data)
