"""Protocols that learn arousal, dominance and valence, alone or beside classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ser_kd.contracts.emotions import LabelSet, NoClasses
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.all_clips import AllClips
from ser_kd.data.protocols.annotated_dimensions import list_unjudgeable
from ser_kd.data.protocols.by_speaker import SpeakerFolds

PAIR = LabelSet("pair", ("angry", "sad"), dropped=frozenset({"other"}))


def make_manifest(**changes: object) -> Manifest:
    """Six speakers with four clips: labelled, labelled and annotated, dropped and annotated, nothing at all."""
    clips = []
    for s in range(6):
        plain = Utterance(f"s{s}c0", Path(f"s{s}c0.wav"), str(s), "angry")
        clips.append(plain)
        clips.append(replace(plain, id=f"s{s}c1", path=Path(f"s{s}c1.wav"), emotion="sad", arousal=0.1 * s, valence=0.5))
        clips.append(replace(plain, id=f"s{s}c2", path=Path(f"s{s}c2.wav"), emotion="other", arousal=0.9 - 0.1 * s, valence=0.5))
        clips.append(replace(plain, id=f"s{s}c3", path=Path(f"s{s}c3.wav"), emotion=None))
    return Manifest("toy", tuple(replace(clip, **changes) for clip in clips))


def clips_of(protocol: SpeakerFolds, labels: LabelSet) -> set[str]:
    fold = protocol.folds(make_manifest(), labels)[0]
    return {u.id[-2:] for name in ("train", "validation", "test") for u in fold.split(name)}


def test_targets_decide_which_clips_are_in():
    assert clips_of(SpeakerFolds(3), PAIR) == {"c0", "c1"}
    assert clips_of(SpeakerFolds(3, targets="dimensions"), NoClasses()) == {"c1", "c2"}
    assert clips_of(SpeakerFolds(3, targets="both"), PAIR) == {"c0", "c1", "c2"}


def test_the_fingerprint_holds_the_annotations_only_where_they_are_learned():
    def prints(manifest: Manifest) -> list[str]:
        protocols = (SpeakerFolds(3), SpeakerFolds(3, targets="both"), SpeakerFolds(3, targets="dimensions"))
        return [p.folds(manifest, NoClasses() if p.targets == "dimensions" else PAIR)[0].fingerprint for p in protocols]

    manifest = make_manifest()
    first = manifest.utterances[1]
    other = replace(manifest, utterances=tuple(replace(u, arousal=0.77) if u.id == first.id else u for u in manifest.utterances))
    same, changed = prints(manifest), prints(other)
    assert len(set(same)) == 3
    assert [a == b for a, b in zip(same, changed, strict=True)] == [True, False, False]


def test_record_and_words_tell_what_is_annotated_and_what_cannot_be_judged():
    fold = SpeakerFolds(3, targets="dimensions").folds(make_manifest(), NoClasses())[0]
    record = fold.to_record()
    assert (record.targets, record.classes, record.class_counts["test"]) == ("dimensions", [], [])
    assert record.dimension_counts["test"]["dominance"] == {"clips": 0}
    assert record.dimension_counts["test"]["valence"] == {"clips": 4, "mean": 0.5, "deviation": 0.0}
    assert record.dimension_counts["test"]["arousal"]["deviation"] > 0
    assert fold.warnings[0].startswith("dominance: annotated nowhere")
    assert "train, validation and test: valence is always 0.500, so its CCC is undefined (NaN) there" in fold.warnings
    text = fold.describe()
    assert "dominance not annotated, valence 0.500 ± 0.000" in text
    assert "no classes" in text
    assert "angry" not in text
    assert fold.withhold(1, 2).targets == fold.refit().targets == "dimensions"
    both = SpeakerFolds(3, targets="both").folds(make_manifest(), PAIR)[0]
    assert "angry 2, sad 2; arousal" in both.describe()


def test_all_clips_of_another_corpus():
    (fold,) = AllClips(targets="dimensions").folds(make_manifest(), NoClasses())
    assert (len(fold.test), fold.targets) == (12, "dimensions")
    assert any("valence is always" in text for text in fold.warnings)


def test_what_cannot_be_is_told():
    with pytest.raises(ConfigError, match="Unknown targets"):
        SpeakerFolds(3, targets="emotions")
    for targets in ("dimensions", "both"):
        with pytest.raises(DataError, match="no arousal, dominance or valence"):
            SpeakerFolds(3, targets=targets).folds(make_manifest(arousal=None, valence=None), NoClasses())


def test_what_is_constant_everywhere_is_told_in_one_line():
    counts = {"clips": 4, "mean": 0.5, "deviation": 0.0}
    varied = {**counts, "deviation": 0.1}
    every = {split: {"arousal": counts, "dominance": counts, "valence": varied} for split in ("train", "validation", "test")}
    (told,) = list_unjudgeable(every)
    assert told == "train, validation and test: arousal and dominance are always 0.500, so their CCC is undefined (NaN) there"
    (told,) = list_unjudgeable({**every, "train": {"arousal": varied, "dominance": varied, "valence": varied}})
    assert told.startswith("validation and test: arousal and dominance are always 0.500")
