from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.data.corpora.msp_podcast import MspPodcast, MspPodcastDataModule
from ser_kd.data.manifest import Corpus
from ser_kd.data.protocols.leakage import audit_fold
from ser_kd.data.protocols.msp_podcast import MspPodcastPartition
from tests.msp_podcast_folder import HIDDEN, write_msp_podcast

CONSENSUS = "Labels/labels_consensus.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names only."""
    return write_msp_podcast(tmp_path / "MSP-PODCAST")


def change(folder: Path, old: str, new: str, file: str = CONSENSUS) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize("test3_in_labels", [False, True])
def test_turns_are_read_as_a_plain_reading_of_the_file_has_them(tmp_path: Path, test3_in_labels: bool) -> None:
    folder = write_msp_podcast(tmp_path, test3_in_labels=test3_in_labels)
    corpus = MspPodcast(folder, "1.11")
    assert isinstance(corpus, Corpus)
    turns = {u.id: u for u in corpus.read_manifest().utterances}
    rows = [row for row in csv.DictReader((folder / CONSENSUS).open()) if row["Split_Set"] != "Test3"]
    assert len(turns) == len(rows) + HIDDEN
    words = "angry sad happy surprise fear disgust contemptuous neutral other"
    names = {**dict(zip("ASHUFDCNO", words.split(), strict=True)), "X": None}
    for row in rows:
        turn = turns[row["FileName"][:-4]]
        assert turn.path == folder / "Audios" / row["FileName"]
        assert turn.emotion == names[row["EmoClass"]]
        found = [turn.arousal, turn.dominance, turn.valence]
        assert found == pytest.approx([(float(row[c]) - 1) / 6 for c in ("EmoAct", "EmoDom", "EmoVal")])
        assert turn.groups["split"] == {"Development": "validation"}.get(row["Split_Set"], row["Split_Set"].lower())
        assert turn.groups.get("gender") == {"Male": "male", "Female": "female"}.get(row["Gender"])
        assert turn.speaker == row["SpkrID"] or (row["SpkrID"] == "Unknown" and row["FileName"][12:16] in turn.speaker)
    hidden = [u for u in turns.values() if u.groups["split"] == "test3"]
    assert len(hidden) == HIDDEN
    assert {(u.emotion, u.arousal, u.dominance, u.valence) for u in hidden} == {(None,) * 4}


def test_unknown_speakers_are_not_one_person_and_their_podcasts_are_told(folder: Path) -> None:
    change(folder, "MSP-PODCAST_0009_0001.wav", "MSP-PODCAST_0004_0099.wav")  # an unknown turn of test1, from a podcast of training
    change(folder, "MSP-PODCAST_0009_0001.wav", "MSP-PODCAST_0004_0099.wav", "Partitions.txt")
    manifest = MspPodcast(folder, "1.11").read_manifest()
    unknown = {u.speaker for u in manifest.utterances if u.groups["split"] != "test3" and not u.speaker.isdecimal()}
    assert unknown == {"unknown of 0004 in train", "unknown of 0009 in test1", "unknown of 0004 in test1"}
    notes = " | ".join(manifest.notes)
    assert "turns of unknown speakers: train 10, test1 10" in notes
    assert "1 podcasts have unknown speakers in two partitions, such as 0004" in notes
    fold = MspPodcastPartition().choose_fold(manifest, MspPodcast.label_sets["primary8"], 0)
    hashes = {u.id: u.id for u in manifest.utterances}
    assert audit_fold(fold, hashes).crossing == []


def test_a_known_speaker_in_two_partitions_is_a_leak(folder: Path) -> None:
    change(folder, ",21,Female,Test1", ",1,Female,Test1")
    manifest = MspPodcast(folder).read_manifest()
    fold = MspPodcastPartition().choose_fold(manifest, MspPodcast.label_sets["four"], 0)
    audit = audit_fold(fold, {u.id: u.id for u in manifest.utterances})
    assert audit.crossing == ["speaker 1 is in train and test"]
    with pytest.raises(LeakageError, match="speaker 1 is in train and test"):
        audit.raise_if_leaking(fold.protocol)


