from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.corpora.audio_folder import AudioFolder, AudioFolderDataModule
from ser_kd.data.manifest import Corpus
from ser_kd.data.protocols.unlabelled import UnlabelledSplit
from tests.conftest import speech_like

LABELS = ("neutral", "happy")


def write_folder(root: Path, folders: int = 10, files: int = 2) -> Path:
    for number in range(folders):
        (root / f"talk{number}" / "deep").mkdir(parents=True)
        for file in range(files):
            place = root / f"talk{number}" / ("deep" if file else "") / f"part{file}.{('wav', 'flac', 'ogg')[file % 3]}"
            soundfile.write(place, speech_like(10 * number + file, 0.1), 16_000)
    return root


def test_every_file_is_a_clip_without_label(tmp_path: Path) -> None:
    root = write_folder(tmp_path, folders=3)
    soundfile.write(root / "alone.wav", speech_like(99, 0.1), 16_000)
    (root / "notes.txt").write_text("no audio")
    corpus = AudioFolder(root, labels=["Neutral", "happiness"])
    assert isinstance(corpus, Corpus)
    clips = {u.id: u for u in corpus.read_manifest().utterances}
    assert sorted(clips) == ["alone.wav", *sorted(f"talk{n}/{file}" for n in range(3) for file in ("deep/part1.flac", "part0.wav"))]
    assert clips["talk1/deep/part1.flac"].speaker == "talk1"
    assert clips["alone.wav"].speaker == "alone.wav"
    assert {u.emotion for u in clips.values()} == {None}
    assert corpus.label_sets["teacher"].labels == LABELS
    by_file = AudioFolder(root, speaker="file").read_manifest().utterances
    assert len({u.speaker for u in by_file}) == 7


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"corpus\.root is not set"):
        AudioFolder(None).read_manifest()
    with pytest.raises(DataError, match="no such files"):
        AudioFolder(tmp_path).read_manifest()
    with pytest.raises(ConfigError, match="Unknown speakers"):
        AudioFolder(tmp_path, speaker="clip")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"set corpus\.labels="):
        _ = AudioFolder(tmp_path).label_sets


def test_speakers_are_held_out_by_a_hash_of_their_names(tmp_path: Path) -> None:
    corpus = AudioFolder(write_folder(tmp_path, folders=20), labels=LABELS)
    manifest, label_set = corpus.read_manifest(), corpus.label_sets["teacher"]
    (fold,) = UnlabelledSplit(0.2).folds(manifest, label_set)
    assert [len(fold.speakers(split)) for split in ("train", "validation", "test")] == [12, 4, 4]
    assert sum(len(fold.split(split)) for split in ("train", "validation", "test")) == len(manifest.utterances)
    assert not set(fold.speakers("train")) & set(fold.speakers("validation") + fold.speakers("test"))
    assert UnlabelledSplit(0.2).folds(manifest, label_set)[0].fingerprint == fold.fingerprint
    for targets in ("classes", "dimensions"):
        (told,) = UnlabelledSplit(0.2, targets).folds(manifest, label_set)[0].warnings
        assert "figures are agreement with the teacher" in told
    assert fold.speakers("test") != [f"talk{n}" for n in range(4)]
    (smaller,) = UnlabelledSplit(0.05).folds(manifest, label_set)
    assert set(smaller.speakers("test")) < set(fold.speakers("test"))


def test_too_little_to_hold_out(tmp_path: Path) -> None:
    corpus = AudioFolder(write_folder(tmp_path, folders=2), labels=LABELS)
    with pytest.raises(DataError, match=r"corpus\.speaker=file"):
        UnlabelledSplit().folds(corpus.read_manifest(), corpus.label_sets["teacher"])
    with pytest.raises(ConfigError, match=r"held_out=0\.5"):
        UnlabelledSplit(0.5)


def test_it_serves_anyones_script(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "talks")
    data = AudioFolderDataModule(root, labels=LABELS, cache_dir=tmp_path / "cache", batch_size=4)
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch.classes is not None
    assert batch.classes.tolist() == [-1] * 4
    assert batch.class_names == LABELS
