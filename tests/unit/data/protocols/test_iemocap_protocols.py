from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import random_split

from ser_kd.contracts.errors import ConfigError, DataError, LeakageError
from ser_kd.data.corpora.iemocap import Iemocap
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.by_speaker import SpeakerFolds
from ser_kd.data.protocols.iemocap import IemocapLoso10, IemocapSession5
from ser_kd.data.protocols.leakage import audit_fold
from ser_kd.data.protocols.protocol_fold import SPLITS, ProtocolFold
from ser_kd.data.protocols.superb import SHARED, Superb5, split_as_superb
from tests.iemocap_folder import FOUR, write_superb_metadata

MERGED = Iemocap.label_sets["merge4"]
CODES = {"neutral": "neu", "happy": "hap", "excited": "exc", "angry": "ang", "sad": "sad"}
SESSIONS = [["Ses01F", "Ses01M"], ["Ses02F", "Ses02M"], ["Ses03F", "Ses03M"], ["Ses04F", "Ses04M"], ["Ses05F", "Ses05M"]]


def sizes(fold: ProtocolFold) -> tuple[int, ...]:
    return tuple(len(fold.split(name)) for name in SPLITS)


def hashes(manifest: Manifest, **equal: str) -> dict[str, str]:
    return {u.id: equal.get(u.id, u.id) for u in manifest.utterances}


def superb_turns(manifest: Manifest) -> dict[str, str]:
    return {u.id: CODES[u.emotion] for u in manifest.utterances if u.emotion in CODES}