@pytest.mark.parametrize(("test_set", "podcasts"), [("test1", {"0007", "0008", "0009"}), ("test2", {"0010", "0011"})])
def test_the_protocol_takes_the_published_partitions_and_tells_the_release(folder: Path, test_set, podcasts: set[str]) -> None:
    manifest = MspPodcast(folder, 1.11).read_manifest()
    fold = MspPodcastPartition(test_set=test_set).choose_fold(manifest, MspPodcast.label_sets["primary8"], 0)
    assert {u.id[12:16] for u in fold.test} == podcasts
    assert {u.id[12:16] for u in fold.train} == {"0001", "0002", "0003", "0004"}
    assert {u.id[12:16] for u in fold.validation_set} == {"0005", "0006"}
    assert Counter(u.emotion for u in fold.validation_set) == dict.fromkeys(MspPodcast.label_sets["primary8"].labels, 2)
    assert fold.protocol == f"msp_podcast_{test_set}"
    assert "MSP-Podcast release 1.11" in fold.describe()
    assert any("release 1.11" in text for text in fold.to_record().warnings)
    other = MspPodcastPartition(test_set="test1" if test_set == "test2" else "test2")
    assert other.choose_fold(manifest, MspPodcast.label_sets["primary8"], 0).fingerprint != fold.fingerprint


def test_releases_are_compared_and_never_refused(folder: Path) -> None:
    told = " | ".join(MspPodcast(folder, "1.11").read_manifest().notes)
    assert "not the full release 1.11: train 40 of 84,030 turns, train 3 of 1,409 speakers, validation 20 of 19,815 turns" in told
    assert "test1 30 of 12,902 turns" in " ".join(MspPodcast(folder, "1.7").read_manifest().notes)
    assert "all 114 of 207,136 turns" in " ".join(MspPodcast(folder, "1.12").read_manifest().notes)
    assert "not the full release" not in " ".join(MspPodcast(folder, "2.0").read_manifest().notes)
    unknown = MspPodcast(folder).read_manifest()
    assert unknown.release == "release unknown (corpus.release=null)"
    assert any("corpus.release=1.11" in note for note in unknown.notes)


def test_one_part_is_a_corpus_of_its_own(folder: Path) -> None:
    corpus = MspPodcast(folder, part="test2")
    assert corpus.name == "msp_podcast_test2"
    assert {u.groups["split"] for u in corpus.read_manifest().utterances} == {"test2"}
    with pytest.raises(ConfigError, match="no such part"):
        MspPodcast(folder, part="test4")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"corpus\.part=test3"):
        MspPodcastPartition(test_set="test3")  # type: ignore[arg-type]


def test_the_list_of_partitions_fills_in_and_disagreement_is_told(folder: Path) -> None:
    change(folder, "Test2; MSP-PODCAST_0010_0001.wav", "Train; MSP-PODCAST_0010_0001.wav", "Partitions.txt")
    manifest = MspPodcast(folder).read_manifest()
    assert next(u for u in manifest.utterances if u.id == "MSP-PODCAST_0010_0001").groups["split"] == "test2"
    told = "1 turns are in another partition by the list than by the labels, which count: MSP-PODCAST_0010_0001: test2 by the labels, train"
    assert any(told in note for note in manifest.notes)
    rows = [line.rpartition(",")[0] for line in (folder / CONSENSUS).read_text().splitlines()]
    (folder / CONSENSUS).write_text("\n".join(rows))  # a release without Split_Set
    turns = {u.id: u.groups["split"] for u in MspPodcast(folder).read_manifest().utterances}
    assert turns["MSP-PODCAST_0010_0001"] == "train"
    assert Counter(turns.values()) == {"train": 41, "validation": 20, "test1": 30, "test2": 19, "test3": HIDDEN}
    (folder / "Partitions.txt").rename(folder / "Labels" / "Partition(s).txt")
    assert {u.id: u.groups["split"] for u in MspPodcast(folder).read_manifest().utterances} == turns
    (folder / "Labels" / "Partition(s).txt").unlink()
    with pytest.raises(DataError, match=r"Split_Set \(or a file Partitions.txt\)"):
        MspPodcast(folder).read_manifest()


def test_lines_that_cannot_be_used_are_named_together(folder: Path) -> None:
    lines = (folder / CONSENSUS).read_text().splitlines()
    for number, column, value in ((1, 2, "7.2"), (2, 3, "0.5"), (3, 1, "Q"), (4, 4, "high"), (5, 7, "Test9"), (6, 2, "nan"), (7, 2, "")):
        row = lines[number].split(",")
        row[column] = value
        lines[number] = ",".join(row)
    (folder / CONSENSUS).write_text("\n".join(lines))
    with pytest.raises(DataError) as caught:
        MspPodcast(folder).read_manifest()
    got = caught.value.got
    assert caught.value.problem.startswith("6 of 110 lines")
    for part in (
        "line 2: EmoAct of MSP-PODCAST_0001_0001 is 7.2, outside 1 to 7", "line 3: EmoVal", "line 4: unknown emotion code 'Q'",
        "line 5: EmoDom of MSP-PODCAST_0001_0004 is 'high', not a number", "line 6: unknown partition 'Test9'", "line 7: EmoAct",
    ):  # fmt: skip
        assert part in got
    assert "line 8" not in got  # a value that is missing is missing


