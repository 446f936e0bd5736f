"""Audio without labels beside a labelled corpus: it joins training, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_kd.contracts.errors import DataError, LeakageError
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.storage.audio_files import read_audio
from tests.conftest import speech_like


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    folder = tmp_path / "extra"
    (folder / "a").mkdir(parents=True)
    for number in range(6):
        soundfile.write(folder / "a" / f"{number}.flac", speech_like(500 + number, 0.1), 16_000)
    return folder


def make_data(manifest_csv: Path, tmp_path: Path, **options) -> SpeechDataModule:
    return SpeechDataModule(ManifestCsvCorpus(manifest_csv), SpeakerFolds(), cache_dir=tmp_path / "cache", batch_size=4, **options)


def test_they_train_and_change_neither_the_protocol_nor_what_is_judged(manifest_csv: Path, tmp_path: Path, extra: Path) -> None:
    plain, data = make_data(manifest_csv, tmp_path), make_data(manifest_csv, tmp_path, unlabelled_root=extra)
    assert data.fold.fingerprint == plain.fold.fingerprint
    assert (data.fold.validation_set, data.fold.test) == (plain.fold.validation_set, plain.fold.test)
    joined = data.fold.train[len(plain.fold.train) :]
    assert data.fold.train[: len(plain.fold.train)] == plain.fold.train
    assert [u.id for u in joined] == [f"unlabelled/a/{n}.flac" for n in range(6)]
    assert data.class_counts == plain.class_counts
    np.testing.assert_array_equal(data.audio.read("unlabelled/a/3.flac"), read_audio(extra / "a" / "3.flac", 16_000))
    np.testing.assert_array_equal(data.audio.read("clip00.wav"), plain.audio.read("clip00.wav"))
    seen = [name for batch in data.train_dataloader() for name in batch.ids]
    assert sorted(seen) == sorted(u.id for u in data.fold.train)
    indices = dict(zip((u.id for u in data.fold.train), data.dataset("train").class_indices, strict=True))
    assert {indices[u.id] for u in joined} == {-1}
    assert "6 clips without labels" in data.manifest.notes[-1]
    assert data.audit().crossing == []


def test_a_clip_of_the_test_under_another_name_is_a_leak(manifest_csv: Path, tmp_path: Path, extra: Path) -> None:
    test_clip = make_data(manifest_csv, tmp_path).fold.test[0]
    shutil.copy(test_clip.path, extra / "innocent.wav")
    with pytest.raises(LeakageError, match=rf"identical audio: {test_clip.id} \(test\) and unlabelled/innocent.wav \(train\)"):
        make_data(manifest_csv, tmp_path, unlabelled_root=extra).setup()


def test_damaged_files_are_left_out_and_an_empty_folder_is_refused(manifest_csv: Path, tmp_path: Path, extra: Path) -> None:
    (extra / "broken.wav").write_bytes(b"nothing")
    data = make_data(manifest_csv, tmp_path, unlabelled_root=extra)
    assert "unlabelled/broken.wav" in data.manifest.left_out
    assert "unlabelled/broken.wav" not in {u.id for u in data.fold.train}
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"datamodule\.unlabelled_root"):
        make_data(manifest_csv, tmp_path, unlabelled_root=tmp_path / "empty").setup()


def test_training_may_be_cropped_while_whole_clips_are_judged(manifest_csv: Path, tmp_path: Path) -> None:
    data = make_data(manifest_csv, tmp_path, clip_samples=1_000, padding="tile", evaluation_clips="whole")
    batch = next(iter(data.train_dataloader()))
    assert batch.waveforms.shape[1] == 1_000
    judged = next(iter(data.test_dataloader()))
    assert judged.lengths.tolist() == [data.audio.length_of(name) for name in judged.ids]
    np.testing.assert_array_equal(judged.waveforms[0], data.audio.read(judged.ids[0]))
    fitted = make_data(manifest_csv, tmp_path, clip_samples=1_000, padding="tile")
    assert next(iter(fitted.val_dataloader())).waveforms.shape[1] == 1_000
