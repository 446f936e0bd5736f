from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.data.corpora.emodb import EmoDb, EmoDbDataModule
from ser_kd.data.manifest import Corpus, Manifest, describe_left_out
from ser_kd.data.protocols.by_speaker import LeaveOneSpeakerOut, SpeakerFolds
from tests.conftest import write_emodb

EMOTIONS = {"angry": 127, "bored": 81, "disgust": 46, "fear": 69, "happy": 71, "sad": 62, "neutral": 79}
SPEAKERS = {"3": 49, "8": 58, "9": 43, "10": 38, "11": 55, "12": 35, "13": 61, "14": 69, "15": 56, "16": 71}
MEN = {"3", "10", "11", "12", "15"}


def check_published_counts(manifest: Manifest) -> None:
    assert Counter(u.emotion for u in manifest.utterances) == EMOTIONS
    assert Counter(u.speaker for u in manifest.utterances) == SPEAKERS
    assert {u.speaker for u in manifest.utterances if u.groups["gender"] == "male"} == MEN
    assert len({u.text for u in manifest.utterances}) == 10
    assert manifest.left_out == {}


def test_file_names_tell_everything(emodb_folder: Path) -> None:
    corpus = EmoDb(emodb_folder)
    assert isinstance(corpus, Corpus)
    manifest = corpus.read_manifest()
    check_published_counts(manifest)
    one = next(u for u in manifest.utterances if u.id == "08b02Wa")
    assert (one.speaker, one.emotion, one.groups) == ("8", "angry", {"gender": "female"})
    assert one.text == "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter."


@pytest.mark.parametrize(
    ("letter", "emotion"),
    [("W", "angry"), ("L", "bored"), ("E", "disgust"), ("A", "fear"), ("F", "happy"), ("T", "sad"), ("N", "neutral")],
)
def test_letters_stand_for_german_words(tmp_path: Path, letter: str, emotion: str) -> None:
    (tmp_path / f"16b10{letter}d.wav").touch()
    assert EmoDb(tmp_path).read_manifest().utterances[0].emotion == emotion


def test_the_folder_of_the_clips_may_be_given_itself(emodb_folder: Path) -> None:
    assert EmoDb(emodb_folder / "wav").read_manifest().utterances == EmoDb(emodb_folder).read_manifest().utterances


def test_files_of_other_names_are_left_out_and_listed(tmp_path: Path) -> None:
    write_emodb(tmp_path, seconds=0, most=1)
    kept = len(EmoDb(tmp_path).read_manifest().utterances)
    foreign = {"07a01Fa", "03a03Fa", "03a01Xa", "03a01F", "03a01Fab", "notes"}
    for name in foreign:
        (tmp_path / "wav" / f"{name}.wav").touch()
    (tmp_path / "wav" / "03a01Fa.txt").touch()
    (tmp_path / "wav" / "._03a01Fa.wav").touch()
    manifest = EmoDb(tmp_path).read_manifest()
    assert len(manifest.utterances) == kept
    assert set(manifest.left_out) == foreign
    told = describe_left_out(manifest.left_out)
    assert told.startswith("6 clips cannot be used and are left out: 03a01F: not named as a clip")
    assert told.endswith("and 1 more")


@pytest.mark.parametrize("root", [None, "nowhere", "."])
def test_a_missing_corpus_tells_licence_and_place(tmp_path: Path, root: str | None) -> None:
    with pytest.raises(DataError, match="EmoDB was not found") as fault:
        EmoDb(None if root is None else tmp_path / root).read_manifest()
    assert "emodb.bilderbar.info" in fault.value.remedy
    assert "licence" in fault.value.remedy
    assert "03a01Fa" in fault.value.expected
    assert (str(tmp_path) if root else "not set") in fault.value.got


def test_one_speaker_is_left_out_by_default(emodb_folder: Path) -> None:
    manifest = EmoDb(emodb_folder).read_manifest()
    folds = LeaveOneSpeakerOut().folds(manifest, EmoDb.label_sets["full7"])
    assert [(fold.speakers("test"), len(fold.test)) for fold in folds] == [([name], count) for name, count in SPEAKERS.items()]
    assert {len(fold.speakers("train")) for fold in folds} == {8}


@pytest.mark.parametrize(("label_set", "sizes"), [("full7", [106, 107, 104, 107, 111]), ("shared6", None)])
def test_speaker_folds(emodb_folder: Path, label_set: str, sizes: list[int] | None) -> None:
    folds = SpeakerFolds(5).folds(EmoDb(emodb_folder).read_manifest(), EmoDb.label_sets[label_set])
    tested = [len(fold.test) for fold in folds]
    assert sum(tested) == 535 - (0 if label_set == "full7" else 81)
    assert sizes is None or tested == sizes
    assert sum((Counter(fold.speakers("test")) for fold in folds), Counter()) == dict.fromkeys(SPEAKERS, 1)


def test_three_lines_in_anyones_script(emodb_folder: Path, tmp_path: Path) -> None:
    data = EmoDbDataModule(emodb_folder, fold=9, cache_dir=tmp_path, batch_size=50)
    data.prepare_data()
    data.setup("fit")
    assert sum(map(len, data.train_dataloader())) == 535 - SPEAKERS["16"] - SPEAKERS["3"]
    assert sum(map(len, data.test_dataloader())) == SPEAKERS["16"]
    assert data.label_set.labels == ("neutral", "happy", "sad", "angry", "fear", "disgust", "bored")
    assert data.group_values == {"gender": ["female", "male"]}


@pytest.mark.corpus
def test_the_real_corpus_has_its_counts(real_emodb: Path, tmp_path: Path) -> None:
    data = EmoDbDataModule(real_emodb, cache_dir=tmp_path)
    data.setup()
    check_published_counts(data.manifest)
    assert len(data.fold.test) == SPEAKERS["3"]
