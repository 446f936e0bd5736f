from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.corpora.ravdess import RavdessCorpus
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.all_clips import AllClips
from ser_kd.data.protocols.by_session import SessionFolds
from ser_kd.data.protocols.by_speaker import (
    LeaveOneSpeakerOut,
    ListedSpeakers,
    RavdessActors5,
    RavdessEmobox6,
    SpeakerFolds,
)
from ser_kd.data.protocols.leakage import audit_fold
from ser_kd.data.protocols.official import OfficialSplit

PAIR = LabelSet("pair", ("angry", "sad"))


def make_manifest(speakers: int = 6, clips: int = 4, **groups: str) -> Manifest:
    return Manifest(
        "toy",
        tuple(
            Utterance(
                f"s{s}c{c}",
                Path(f"s{s}c{c}.wav"),
                str(s),
                ("angry", "sad")[c % 2],
                session=str(s // 2),
                groups={"gender": ("female", "male")[s % 2], **groups},
            )
            for s in range(speakers)
            for c in range(clips)
        ),
    )


@pytest.fixture(scope="module")
def ravdess(ravdess_folder: Path) -> Manifest:
    return RavdessCorpus(ravdess_folder).read_manifest()


@pytest.mark.parametrize(
    ("protocol", "sizes"),
    [
        (RavdessActors5(), [(840, 300, 300)] * 3 + [(900, 240, 300), (900, 300, 240)]),
        (RavdessEmobox6(), [(960, 240, 240)] * 6),
        (LeaveOneSpeakerOut(), [(1320, 60, 60)] * 24),
        (SpeakerFolds(4), [(720, 360, 360)] * 4),
    ],
)
def test_published_sizes_and_disjoint_speakers(ravdess: Manifest, protocol, sizes) -> None:
    labels = RavdessCorpus.label_sets["merge7"]
    folds = protocol.folds(ravdess, labels)
    assert [tuple(len(fold.split(name)) for name in ("train", "validation", "test")) for fold in folds] == sizes
    for fold in folds:
        ids = [u.id for name in ("train", "validation", "test") for u in fold.split(name)]
        assert sorted(ids) == sorted(u.id for u in ravdess.utterances)
        speakers = [set(fold.speakers(name)) for name in ("train", "validation", "test")]
        assert not speakers[0] & speakers[1]
        assert not speakers[0] & speakers[2]
        assert not speakers[1] & speakers[2]
    tested = [u.id for fold in folds for u in fold.test]
    assert sorted(tested) == sorted(u.id for u in ravdess.utterances)
    assert [f.fingerprint for f in protocol.folds(ravdess, labels)] == [folds[0].fingerprint] * len(folds)


def test_actors5_names_the_published_actors(ravdess: Manifest) -> None:
    fold = RavdessActors5().choose_fold(ravdess, RavdessCorpus.label_sets["merge7"], 0)
    assert fold.speakers("test") == ["2", "5", "14", "15", "16"]
    assert fold.speakers("validation") == ["3", "6", "7", "13", "18"]


@pytest.mark.parametrize(("name", "neutral", "clips"), [("full8", 20, 300), ("merge7", 60, 300), ("drop_calm7", 20, 260)])
def test_label_sets_of_ravdess(ravdess: Manifest, name: str, neutral: int, clips: int) -> None:
    fold = RavdessActors5(name).choose_fold(ravdess, RavdessCorpus.label_sets[name], 0)
    assert len(fold.test) == clips
    assert fold.class_counts("test")[0] == neutral
    assert sum(fold.class_counts("test")) == clips


def test_fingerprint_follows_ids_labels_and_split(ravdess: Manifest) -> None:
    sets = RavdessCorpus.label_sets
    prints = {
        RavdessActors5().choose_fold(ravdess, sets["merge7"], 0).fingerprint,
        RavdessActors5().choose_fold(ravdess, sets["full8"], 0).fingerprint,
        RavdessActors5(validation="two_actors").choose_fold(ravdess, sets["merge7"], 0).fingerprint,
        RavdessEmobox6().choose_fold(ravdess, sets["merge7"], 0).fingerprint,
        RavdessActors5().choose_fold(ravdess.without({"03-01-01-01-01-01-01": "damaged"}), sets["merge7"], 0).fingerprint,
    }
    assert len(prints) == 5


def test_two_actors_validate_and_the_rest_of_the_next_fold_trains(ravdess: Manifest) -> None:
    fold = RavdessActors5(validation="two_actors").choose_fold(ravdess, RavdessCorpus.label_sets["merge7"], 0)
    assert fold.speakers("validation") == ["3", "6"]
    assert {"7", "13", "18"} <= set(fold.speakers("train"))
    assert len(fold.train) == 1020


def test_each_training_speaker_is_withheld_once_and_groups_are_alike(ravdess: Manifest) -> None:
    fold = RavdessActors5().choose_fold(ravdess, RavdessCorpus.label_sets["merge7"], 0)
    parts = [fold.withhold(group, 3) for group in (1, 2, 3)]
    withheld = [set(part.to_record().withheld) for part in parts]
    assert set.union(*withheld) == set(fold.speakers("train"))
    assert sum(map(len, withheld)) == 14
    for part, names in zip(parts, withheld, strict=True):
        assert names.isdisjoint(part.speakers("train"))
        assert len(part.train) + len(part.withheld) == 840
        assert (part.fingerprint, part.validation_set, part.test) == (fold.fingerprint, fold.validation_set, fold.test)
        assert 2 <= sum(int(name) % 2 for name in names) <= 3  # men have odd numbers
        assert f"withheld   {len(part.withheld):>5} clips" in part.describe()
    for group, groups in ((0, 3), (4, 3), (1, 1), (1, 15)):
        with pytest.raises(ConfigError, match="cannot be withheld"):
            fold.withhold(group, groups)


def test_two_actors_without_gender_is_refused() -> None:
    manifest = make_manifest(gender="")
    with pytest.raises(DataError, match="no male speaker"):
        SpeakerFolds(3, validation="two_actors").folds(manifest, PAIR)


def test_validation_on_the_test_fold_is_said() -> None:
    fold = SpeakerFolds(3, validation="test_fold").choose_fold(make_manifest(), PAIR, 1)
    assert fold.selection == "test"
    assert fold.validation_set == fold.test
    assert "selected on the test fold" in fold.describe()
    assert fold.to_record().warnings
    audit_fold(fold, {u.id: u.id for u in make_manifest().utterances}).raise_if_leaking("toy")


def test_refit_trains_on_both() -> None:
    fold = SpeakerFolds(3).choose_fold(make_manifest(), PAIR, 0)
    refit = fold.refit()
    assert len(refit.train) == len(fold.train) + len(fold.validation_set)
    assert refit.validation_set == ()
    assert refit.selection == "refit"
    assert refit.fingerprint == fold.fingerprint


def test_fold_out_of_range() -> None:
    with pytest.raises(ConfigError, match="no fold 3") as fault:
        SpeakerFolds(3).choose_fold(make_manifest(), PAIR, 3)
    assert "from 0 to 2" in fault.value.expected
    with pytest.raises(ConfigError, match="no fold -1"):
        SpeakerFolds(3).choose_fold(make_manifest(), PAIR, -1)


def test_too_few_speakers() -> None:
    with pytest.raises(DataError, match="too few speakers"):
        SpeakerFolds(5).folds(make_manifest(speakers=3), PAIR)
    with pytest.raises(DataError, match="no clips for train"):
        SpeakerFolds(2).folds(make_manifest(speakers=2), PAIR)


def test_speaker_folds_balance_clips() -> None:
    sizes = [20, 10, 10, 5, 5, 5, 5]
    manifest = Manifest("toy", tuple(Utterance(f"{s}-{c}", Path(f"{s}-{c}"), str(s), "sad") for s, n in enumerate(sizes) for c in range(n)))
    folds = SpeakerFolds(3).folds(manifest, PAIR)
    assert sorted(len(f.test) for f in folds) == [20, 20, 20]


def test_sessions_are_tested_whole() -> None:
    folds = SessionFolds().folds(make_manifest(), PAIR)
    assert [f.speakers("test") for f in folds] == [["0", "1"], ["2", "3"], ["4", "5"]]
    without = Manifest("toy", (Utterance("a", Path("a"), "1", "sad"),))
    with pytest.raises(DataError, match="need a session"):
        SessionFolds().folds(without, PAIR)


def test_unknown_validation() -> None:
    with pytest.raises(ConfigError, match="hold out validation"):
        SpeakerFolds(3, validation="random")  # type: ignore[arg-type]


def test_listed_speaker_that_is_not_there() -> None:
    with pytest.raises(DataError, match="lacks speakers") as fault:
        ListedSpeakers("mine", [["0", "1"], ["9", "2"]]).folds(make_manifest(), PAIR)
    assert fault.value.got == "none of 9"


def hashes(manifest: Manifest, **equal: str) -> dict[str, str]:
    return {u.id: equal.get(u.id, u.id) for u in manifest.utterances}


def test_audit_finds_a_planted_shared_speaker() -> None:
    manifest = make_manifest()
    fold = ListedSpeakers("mine", [["0", "1"], ["1", "2"], ["3"]]).choose_fold(manifest, PAIR, 0)
    audit = audit_fold(fold, hashes(manifest))
    assert any("speaker 1 is in validation and test" in text for text in audit.crossing)
    with pytest.raises(LeakageError, match="leaks") as fault:
        audit.raise_if_leaking("mine")
    assert "speaker 1" in fault.value.got


def test_audit_finds_identical_audio_across_and_within() -> None:
    manifest = make_manifest()
    fold = SpeakerFolds(3).choose_fold(manifest, PAIR, 0)
    train, test = fold.train[0].id, fold.test[0].id
    crossing = audit_fold(fold, hashes(manifest, **{train: "same", test: "same"}))
    assert crossing.crossing == [f"identical audio: {' and '.join(f'{i} ({s})' for i, s in sorted([(train, 'train'), (test, 'test')]))}"]
    other = fold.train[1].id
    within = audit_fold(fold, hashes(manifest, **{train: "same", other: "same"}))
    assert within.crossing == []
    assert within.identical_within == [tuple(sorted((train, other)))]


def test_official_split_is_taken_and_audited() -> None:
    names = ("train", "train", "validation", "test")
    clips = tuple(Utterance(f"c{i}", Path(f"c{i}"), f"s{i}", "sad", groups={"split": names[i]}) for i in range(4))
    fold = OfficialSplit().choose_fold(Manifest("toy", clips), PAIR, 0)
    assert [len(fold.split(n)) for n in ("train", "validation", "test")] == [2, 1, 1]
    leaking = (*clips, Utterance("c4", Path("c4"), "s0", "sad", groups={"split": "test"}))
    fold = OfficialSplit().choose_fold(Manifest("toy", leaking), PAIR, 0)
    assert audit_fold(fold, {f"c{i}": str(i) for i in range(5)}).crossing == ["speaker s0 is in train and test"]
    with pytest.raises(DataError, match="does not cover"):
        OfficialSplit().folds(make_manifest(), PAIR)
    with pytest.raises(ConfigError, match="one fold"):
        OfficialSplit().choose_fold(Manifest("toy", clips), PAIR, 1)


def test_another_corpus_is_judged_whole() -> None:
    manifest = make_manifest()
    (fold,) = AllClips().folds(manifest, PAIR)
    assert [u.id for u in fold.test] == [u.id for u in manifest.utterances]
    assert (fold.train, fold.validation_set, fold.selection) == ((), (), "none")
    audit_fold(fold, hashes(manifest)).raise_if_leaking("toy")
    other = Manifest("toy", (*manifest.utterances[1:], Utterance("unlabelled", Path("u"), "1")))
    (fewer,) = AllClips().folds(other, PAIR)
    assert len(fewer.test) == len(manifest.utterances) - 1
    assert fewer.fingerprint != fold.fingerprint
    with pytest.raises(DataError, match="No clip of corpus 'toy' can be judged"):
        AllClips().folds(Manifest("toy", (Utterance("unlabelled", Path("u"), "1"),)), PAIR)
    with pytest.raises(ConfigError, match="no fold 1"):
        AllClips().choose_fold(manifest, PAIR, 1)
