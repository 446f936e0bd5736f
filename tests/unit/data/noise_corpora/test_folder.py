import csv

import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.noise_corpora.folder import FolderNoise
from ser_kd.data.noise_corpora.noise_corpus import NOISE_SPLITS
from ser_kd.data.noise_corpora.split_audit import audit_noise_splits
from ser_kd.storage.audio_files import write_wav
from tests.conftest import speech_like


def write(path, seed, seconds=0.3):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, speech_like(seed, seconds), 16_000)


def test_subfolders_are_types_and_many_files_are_shared_out_whole(tmp_path):
    for number in range(10):
        write(tmp_path / "free-sound" / f"noise-{number:04d}.wav", number)
    for number in range(2):
        write(tmp_path / "sound-bible" / "long" / f"{number}.wav", 20 + number, seconds=2.0)
    corpus = FolderNoise(tmp_path)
    assert corpus.types == ("free-sound", "sound-bible")
    counts = {split: [corpus.bank(split, [name]).types for name in corpus.types] for split in NOISE_SPLITS}
    assert {split: [len(types) for types in found] for split, found in counts.items()} == {
        "train": [6, 2],
        "validation": [2, 2],
        "test": [2, 2],
    }
    files = [set(corpus.bank(split, ["free-sound"]).names) for split in NOISE_SPLITS]
    assert len(set().union(*files)) == 10
    assert [round(part.start_s, 2) for part in corpus.bank("test", ["sound-bible"]).parts] == [1.62, 1.62]
    audit = audit_noise_splits(corpus)
    audit.raise_if_leaking()
    assert audit.describe()[0].startswith("noise free-sound: train 6 recordings, 1.8 s; validation 2 recordings")


def test_a_copy_under_another_name_is_found(tmp_path):
    for number in range(10):
        write(tmp_path / "a" / f"{number}.wav", 1)
    assert len(audit_noise_splits(FolderNoise(tmp_path)).shared) == 6


def test_esc50_is_sorted_by_its_table(tmp_path):
    rows = []
    for number in range(12):
        name = f"{number % 5 + 1}-{100 + number}-A-{number % 2}.wav"
        write(tmp_path / "audio" / name, number)
        rows.append({"filename": name, "fold": number % 5 + 1, "target": number % 2, "category": ("rain", "engine")[number % 2]})
    (tmp_path / "meta").mkdir()
    with (tmp_path / "meta" / "esc50.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    corpus = FolderNoise(tmp_path, held_out=["engine"])
    assert corpus.types == ("engine", "rain")
    assert corpus.heard_types == ("rain",)
    assert len(corpus.bank("train")) == 4
    (tmp_path / "meta" / "esc50.csv").write_text("filename,category\nother.wav,rain\n")
    with pytest.raises(DataError, match="names none of the files"):
        FolderNoise(tmp_path)
    (tmp_path / "meta" / "esc50.csv").write_text("name,kind\nother.wav,rain\n")
    with pytest.raises(DataError, match="cannot be used"):
        FolderNoise(tmp_path)


def test_what_cannot_be_used_is_left_out_with_a_warning(tmp_path):
    for number in range(4):
        write(tmp_path / f"{number}.wav", number, seconds=1.0)
    (tmp_path / "broken.wav").write_text("no audio")
    corpus = FolderNoise(tmp_path, noise_split="paper")
    assert corpus.types == ("other",)
    with pytest.warns(UserWarning, match="broken.wav"):
        assert len(corpus.bank("train")) == 4


def test_a_folder_without_noises_is_told(tmp_path):
    with pytest.raises(DataError, match="no audio for the noises"):
        FolderNoise(tmp_path)
    with pytest.raises(DataError, match="no audio") as fault:
        FolderNoise(tmp_path / "nowhere")
    assert "no such folder" in fault.value.got
    write(tmp_path / "rain" / "1.wav", 1)
    with pytest.raises(ConfigError, match="Unknown type of noise: snow") as config_fault:
        FolderNoise(tmp_path, types=["snow"])
    assert "rain" in config_fault.value.expected