@pytest.fixture(scope="module")
def metadata(published_iemocap: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_superb_metadata(tmp_path_factory.mktemp("s3prl") / "meta_data", superb_turns(published_iemocap))


def test_one_speaker_is_tested_and_the_partner_validates(published_iemocap: Manifest) -> None:
    folds = IemocapLoso10().folds(published_iemocap, MERGED)
    assert [fold.speakers("test") for fold in folds] == [[speaker] for speaker in FOUR]
    assert [fold.class_counts("test") for fold in folds] == [list(counts) for counts in FOUR.values()]
    partner = {a: b for pair in SESSIONS for a, b in (pair, reversed(pair))}
    for fold in folds:
        (speaker,) = fold.speakers("test")
        assert fold.speakers("validation") == [partner[speaker]]
        assert fold.speakers("train") == [name for name in FOUR if name not in (speaker, partner[speaker])]
        assert not {u.session for u in fold.train} & {u.session for u in fold.test + fold.validation_set}
        assert sum(sizes(fold)) == 5531
        assert audit_fold(fold, hashes(published_iemocap)).crossing == []
    assert sizes(folds[0]) == (4446, 557, 528)


def test_one_session_is_tested_and_the_next_validates(published_iemocap: Manifest) -> None:
    folds = IemocapSession5().folds(published_iemocap, MERGED)
    assert [fold.speakers("test") for fold in folds] == SESSIONS
    assert [fold.speakers("validation") for fold in folds] == [*SESSIONS[1:], SESSIONS[0]]
    assert [sizes(fold) for fold in folds] == [
        (3423, 1023, 1085), (3357, 1151, 1023), (3349, 1031, 1151), (3259, 1241, 1031), (3205, 1085, 1241),
    ]  # fmt: skip
    for fold in folds:
        audit_fold(fold, hashes(published_iemocap)).raise_if_leaking(fold.protocol)


def test_the_woman_of_the_next_session_alone_may_validate(published_iemocap: Manifest) -> None:
    folds = IemocapSession5(validation="next_speaker").folds(published_iemocap, MERGED)
    assert [fold.speakers("validation") for fold in folds] == [["Ses02F"], ["Ses03F"], ["Ses04F"], ["Ses05F"], ["Ses01F"]]
    assert "Ses02M" in folds[0].speakers("train")
    assert sizes(folds[0]) == (3423 + 542, 481, 1085)


def test_partners_need_sessions_of_several_speakers(published_iemocap: Manifest) -> None:
    with pytest.raises(DataError, match="nobody to validate on in fold 0") as fault:
        IemocapSession5(validation="session_partner").folds(published_iemocap, MERGED)
    assert "Ses01F, Ses01M: alone in session 1" in fault.value.got
    unknown = Manifest("toy", tuple(_without_session(u) for u in published_iemocap.utterances))
    with pytest.raises(DataError, match="nobody to validate on") as fault:
        SpeakerFolds(10, validation="session_partner").folds(unknown, MERGED)
    assert "clips without a session" in fault.value.got


def _without_session(utterance):

    return replace(utterance, session=None)


@pytest.mark.parametrize("name", ["drop_excited4", "merge5", "full6"])
def test_other_label_sets(published_iemocap: Manifest, name: str) -> None:
    folds = IemocapLoso10(name).folds(published_iemocap, Iemocap.label_sets[name])
    assert sum(len(fold.test) for fold in folds) == {"drop_excited4": 4490}.get(name, 7380)
    assert all(all(fold.class_counts("test")) for fold in folds)


def test_fingerprints_differ(published_iemocap: Manifest, metadata: Path) -> None:
    protocols = [IemocapLoso10(), IemocapLoso10(validation="next_fold"), IemocapSession5(), Superb5(metadata)]
    assert len({protocol.folds(published_iemocap, MERGED)[0].fingerprint for protocol in protocols}) == 4


def test_superb_has_the_published_sizes(published_iemocap: Manifest, metadata: Path) -> None:
    folds = Superb5(metadata).folds(published_iemocap, MERGED)
    assert [sizes(fold) for fold in folds] == [
        (3556, 890, 1085), (3606, 902, 1023), (3504, 876, 1151), (3600, 900, 1031), (3432, 858, 1241),
    ]  # fmt: skip
    assert [fold.class_counts("test") for fold in folds] == [
        [384, 278, 229, 194], [362, 327, 137, 197], [320, 286, 240, 305], [258, 303, 327, 143], [384, 442, 170, 245],
    ]  # fmt: skip


@pytest.mark.parametrize("session", [1, 5])
def test_superb_splits_as_s3prl_does(published_iemocap: Manifest, metadata: Path, session: int) -> None:
    """The second form: what s3prl's expert does with the same file, by torch's global generator."""
    rows = json.loads((metadata / f"Session{session}" / "train_meta_data.json").read_text())["meta_data"]
    state = torch.get_rng_state()
    torch.manual_seed(0)
    size = int((1 - 0.2) * len(rows))
    train, validation = random_split(rows, [size, len(rows) - size])
    torch.set_rng_state(state)
    fold = Superb5(metadata.parent).choose_fold(published_iemocap, MERGED, session - 1)
    assert torch.equal(torch.get_rng_state(), state)  # ours leaves the global generator alone
    assert {u.id for u in fold.train} == {Path(row["path"]).stem for row in train}
    assert {u.id for u in fold.validation_set} == {Path(row["path"]).stem for row in validation}


def test_superbs_validation_overlaps_and_says_so(published_iemocap: Manifest, metadata: Path) -> None:
    fold = Superb5(metadata).choose_fold(published_iemocap, MERGED, 1)
    assert fold.speakers("validation") == fold.speakers("train")
    assert fold.to_record().warnings == [SHARED]
    assert fold.to_record().validation == "random_clips"
    assert f"warning: {SHARED}" in fold.describe()
    audit_fold(fold, hashes(published_iemocap)).raise_if_leaking("superb5")


def test_the_audit_allows_superb_nothing_else(published_iemocap: Manifest, metadata: Path) -> None:

    fold = Superb5(metadata).choose_fold(published_iemocap, MERGED, 0)
    plain = replace(fold, validation_shares_speakers=False)
    with pytest.raises(LeakageError, match="leaks"):
        audit_fold(plain, hashes(published_iemocap)).raise_if_leaking("another")
    tested = replace(fold, validation_set=(*fold.validation_set, fold.test[0]), test=fold.test[1:])
    assert audit_fold(tested, hashes(published_iemocap)).crossing == [f"speaker {fold.test[0].speaker} is in validation and test"]
    twins = {fold.train[0].id: "same", fold.validation_set[0].id: "same"}
    (crossing,) = audit_fold(fold, hashes(published_iemocap, **twins)).crossing
    assert crossing.startswith("identical audio: ")
    both = replace(fold, validation_set=(*fold.validation_set, fold.train[0]))
    assert any(text.startswith("file ") for text in audit_fold(both, hashes(published_iemocap)).crossing)


def test_speakers_withheld_under_superb_do_not_validate_either(published_iemocap: Manifest, metadata: Path) -> None:
    fold = Superb5(metadata).choose_fold(published_iemocap, MERGED, 0)
    part = fold.withhold(1, 2)
    withheld = set(part.to_record().withheld)
    assert withheld
    assert withheld.isdisjoint(part.speakers("train"))
    assert withheld.isdisjoint(part.speakers("validation"))
    assert part.test == fold.test


def test_a_damaged_clip_leaves_the_others_of_superb_where_they_were(published_iemocap: Manifest, metadata: Path) -> None:
    whole = Superb5(metadata).choose_fold(published_iemocap, MERGED, 0)
    gone = whole.train[7].id
    fold = Superb5(metadata).choose_fold(published_iemocap.without({gone: "damaged"}), MERGED, 0)
    assert [u.id for u in fold.train] == [u.id for u in whole.train if u.id != gone]
    assert fold.validation_set == whole.validation_set


def test_superb_is_refused_without_metadata(tmp_path: Path, published_iemocap: Manifest) -> None:
    with pytest.raises(ConfigError, match="needs the order of s3prl's metadata") as fault:
        Superb5(None)
    assert "protocol.superb_metadata" in fault.value.expected
    assert "github.com/s3prl/s3prl" in fault.value.remedy
    with pytest.raises(DataError, match="cannot be read") as fault:
        Superb5(tmp_path).folds(published_iemocap, MERGED)
    assert fault.value.got == f"{tmp_path / 'Session1' / 'train_meta_data.json'}: no such file"


@pytest.mark.parametrize("text", ["", "[]", '{"meta_data": [{"path": "a.wav"}]}', '{"meta_data": 3}', '{"meta_data": ["a"]}'])
def test_damaged_metadata_is_told(tmp_path: Path, published_iemocap: Manifest, text: str) -> None:
    (tmp_path / "Session1").mkdir()
    (tmp_path / "Session1" / "train_meta_data.json").write_text(text)
    with pytest.raises(DataError, match="cannot be read") as fault:
        Superb5(tmp_path).folds(published_iemocap, MERGED)
    assert "train_meta_data.json: " in fault.value.got


def test_metadata_of_other_turns_or_labels_is_refused(tmp_path: Path, published_iemocap: Manifest) -> None:
    turns = superb_turns(published_iemocap)
    first, second, *_ = turns
    changed = {**{name: code for name, code in turns.items() if name != first}, second: "sad" if turns[second] != "sad" else "ang"}
    changed["Ses01F_impro09_F000"] = "neu"
    with pytest.raises(DataError, match="Session1 do not fit together") as fault:
        Superb5(write_superb_metadata(tmp_path, changed)).folds(published_iemocap, MERGED)
    assert fault.value.got.startswith("3 differences")
    for told in ("Ses01F_impro09_F000: not a turn of this corpus", f"{first}: not in the metadata", f"{second}: '"):
        assert told in fault.value.got


def test_places_are_divided_as_by_torchs_global_generator() -> None:
    for clips in (2, 10, 4446):
        state = torch.get_rng_state()
        torch.manual_seed(0)
        order = torch.randperm(clips).tolist()
        torch.set_rng_state(state)
        train, validation = split_as_superb(clips)
        assert train + validation == order
        assert len(train) == int(0.8 * clips)
