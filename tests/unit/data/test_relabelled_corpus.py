from __future__ import annotations

from pathlib import Path

import pytest

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.corpora.emodb import EmoDb
from ser_kd.data.corpora.ravdess import RavdessCorpus
from ser_kd.data.manifest import Corpus, Manifest
from ser_kd.data.relabelled_corpus import RelabelledCorpus

MERGE7 = RavdessCorpus.label_sets["merge7"]


class Listed:
    """A corpus of one clip per label."""

    name = "listed"
    default_label_set = "own"

    def __init__(self, *labels: str | None) -> None:
        self.labels = labels
        self.label_sets = {"own": LabelSet("own", ("a", "b"))}

    def read_manifest(self) -> Manifest:
        clips = tuple(Utterance(f"c{n}", Path(f"c{n}"), "s", emotion=label) for n, label in enumerate(self.labels))
        return Manifest(self.name, clips, "mine", {"broken": "no sound"})


def relabel(*labels: str | None, classes: LabelSet = MERGE7, own: LabelSet | None = None) -> dict[str, str | None]:
    corpus = RelabelledCorpus(Listed(*labels), classes, own)
    return {str(label): u.emotion for label, u in zip(labels, corpus.read_manifest().utterances, strict=True)}


def test_aliases_meet_by_name_whatever_the_order_of_the_classes() -> None:
    assert relabel("Anger", "happiness", "fearful", "surprised", "sadness") == {
        "Anger": "angry", "happiness": "happy", "fearful": "fear", "surprised": "surprise", "sadness": "sad",
    }  # fmt: skip


def test_calm_is_neutral_where_the_model_learnt_it_so_and_only_there() -> None:
    assert relabel("calm", "sad") == {"calm": "neutral", "sad": "sad"}
    assert relabel("calm", "sad", classes=RavdessCorpus.label_sets["full8"]) == {"calm": "calm", "sad": "sad"}
    assert relabel("calm", "sad", classes=RavdessCorpus.label_sets["drop_calm7"]) == {"calm": None, "sad": "sad"}
    plain = LabelSet("plain", ("neutral", "sad"))
    assert relabel("calm", "sad", classes=plain) == {"calm": None, "sad": "sad"}
    assert relabel("calm", "sad", classes=plain, own=MERGE7) == {"calm": "neutral", "sad": "sad"}


def test_a_label_set_of_the_corpus_may_merge_and_drop_first() -> None:
    own = LabelSet("own", ("angry", "sad"), merges={"wut": "angry"}, dropped=frozenset({"happy"}))
    assert relabel("Wut", "happy", "sad", "neutral", own=own) == {"Wut": "angry", "happy": None, "sad": "sad", "neutral": None}


def test_clips_without_a_class_stay_and_are_counted() -> None:
    corpus = RelabelledCorpus(Listed("boredom", "sad", None, "bored", "calm"), LabelSet("two", ("sad", "angry")))
    assert isinstance(corpus, Corpus)
    manifest = corpus.read_manifest()
    assert len(manifest.utterances) == 5
    assert (manifest.licence, manifest.left_out) == ("mine", {"broken": "no sound"})
    assert corpus.mapping == {"sad": "sad"}
    assert corpus.count_unmapped() == {"bored": 2, "calm": 1, "no label": 1}
    assert corpus.count_unmapped(left_out={"c0"}) == {"bored": 1, "calm": 1, "no label": 1}
    assert corpus.labels_by_id() == {"c0": "bored", "c1": "sad", "c2": "no label", "c3": "bored", "c4": "calm"}


def test_emodb_for_a_model_of_ravdess(emodb_folder: Path) -> None:
    corpus = RelabelledCorpus(EmoDb(emodb_folder), MERGE7)
    assert corpus.count_unmapped() == {"bored": 81}
    assert set(corpus.mapping) == set(MERGE7.labels) - {"surprise"}
    assert corpus.label_sets[corpus.default_label_set].labels == MERGE7.labels


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(DataError, match="no label in common") as fault:
        RelabelledCorpus(Listed("bored", "contempt", None), MERGE7)
    assert fault.value.got == "bored, contemptuous"
    with pytest.raises(DataError, match="no label in common"):
        RelabelledCorpus(Listed(None), MERGE7)
