from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ser_kd.contracts.errors import DataError
from ser_kd.data.corpora.iemocap import Iemocap, IemocapDataModule
from ser_kd.data.manifest import Corpus, Manifest
from ser_kd.data.protocols.iemocap import IemocapLoso10, IemocapSession5
from tests.iemocap_folder import FOUR, small_turns, write_iemocap

EVALUATIONS = "dialog/EmoEvaluation"
FIRST = "Ses01F_impro01"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Every code twice per speaker, names only."""
    return write_iemocap(tmp_path / "IEMOCAP_full_release")


def check_published_counts(manifest: Manifest) -> None:
    assert len(manifest.utterances) == 10_039
    merged = Iemocap.label_sets["merge4"]
    chosen = [u for u in manifest.utterances if u.emotion is not None and merged.class_of(u.emotion)]
    assert Counter(merged.class_of(u.emotion or "") for u in chosen) == {"neutral": 1708, "happy": 1636, "angry": 1103, "sad": 1084}
    for speaker, counts in FOUR.items():
        found = Counter(merged.class_of(u.emotion or "") for u in chosen if u.speaker == speaker)
        assert tuple(found[name] for name in merged.labels) == counts
    for name, size in (("merge4", 5531), ("drop_excited4", 4490), ("merge5", 7380), ("full6", 7380)):
        chosen = [u for u in manifest.utterances if u.emotion is not None and Iemocap.label_sets[name].class_of(u.emotion)]
        assert len(chosen) == size, name


def test_published_counts(published_iemocap: Manifest) -> None:
    check_published_counts(published_iemocap)
    assert published_iemocap.left_out == {}
    assert published_iemocap.notes == ()


def test_a_turn_is_read_whole(small: Path) -> None:
    corpus = Iemocap(small)
    assert isinstance(corpus, Corpus)
    (one,) = corpus.read_manifest().select(["Ses03F_impro05a_M000"])
    seed = 5 * 22 + 5  # his fifth turn, the third code; five speakers of 22 turns come before him
    assert one.path == small / "Session3/sentences/wav/Ses03F_impro05a/Ses03F_impro05a_M000.wav"
    assert (one.speaker, one.session, one.emotion) == ("Ses03M", "3", "excited")
    assert one.text == f"What was said in turn {seed}: nothing."
    assert one.groups == {"gender": "male", "elicitation": "improvised"}
    written = {"valence": 1 + seed % 9 / 2, "arousal": 1 + seed % 5, "dominance": 1 + seed % 7 / 2}
    assert len(set(written.values())) == 3
    assert {name: getattr(one, name) for name in written} == {name: pytest.approx((value - 1) / 4) for name, value in written.items()}


def test_the_talker_is_the_last_letter_not_the_wearer_of_the_markers(small: Path) -> None:
    for utterance in Iemocap(small).read_manifest().utterances:
        assert utterance.speaker == f"{utterance.id[:5]}{utterance.id.rpartition('_')[2][0]}"
    assert {u.speaker for u in Iemocap(small).read_manifest().utterances if u.id.startswith("Ses01F_")} == {"Ses01F", "Ses01M"}


def test_all_codes_are_there_and_undecided_turns_have_dimensions_only(small: Path) -> None:
    manifest = Iemocap(small).read_manifest()
    counts = Counter(u.emotion for u in manifest.utterances)
    names = ["neutral", "happy", "excited", "angry", "sad", "frustrated", "surprise", "fear", "disgust", "other", None]
    assert counts == dict.fromkeys(names, 20)
    assert all(u.arousal is not None and u.dominance is not None and u.valence is not None for u in manifest.utterances)
    (note,) = manifest.notes
    assert "not the full release of 10,039 turns" in note
    assert "neutral 20 of 1708" in note
    assert "no label 20 of 2507" in note


def test_three_lines_in_anyones_script(tmp_path: Path) -> None:
    write_iemocap(tmp_path / "corpus", seconds=0.02)
    data = IemocapDataModule(tmp_path / "corpus", fold=3, cache_dir=tmp_path / "cache", batch_size=16)
    data.prepare_data()
    data.setup("fit")
    assert (data.fold.speakers("test"), data.fold.speakers("validation")) == (["Ses02M"], ["Ses02F"])
    assert sum(map(len, data.train_dataloader())) == 8 * 10
    batch = next(iter(data.test_dataloader()))
    assert batch.class_names == ("neutral", "happy", "angry", "sad")
    assert batch.texts is not None
    assert batch.texts[0].startswith("What was said")
    assert data.group_values == {"elicitation": ["improvised", "scripted"], "gender": ["female", "male"]}


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("\tneu\t", "\tbor\t", "line 3: unknown emotion code 'bor' of Ses01F_impro01_F000"),
        ("\tneu\t", "\t", "line 3: unreadable: ["),
        (", ", " ", "line 3: unreadable: ["),
        (f"{FIRST}_F000", "Ses01F_impro02_F000", "'Ses01F_impro02_F000' is no turn of this dialogue"),
        (f"{FIRST}_F000", f"{FIRST}_X000", f"'{FIRST}_X000' is no turn of this dialogue"),
        ("[1.5000, 2.0000, 1.5000]", "[7.0000, 2.0000, 1.5000]", "7 of Ses01F_impro01_F000 lies outside the scale of 1 to 5"),
    ],
)
def test_lines_that_cannot_be_used_are_named(small: Path, old: str, new: str, told: str) -> None:
    file = small / "Session1" / EVALUATIONS / f"{FIRST}.txt"
    text = file.read_text().splitlines()
    text[2] = text[2].replace(old, new, 1) if old != ", " else text[2].replace(old, new)
    file.write_text("\n".join(text) + "\n")
    with pytest.raises(DataError, match=r"1 line(s)? of IEMOCAP's evaluations") as fault:
        Iemocap(small).read_manifest()
    assert fault.value.got.startswith(f"Session1/{EVALUATIONS}/{FIRST}.txt, line 3: ")
    assert told in fault.value.got
    assert "xxx" in fault.value.expected


def test_a_session_in_the_folder_of_another_is_told(small: Path) -> None:
    for name in (f"{EVALUATIONS}/Ses02F_impro01.txt", "dialog/transcriptions/Ses02F_impro01.txt"):
        (small / "Session1" / name).write_bytes((small / "Session2" / name).read_bytes())
    with pytest.raises(DataError, match="cannot be used") as fault:
        Iemocap(small).read_manifest()
    assert "Session1/dialog/EmoEvaluation/Ses02F_impro01.txt, line 3: 'Ses02F_impro01_F000' is no turn" in fault.value.got


def test_a_mean_just_outside_the_scale_counts_as_its_end(small: Path) -> None:
    edit(small / "Session1" / EVALUATIONS / f"{FIRST}.txt", "[1.5000, 2.0000, 1.5000]", "[5.5000, 2.0000, 0.5000]")
    manifest = Iemocap(small).read_manifest()
    (one,) = manifest.select([f"{FIRST}_F000"])
    assert (one.arousal, one.dominance, one.valence) == (0.25, 0.0, 1.0)
    assert "2 values of arousal, dominance or valence lie outside 1 to 5" in manifest.notes[-1]
    assert f"5.5 of {FIRST}_F000; 0.5 of {FIRST}_F000" in manifest.notes[-1]


def test_missing_transcriptions_are_named_or_gone_without(small: Path) -> None:
    gone = small / "Session4" / "dialog" / "transcriptions" / "Ses04M_script03_1.txt"
    gone.unlink()
    with pytest.raises(DataError, match="IEMOCAP lacks transcriptions") as fault:
        Iemocap(small).read_manifest()
    assert fault.value.got == f"1 missing: {gone}"
    assert "corpus.transcripts=false" in fault.value.remedy
    manifest = Iemocap(small, transcripts=False).read_manifest()
    assert len(manifest.utterances) == 220
    assert {u.text for u in manifest.utterances} == {None}
    assert len(manifest.notes) == 1


def test_turns_without_a_transcript_are_told(small: Path) -> None:
    file = small / "Session1" / "dialog" / "transcriptions" / f"{FIRST}.txt"
    lines = [line for line in file.read_text().splitlines() if f"{FIRST}_F000" not in line]
    lines += [f"{FIRST}_M000 no time: lost", f"{FIRST}_FXX0 [001.0-002.0]: Not evaluated.", "F: (crosstalk)", ""]
    lines = [line for line in lines if f"{FIRST}_M000 [" not in line]
    file.write_bytes("\n".join(lines).encode() + b"\nM: \x93quoted\x94\n")
    manifest = Iemocap(small).read_manifest()
    assert f"2 turns have no transcript: {FIRST}_F000; {FIRST}_M000" in manifest.notes[-1]
    assert [u.id for u in manifest.utterances if u.text is None] == [f"{FIRST}_F000", f"{FIRST}_M000"]


def test_a_wav_without_a_line_is_left_out_and_a_turn_without_wav_is_damaged_audio(tmp_path: Path) -> None:
    write_iemocap(tmp_path / "corpus", seconds=0.02)
    folder = tmp_path / "corpus" / "Session5" / "sentences" / "wav" / "Ses05M_script01_1"
    (folder / "Ses05M_script01_1_F099.wav").write_bytes((folder / "Ses05M_script01_1_F000.wav").read_bytes())
    (folder / "Ses05M_script01_1_M000.wav").unlink()
    data = IemocapDataModule(tmp_path / "corpus", cache_dir=tmp_path / "cache")
    assert data.manifest.left_out["Ses05M_script01_1_F099"] == "no line in Session5/dialog/EmoEvaluation/Ses05M_script01_1.txt"
    assert "missing" in data.manifest.left_out["Ses05M_script01_1_M000"]
    assert "Ses05M_script01_1_M000.wav" in data.manifest.left_out["Ses05M_script01_1_M000"]
    assert len(data.manifest.left_out) == 2
    assert len(data.manifest.notes) == 1


def test_files_that_must_be_there(small: Path) -> None:
    evaluation = small / "Session2" / EVALUATIONS / "Ses02F_impro02.txt"
    evaluation.unlink()
    with pytest.raises(DataError, match="IEMOCAP lacks files") as fault:
        Iemocap(small, transcripts=False).read_manifest()
    assert fault.value.got == f"1 missing: {evaluation}"
    (small / "Session2" / "sentences" / "wav").rename(small / "Session2" / "sentences" / "waves")
    with pytest.raises(DataError, match="IEMOCAP lacks files") as fault:
        Iemocap(small).read_manifest()
    assert "Session2/sentences/wav/DIALOGUE/TURN.wav" in fault.value.got


@pytest.mark.parametrize("root", [None, "nowhere", "IEMOCAP_full_release/Session3/.."])
def test_a_missing_corpus_tells_licence_and_place(tmp_path: Path, root: str | None) -> None:
    (tmp_path / "IEMOCAP_full_release").mkdir()
    with pytest.raises(DataError, match="IEMOCAP was not found") as fault:
        Iemocap(None if root is None else tmp_path / root).read_manifest()
    assert "sail.usc.edu/iemocap" in fault.value.remedy
    assert "licence" in fault.value.remedy
    assert "Ses01F_impro01_F000" in fault.value.expected


@pytest.mark.parametrize("level", ["..", "Session3", "Session3/sentences/wav"])
def test_the_wrong_level_is_told(small: Path, level: str) -> None:
    with pytest.raises(DataError, match="IEMOCAP was not found") as fault:
        Iemocap((small / level).resolve()).read_manifest()
    assert f"corpus.root={small};" in fault.value.remedy


def test_some_sessions_alone_can_be_read(tmp_path: Path) -> None:
    turns = {speaker: codes for speaker, codes in small_turns(1).items() if speaker[4] in "12"}
    manifest = Iemocap(write_iemocap(tmp_path, turns)).read_manifest()
    assert {u.session for u in manifest.utterances} == {"1", "2"}
    with pytest.raises(DataError, match="lacks speakers"):
        IemocapLoso10().folds(manifest, Iemocap.label_sets["merge4"])


@pytest.mark.corpus
def test_the_real_corpus_has_its_counts(real_iemocap: Path, tmp_path: Path) -> None:
    data = IemocapDataModule(real_iemocap, cache_dir=tmp_path)
    data.setup()
    check_published_counts(data.manifest)
    folds = IemocapSession5().folds(data.manifest, data.label_set)
    assert [len(fold.test) for fold in folds] == [1085, 1023, 1151, 1031, 1241]
    assert not any(note.startswith("this is not the full release") for note in data.manifest.notes)
