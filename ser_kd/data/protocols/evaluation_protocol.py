"""What a protocol is: classes, folds and held-out validation, with a fingerprint over all of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest, describe_left_out
from ser_kd.data.protocols.annotated_dimensions import count_dimensions, list_unjudgeable
from ser_kd.data.protocols.protocol_fold import SPLITS, ProtocolFold, sort_naturally
from ser_kd.storage.hashing import hash_data

Validation = Literal["next_fold", "next_speaker", "two_actors", "session_partner", "test_fold"]


class EvaluationProtocol(ABC):
    """Who is trained on, validated on and tested on, fold by fold; speakers never cross a split unless asked for by name.

    Args:
        name: Name in records and print-outs.
        label_set: Name of one of the corpus' label sets; None takes the corpus' default.
        validation: ``next_fold``: the test speakers of the next fold validate. ``next_speaker``: only the first of them does, the others
            train. ``two_actors``: only one man and one woman of them do. ``session_partner``: the other speakers of the tested
            speakers' sessions validate. ``test_fold``: the test fold itself selects the model, as some published systems do;
            for comparison only, recorded and printed as such.
        targets: ``classes``: every clip with a class. ``dimensions``: every clip of which arousal, dominance or valence is annotated,
            whatever its emotion; there are no classes then, and ``label_set`` is not asked. ``both``: clips with either; what a clip
            lacks is masked.

    Raises:
        ConfigError: If ``validation`` or ``targets`` is none of these.
    """

    def __init__(self, name: str, label_set: str | None = None, validation: Validation = "next_fold", targets: Targets = "classes") -> None:
        if validation not in get_args(Validation):
            raise ConfigError(
                "Unknown way to hold out validation.",
                expected=f"one of {', '.join(get_args(Validation))}",
                got=str(validation),
                remedy="set protocol.validation to one of them",
            )
        if targets not in get_args(Targets):
            raise ConfigError(
                "Unknown targets.",
                expected=f"one of {', '.join(get_args(Targets))}",
                got=str(targets),
                remedy="set protocol.targets to one of them",
            )
        self.name = name
        self.label_set = label_set
        self.validation = validation
        self.targets: Targets = targets

    @abstractmethod
    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        """Give the test speakers of each fold.

        Args:
            utterances: All labelled utterances of the corpus.

        Raises:
            DataError: If the corpus lacks what the protocol needs (speakers, sessions).
        """

    def folds(self, manifest: Manifest, label_set: LabelSet) -> list[ProtocolFold]:
        """Give every fold.

        Args:
            manifest: The corpus; utterances without a target are left out.
            label_set: Its classes; ``NoClasses`` where targets are dimensions.

        Raises:
            DataError: If a split of a fold would be empty, a label is outside the label set, or no dimension is annotated at all.
        """
        labelled = self.choose_clips(manifest, label_set)
        groups = self.test_speakers(labelled)
        parts = [self.split_fold(labelled, groups, fold) for fold in range(len(groups))]
        return self.seal(parts, label_set)

    def choose_clips(self, manifest: Manifest, label_set: LabelSet) -> list[Utterance]:
        """Give the utterances that have a target.

        Args:
            manifest: The corpus.
            label_set: Its classes.

        Raises:
            DataError: If a label is outside the label set, or dimensions are to be learned and none is annotated.
        """
        with_class = [u.emotion is not None and label_set.class_of(u.emotion) is not None for u in manifest.utterances]
        if self.targets == "classes":
            return [u for u, has_class in zip(manifest.utterances, with_class, strict=True) if has_class]
        if not any(u.is_annotated for u in manifest.utterances):
            raise DataError(
                f"Corpus '{manifest.corpus}' has no arousal, dominance or valence.",
                expected="clips with one of the three annotated at least: iemocap, demo, or a manifest with such columns",
                got=f"{len(manifest.utterances)} usable clips, none annotated. {describe_left_out(manifest.left_out)}".strip(),
                remedy="set protocol.targets=classes, or choose another corpus",
            )
        return [u for u, has_class in zip(manifest.utterances, with_class, strict=True) if u.is_annotated or has_class]

    def fingerprint_clips(self, parts: Sequence[Mapping[str, Sequence[Utterance]]], label_set: LabelSet) -> str:
        """Hash classes, ids, labels and splits of all folds; where dimensions are learned their values too."""

        def row(utterance: Utterance) -> tuple[object, ...]:
            label = None if utterance.emotion is None else label_set.class_of(utterance.emotion)
            return (utterance.id, label) if self.targets == "classes" else (utterance.id, label, *utterance.dimensions)

        rows = [[sorted((row(u) for u in part[name]), key=lambda found: str(found[0])) for name in part] for part in parts]
        return hash_data([list(label_set.labels), rows] if self.targets == "classes" else [self.targets, list(label_set.labels), rows])

    def seal(self, parts: Sequence[dict[str, tuple[Utterance, ...]]], label_set: LabelSet) -> list[ProtocolFold]:
        """Check the splits of all folds and put the fingerprint on them.

        Raises:
            DataError: If a split is empty.
        """
        for fold, part in enumerate(parts):
            empty = [name for name in SPLITS if not part[name]]
            if empty:
                raise DataError(
                    f"Fold {fold} of protocol '{self.name}' has no clips for {' and '.join(empty)}.",
                    expected="clips in training, validation and test (at least 3 speakers with next_fold validation)",
                    got=", ".join(f"{name} {len(part[name])}" for name in SPLITS),
                    remedy="use fewer folds, a corpus with more speakers, or another protocol (ser-kd list protocol)",
                )
        fingerprint = self.fingerprint_clips([{name: part[name] for name in SPLITS} for part in parts], label_set)
        warnings: tuple[str, ...] = ()
        selection = "validation"
        if self.validation == "test_fold":
            selection = "test"
            warnings = ("the model is selected on the test fold: the result is optimistic and compares only with papers that do the same",)
        return [
            ProtocolFold(
                self.name, fingerprint, fold, len(parts), self.validation, label_set,
                part["train"], part["validation"], part["test"], selection, warnings + self.list_unjudgeable(part), targets=self.targets,
            )
            for fold, part in enumerate(parts)
        ]  # fmt: skip

    def list_unjudgeable(self, part: Mapping[str, Sequence[Utterance]]) -> tuple[str, ...]:
        """List which dimensions have no concordance in which split; nothing where only classes are learned."""
        if self.targets == "classes":
            return ()
        return tuple(list_unjudgeable({name: count_dimensions(utterances) for name, utterances in part.items()}))

    def choose_fold(self, manifest: Manifest, label_set: LabelSet, fold: int) -> ProtocolFold:
        """Give one fold.

        Raises:
            ConfigError: If there is no such fold.
        """
        folds = self.folds(manifest, label_set)
        if not 0 <= fold < len(folds):
            raise ConfigError(
                f"Protocol '{self.name}' has no fold {fold}.",
                expected=f"a fold from 0 to {len(folds) - 1}",
                got=f"fold={fold}",
                remedy="set fold to one of them",
            )
        return folds[fold]

    def split_fold(self, utterances: Sequence[Utterance], groups: Sequence[frozenset[str]], fold: int) -> dict[str, tuple[Utterance, ...]]:
        """Split the utterances of one fold by speaker."""
        test = groups[fold]
        following = groups[(fold + 1) % len(groups)]
        if self.validation == "test_fold":
            validation = test
        elif self.validation == "two_actors":
            validation = _one_man_one_woman(utterances, following, fold)
        elif self.validation == "next_speaker":
            validation = frozenset(sort_naturally(following)[:1])
        elif self.validation == "session_partner":
            validation = _find_session_partners(utterances, test, fold)
        else:
            validation = following
        known = frozenset().union(*groups)
        return {
            "train": tuple(u for u in utterances if u.speaker in known and u.speaker not in test | validation),
            "validation": tuple(u for u in utterances if u.speaker in validation),
            "test": tuple(u for u in utterances if u.speaker in test),
        }


def _one_man_one_woman(utterances: Sequence[Utterance], following: frozenset[str], fold: int) -> frozenset[str]:
    gender = {u.speaker: u.groups.get("gender", "") for u in utterances if u.speaker in following}
    chosen = []
    for wanted in ("male", "female"):
        candidates = sort_naturally({speaker for speaker, found in gender.items() if found == wanted})
        if not candidates:
            raise DataError(
                f"validation=two_actors finds no {wanted} speaker in the fold after fold {fold}.",
                expected="one man and one woman among the next fold's speakers",
                got=", ".join(f"{speaker}: {found or 'gender unknown'}" for speaker, found in gender.items()) or "no speaker",
                remedy="use protocol.validation=next_fold",
            )
        chosen.append(candidates[0])
    return frozenset(chosen)


def _find_session_partners(utterances: Sequence[Utterance], test: frozenset[str], fold: int) -> frozenset[str]:
    sessions = {u.session for u in utterances if u.speaker in test}
    partners = {u.speaker for u in utterances if u.session is not None and u.session in sessions and u.speaker not in test}
    if not partners or None in sessions:
        raise DataError(
            f"validation=session_partner finds nobody to validate on in fold {fold}.",
            expected="a session for each clip, with a speaker who is not tested on",
            got=f"speakers {', '.join(sort_naturally(test))}: "
            + ("clips without a session" if None in sessions else f"alone in session {', '.join(sorted(filter(None, sessions)))}"),
            remedy="use protocol.validation=next_fold",
        )
    return frozenset(partners)
