from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.corpora.ravdess import RavdessCorpus, RavdessDataModule
from ser_kd.data.protocols.by_speaker import RavdessActors5
from tests.conftest import write_ravdess


def test_file_names_tell_everything(ravdess_folder: Path) -> None:
    manifest = RavdessCorpus(ravdess_folder).read_manifest()
    assert len(manifest.utterances) == 1440
    counts = Counter(u.emotion for u in manifest.utterances)
    assert counts["neutral"] == 96
    assert {counts[name] for name in ("calm", "happy", "sad", "angry", "fear", "disgust", "surprise")} == {192}
    one = next(u for u in manifest.utterances if u.id == "03-01-05-02-02-01-08")
    assert (one.speaker, one.emotion, one.text) == ("8", "angry", "Dogs are sitting by the door")
    assert one.groups == {"gender": "female", "intensity": "strong"}


def test_song_video_and_other_files_are_passed_over(tmp_path: Path) -> None:
    write_ravdess(tmp_path, actors=(1,), statements=(1,))
    folder = tmp_path / "Actor_01"
    kept = len(RavdessCorpus(tmp_path).read_manifest().utterances)
    source = next(folder.glob("*.wav"))
    for name in (
        "03-02-01-01-01-01-01.wav",
        "01-01-01-01-01-01-01.wav",
        "notes.wav",
        "03-01-09-01-01-01-01.wav",
        "03-01-01-01-01-01-01.txt",
    ):
        (folder / name).write_bytes(source.read_bytes())
    assert len(RavdessCorpus(tmp_path).read_manifest().utterances) == kept


@pytest.mark.parametrize("root", [None, "nowhere", "."])
def test_a_missing_corpus_tells_licence_and_place(tmp_path: Path, root: str | None) -> None:
    with pytest.raises(DataError, match="RAVDESS was not found") as fault:
        RavdessCorpus(None if root is None else tmp_path / root).read_manifest()
    assert "zenodo.org/record/1188976" in fault.value.remedy
    assert "CC BY-NC-SA" in fault.value.remedy
    assert "Actor_01" in fault.value.expected


def test_three_lines_in_anyones_script(ravdess_folder: Path, tmp_path: Path) -> None:
    data = RavdessDataModule(ravdess_folder, fold=4, cache_dir=tmp_path, batch_size=50)
    data.prepare_data()
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert sum(map(len, batches)) == 900
    assert batches[0].class_names == data.label_set.labels
    assert sum(map(len, data.test_dataloader())) == 240
    assert data.group_values == {"gender": ["female", "male"], "intensity": ["normal", "strong"]}


def test_damaged_clips_are_left_out_or_refused(tmp_path: Path) -> None:
    write_ravdess(tmp_path / "corpus", statements=(1,), seconds=0.02)
    bad = tmp_path / "corpus" / "Actor_09" / "03-01-08-01-01-01-09.wav"
    bad.write_bytes(b"")
    data = RavdessDataModule(tmp_path / "corpus", cache_dir=tmp_path / "cache")
    assert set(data.manifest.left_out) == {bad.stem}
    assert len(data.fold.train) == 419
    with pytest.raises(DataError, match="1 of 720 clips") as fault:
        RavdessDataModule(tmp_path / "corpus", cache_dir=tmp_path / "cache", on_bad_audio="error").setup()
    assert bad.stem in fault.value.got


def test_unknown_label_set(ravdess_folder: Path, tmp_path: Path) -> None:
    data = RavdessDataModule(ravdess_folder, protocol=RavdessActors5("merge8"), cache_dir=tmp_path)
    with pytest.raises(ConfigError, match="no label set 'merge8'"):
        data.setup()


def test_refit_leaves_no_validation(ravdess_folder: Path, tmp_path: Path) -> None:
    data = RavdessDataModule(ravdess_folder, cache_dir=tmp_path)
    data.setup()
    data.refit()
    assert data.val_dataloader() == []
    assert len(data.dataset("train")) == 1140


@pytest.mark.corpus
def test_the_real_corpus_has_its_counts_and_its_identical_pair(real_ravdess: Path, tmp_path: Path) -> None:
    data = RavdessDataModule(real_ravdess, cache_dir=tmp_path)
    data.setup()
    assert len(data.manifest.utterances) == 1440
    assert data.manifest.left_out == {}
    assert data.audit().identical_within == [("03-01-03-01-02-01-07", "03-01-03-01-02-02-07")]
    assert max(data.audio.length_of(u.id) for u in data.manifest.utterances) == 84_351