def test_a_missing_value_stays_missing(folder: Path) -> None:
    lines = (folder / CONSENSUS).read_text().splitlines()
    row = lines[1].split(",")
    row[3] = ""
    (folder / CONSENSUS).write_text("\n".join([lines[0], ",".join(row), *lines[2:]]))
    first = MspPodcast(folder).read_manifest().utterances[0]
    assert first.valence is None
    assert first.arousal is not None


def test_audio_that_no_list_names_is_left_out(folder: Path) -> None:
    (folder / "Audios" / "MSP-PODCAST_0777_0001.wav").touch()
    (folder / "Audios" / "MSP-PODCAST_test3_0777.wav").touch()
    manifest = MspPodcast(folder).read_manifest()
    assert manifest.left_out == {"MSP-PODCAST_0777_0001": "no line in Labels/labels_consensus.csv"}
    assert sum(u.groups["split"] == "test3" for u in manifest.utterances) == HIDDEN + 1


def test_the_folder_is_looked_for(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"corpus\.root is not set"):
        MspPodcast(None).read_manifest()
    with pytest.raises(DataError, match=f"corpus.root={folder}"):
        MspPodcast(folder.parent).read_manifest()
    with pytest.raises(DataError, match=f"corpus.root={folder}"):
        MspPodcast(folder / "Audios").read_manifest()
    with pytest.raises(DataError, match="no such folder"):
        MspPodcast(tmp_path / "nowhere").read_manifest()
    change(folder, "EmoDom", "Dominance")
    with pytest.raises(DataError, match="without EmoDom"):
        MspPodcast(folder).read_manifest()


def test_it_serves_anyones_script(tmp_path: Path) -> None:
    folder = write_msp_podcast(tmp_path / "msp", seconds=0.02)
    data = MspPodcastDataModule(folder, release="1.11", cache_dir=tmp_path / "cache", batch_size=8)
    data.setup()
    assert len(data.fold.train) == 32
    assert next(iter(data.test_dataloader())).class_names == MspPodcast.label_sets["primary8"].labels


def test_a_release_that_its_number_does_not_tell_is_asked_for_in_quotes(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"Release 1\.1 and release 1\.10 are the same number"):
        MspPodcast(folder, release=1.10)
    assert MspPodcast(folder, release="1.10").release == "1.10"
    assert MspPodcast(folder, release=1.11).release == "1.11"


def test_a_part_alone_cannot_be_trained_on(folder: Path) -> None:
    manifest = MspPodcast(folder, part="test2").read_manifest()
    with pytest.raises(ConfigError, match="One part of MSP-Podcast") as fault:
        MspPodcastPartition().choose_fold(manifest, MspPodcast.label_sets["primary8"], 0)
    assert "ser-kd evaluate run=FOLDER corpus=msp_podcast corpus.part=test2" in fault.value.remedy


def test_a_part_that_is_not_there_is_told(folder: Path) -> None:
    rows = (folder / CONSENSUS).read_text().splitlines()
    (folder / CONSENSUS).write_text("\n".join(row for row in rows if not row.endswith("Test1")))
    (folder / "Partitions.txt").unlink()
    for audio in (folder / "Audios").glob("*_test3_*"):
        audio.unlink()
    for part, published in (("test1", "Test1"), ("test3", "Test3")):
        with pytest.raises(DataError, match=f"The folder has no turn of {published}") as fault:
            MspPodcast(folder, part=part).read_manifest()  # type: ignore[arg-type]
        assert "Train 40 turns, Development 20 turns, Test2 20 turns" in fault.value.got
    with pytest.raises(DataError, match="no turn of Test1 that can be used") as fault:
        MspPodcastPartition().choose_fold(MspPodcast(folder).read_manifest(), MspPodcast.label_sets["primary8"], 0)
    assert "protocol.test_set=test2" in fault.value.remedy


def test_labels_on_another_scale_are_told(folder: Path) -> None:
    header, *rows = (folder / CONSENSUS).read_text().splitlines()
    cells = [row.split(",") for row in rows]
    for row in cells:
        row[2:5] = [f"{(float(value) - 1) / 6:.4f}" for value in row[2:5]]
    (folder / CONSENSUS).write_text("\n".join([header, *map(",".join, cells)]))
    with pytest.raises(DataError) as fault:
        MspPodcast(folder).read_manifest()
    assert "all values lie in 0 to 1" in fault.value.remedy
