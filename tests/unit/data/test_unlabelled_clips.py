"""Audio without labels beside a labelled corpus: it joins training, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.data.corpora.audio_folder import AudioFolder
from ser_kd.data.corpora.manifest_csv import ManifestCsvCorpus
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.data.protocols.unlabelled import UnlabelledSplit
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


def add_empty(folder: Path) -> None:
    """Write a silent clip, one with an offset and the dither of 16 bits, and one of 10 ms."""
    noise = np.random.default_rng(0)
    soundfile.write(folder / "zero.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "offset.wav", 0.25 + noise.integers(-1, 2, 16_000) / 32_768, 16_000)
    soundfile.write(folder / "click.wav", speech_like(7, 0.01), 16_000)
    soundfile.write(folder / "quiet.wav", 0.01 * speech_like(8, 0.1), 16_000)


def test_silent_and_very_short_clips_are_told_and_left_out(manifest_csv: Path, tmp_path: Path, extra: Path) -> None:
    add_empty(extra)
    plain, data = make_data(manifest_csv, tmp_path), make_data(manifest_csv, tmp_path, unlabelled_root=extra)
    joined = [u.id for u in data.fold.train[len(plain.fold.train) :]]
    assert joined == [*(f"unlabelled/a/{n}.flac" for n in range(6)), "unlabelled/quiet.wav"]
    told, counted = data.manifest.notes[-2:]
    assert "1 shorter than 0.1 s, 2 silent; left out (datamodule.on_unlabelled_silence=keep" in told
    assert counted.startswith("7 clips without labels")
    assert data.manifest.left_out["unlabelled/zero.wav"] == "silent"
    again = make_data(manifest_csv, tmp_path, unlabelled_root=extra)
    assert [u.id for u in again.fold.train] == [u.id for u in data.fold.train]  # as it was kept


def test_silent_clips_train_where_they_are_to(manifest_csv: Path, tmp_path: Path, extra: Path) -> None:
    add_empty(extra)
    data = make_data(manifest_csv, tmp_path, unlabelled_root=extra, on_unlabelled_silence="keep")
    assert {"unlabelled/zero.wav", "unlabelled/offset.wav", "unlabelled/click.wav"} < {u.id for u in data.fold.train}
    assert "2 silent; train all the same" in data.manifest.notes[-2]
    with pytest.raises(DataError, match=r"3 clips without labels are silent or too short") as fault:
        make_data(manifest_csv, tmp_path, unlabelled_root=extra, on_unlabelled_silence="error").setup()
    assert "unlabelled/click.wav (shorter than 0.1 s)" in fault.value.got
    with pytest.raises(ConfigError, match="skip or error or keep"):
        make_data(manifest_csv, tmp_path, on_unlabelled_silence="drop")


def test_a_corpus_without_labels_leaves_silence_out_too(tmp_path: Path, extra: Path) -> None:
    add_empty(extra)
    for number in range(20):
        soundfile.write(extra / f"{number}.wav", speech_like(40 + number, 0.1), 16_000)
    data = SpeechDataModule(AudioFolder(extra), UnlabelledSplit(targets="dimensions"), cache_dir=tmp_path / "cache")
    used = {u.id for split in ("train", "validation", "test") for u in data.fold.split(split)}
    assert not used & {"zero.wav", "offset.wav", "click.wav"}
    assert "quiet.wav" in used
    assert "2 silent" in data.manifest.notes[-1]


def test_annotated_clips_stay_though_they_are_silent(manifest_csv: Path, tmp_path: Path) -> None:
    clip = next(iter(ManifestCsvCorpus(manifest_csv).read_manifest().utterances))
    soundfile.write(clip.path, np.zeros(16_000), 16_000)
    data = make_data(manifest_csv, tmp_path)
    assert clip.id in {u.id for u in data.manifest.utterances}
