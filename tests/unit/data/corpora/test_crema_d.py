from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.data.corpora.crema_d import CremaD, CremaDDataModule
from ser_kd.data.manifest import Corpus, Manifest
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from tests.conftest import CREMA_D_ACTORS, write_crema_d

SILENT = "1076_MTI_SAD_XX"


def check_published_counts(manifest: Manifest) -> None:
    assert set(manifest.left_out) == {SILENT}
    assert len(manifest.utterances) == 7442 - 1
    counts = Counter(u.emotion for u in manifest.utterances)
    assert counts == {"neutral": 1087, "angry": 1271, "disgust": 1271, "fear": 1271, "happy": 1271, "sad": 1271 - 1}
    assert {u.speaker for u in manifest.utterances} == set(map(str, CREMA_D_ACTORS))
    assert Counter({u.speaker: u.groups["gender"] for u in manifest.utterances}.values()) == {"male": 48, "female": 43}
    assert len({u.text for u in manifest.utterances}) == 12
    assert {u.groups["intensity"] for u in manifest.utterances} == {"low", "medium", "high", "unspecified"}


def test_file_names_tell_everything(crema_d_names: Path) -> None:
    corpus = CremaD(crema_d_names)
    assert isinstance(corpus, Corpus)
    manifest = corpus.read_manifest()
    check_published_counts(manifest)
    one = next(u for u in manifest.utterances if u.id == "1007_IEO_ANG_MD")
    assert (one.speaker, one.emotion, one.text) == ("1007", "angry", "It's eleven o'clock")
    assert one.groups == {"gender": "female", "intensity": "medium"}


def test_the_one_file_with_a_single_x_belongs_to_it(crema_d_names: Path) -> None:
    (one,) = CremaD(crema_d_names).read_manifest().select(["1040_ITH_SAD_X"])
    assert one.groups["intensity"] == "unspecified"


def test_the_silent_file_is_left_out_where_it_is_there(tmp_path: Path) -> None:
    write_crema_d(tmp_path, actors=(1075, 1076), sentences=("MTI",), seconds=0)
    manifest = CremaD(tmp_path).read_manifest()
    assert manifest.left_out == {SILENT: "published without sound"}
    assert len(manifest.utterances) == 11
    (tmp_path / "AudioWAV" / f"{SILENT}.wav").unlink()
    assert CremaD(tmp_path).read_manifest().left_out == {}


def test_files_of_other_names_are_left_out_and_listed(tmp_path: Path) -> None:
    write_crema_d(tmp_path, actors=(1001,), sentences=("DFA",), seconds=0)
    foreign = {"1000_DFA_ANG_XX", "1092_DFA_ANG_XX", "1001_XYZ_ANG_XX", "1001_DFA_BOR_XX", "1001_DFA_ANG_ZZ", "1001_DFA_ANG", "notes"}
    for name in foreign:
        (tmp_path / "AudioWAV" / f"{name}.wav").touch()
    (tmp_path / "AudioWAV" / "1001_DFA_ANG_XX.mp3").touch()
    manifest = CremaD(tmp_path).read_manifest()
    assert len(manifest.utterances) == 6
    assert set(manifest.left_out) == foreign


def test_gender_is_unknown_without_the_table(tmp_path: Path) -> None:
    write_crema_d(tmp_path, actors=(1001, 1002), sentences=("DFA",), seconds=0)
    known = CremaD(tmp_path / "AudioWAV").read_manifest()
    assert {u.speaker: u.groups["gender"] for u in known.utterances} == {"1001": "male", "1002": "female"}
    table = tmp_path / "VideoDemographics.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:2]) + "\n")
    partly = CremaD(tmp_path).read_manifest()
    assert {u.speaker: u.groups.get("gender") for u in partly.utterances} == {"1001": "male", "1002": None}
    table.unlink()
    assert {tuple(u.groups) for u in CremaD(tmp_path).read_manifest().utterances} == {("intensity",)}


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("ActorID,Age\n1001,51\n", "1001: no Sex"),
        ("Actor,Sex\n1001,Male\n", "no ActorID: male"),
        ("ActorID,Sex\n1001,Man\n", "1001: man"),
        ("ActorID,Sex\n", "no rows"),
    ],
)
def test_a_damaged_table_of_actors_is_told(tmp_path: Path, text: str, got: str) -> None:
    write_crema_d(tmp_path, actors=(1001,), sentences=("DFA",), seconds=0)
    (tmp_path / "VideoDemographics.csv").write_text(text)
    with pytest.raises(DataError, match="does not tell the actors' gender") as fault:
        CremaD(tmp_path).read_manifest()
    assert got in fault.value.got


@pytest.mark.parametrize("root", [None, "nowhere", "."])
def test_a_missing_corpus_tells_licence_and_place(tmp_path: Path, root: str | None) -> None:
    with pytest.raises(DataError, match="CREMA-D was not found") as fault:
        CremaD(None if root is None else tmp_path / root).read_manifest()
    assert "github.com/CheyneyComputerScience/CREMA-D" in fault.value.remedy
    assert "ODbL" in fault.value.remedy
    assert "git-lfs" in fault.value.remedy
    assert "1001_DFA_ANG_XX" in fault.value.expected


def test_five_speaker_folds(crema_d_names: Path) -> None:
    manifest = CremaD(crema_d_names).read_manifest()
    folds = SpeakerFolds(5).folds(manifest, CremaD.label_sets["full6"])
    assert sorted(len(fold.speakers("test")) for fold in folds) == [18, 18, 18, 18, 19]
    assert sum(len(fold.test) for fold in folds) == 7441
    for fold in folds:
        assert not set(fold.speakers("train")) & set(fold.speakers("test"))
        assert 1450 <= len(fold.test) <= 1560


def test_three_lines_in_anyones_script(tmp_path: Path) -> None:
    write_crema_d(tmp_path / "corpus", actors=tuple(range(1001, 1011)), sentences=("DFA", "IEO"), seconds=0.02)
    data = CremaDDataModule(tmp_path / "corpus", fold=1, cache_dir=tmp_path / "cache", batch_size=32)
    data.prepare_data()
    data.setup("fit")
    assert sum(map(len, data.train_dataloader())) == 6 * 22
    batch = next(iter(data.test_dataloader()))
    assert batch.class_names == ("neutral", "happy", "sad", "angry", "fear", "disgust")
    assert batch.texts is not None
    assert set(batch.texts) == {"Don't forget a jacket", "It's eleven o'clock"}
    assert data.group_values == {"gender": ["female", "male"], "intensity": ["high", "low", "medium", "unspecified"]}


@pytest.mark.corpus
def test_the_real_corpus_has_its_counts(real_crema_d: Path, tmp_path: Path) -> None:
    data = CremaDDataModule(real_crema_d, cache_dir=tmp_path)
    data.setup()
    check_published_counts(data.manifest)
    assert data.label_set.name == "full6"
