"""What a protocol is: classes, folds, held-out validation; and one fold of it, with a fingerprint and a print-out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.records import ProtocolRecord
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest, describe_left_out
from ser_kd.data.protocols.annotated_dimensions import count_dimensions, describe_dimensions, list_unjudgeable
from ser_kd.storage.hashing import hash_data

Validation = Literal["next_fold", "next_speaker", "two_actors", "session_partner", "test_fold"]
SPLITS = ("train", "validation", "test")
_SPEAKERS_SHOWN = 100


@dataclass(frozen=True)
class ProtocolFold:
    """One fold, ready to train on.

    Args:
        protocol: Protocol name.
        fingerprint: Hash of classes, ids, labels and the splits of all folds; with dimensions also of the annotated values.
        fold: Its number, from 0.
        folds: How many there are.
        validation: How validation was held out.
        label_set: Classes, in logit order.
        train: Training utterances.
        validation_set: Validation utterances.
        test: Test utterances.
        selection: ``validation``; ``refit`` once trained on training and validation; ``test`` where validation is the test fold.
        warnings: What a reader must know to compare.
        withheld: Utterances of training speakers that were taken out of training; see ``withhold``.
        validation_shares_speakers: Whether validation clips are of training speakers by the protocol's own rule, which the audit then
            allows. Only ``superb5`` has it; its warnings say so.
        targets: What is learned and judged.
    """

    protocol: str
    fingerprint: str
    fold: int
    folds: int
    validation: str
    label_set: LabelSet
    train: tuple[Utterance, ...]
    validation_set: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    selection: str = "validation"
    warnings: tuple[str, ...] = field(default_factory=tuple)
    withheld: tuple[Utterance, ...] = ()
    validation_shares_speakers: bool = False
    targets: Targets = "classes"

    def split(self, name: str) -> tuple[Utterance, ...]:
        """Give ``train``, ``validation`` or ``test``."""
        return {"train": self.train, "validation": self.validation_set, "test": self.test}[name]

    def refit(self) -> ProtocolFold:
        """Give the fold whose training split holds the validation clips too (epochs were chosen before)."""
        both = tuple(sorted(self.train + self.validation_set, key=lambda u: u.id))
        return replace(self, train=both, validation_set=(), selection="refit")

    def withhold(self, group: int, groups: int) -> ProtocolFold:
        """Take one group of training speakers out of training, so that a teacher can answer for them without having heard them.

        The speakers are dealt out to the groups in natural order, men and women each by themselves, so that the groups are alike. Over
        all groups every training speaker is withheld exactly once. Test and the fingerprint stay, and validation too unless it shares
        speakers with training.

        Args:
            group: Which group, from 1 to ``groups``.
            groups: How many there are.

        Raises:
            ConfigError: If there is no such group, or fewer speakers than groups.
        """
        speakers = self.speakers("train")
        if not 1 <= group <= groups or not 2 <= groups <= len(speakers):
            raise ConfigError(
                "This group of training speakers cannot be withheld.",
                expected=f"K/N with 1 <= K <= N and 2 <= N <= {len(speakers)} (the training speakers of fold {self.fold})",
                got=f"{group}/{groups}",
                remedy="datamodule.withhold=1/3 withholds the first of three groups",
            )
        gender = {u.speaker: u.groups.get("gender", "") for u in self.train}
        dealt = sorted(speakers, key=lambda speaker: gender[speaker])  # stable: natural order within a gender
        chosen = set(dealt[group - 1 :: groups])
        return replace(
            self,
            train=tuple(u for u in self.train if u.speaker not in chosen),
            validation_set=tuple(u for u in self.validation_set if u.speaker not in chosen),
            withheld=tuple(u for u in self.train if u.speaker in chosen),
        )

    def speakers(self, name: str) -> list[str]:
        """Give the speakers of a split, in natural order."""
        return sort_naturally({u.speaker for u in self.split(name)})

    def class_counts(self, name: str) -> list[int]:
        """Count a split's clips per class."""
        counts = Counter(self.label_set.class_of(u.emotion) for u in self.split(name) if u.emotion is not None)
        return [counts[label] for label in self.label_set.labels]

    def is_labelled(self, name: str) -> bool:
        """Tell whether any clip of a split has a class, or an arousal, dominance or valence."""
        return any(u.emotion is not None or u.is_annotated for u in self.split(name))

    @property
    def learns_dimensions(self) -> bool:
        """Whether arousal, dominance and valence are learned and judged."""
        return self.targets != "classes"

    def to_record(self) -> ProtocolRecord:
        """Give what stands in a run's record."""
        return ProtocolRecord(
            name=self.protocol,
            fingerprint=self.fingerprint,
            fold=self.fold,
            folds=self.folds,
            validation=self.validation,
            selection=self.selection,
            label_set=self.label_set.name,
            classes=list(self.label_set.labels),
            counts={name: len(self.split(name)) for name in SPLITS},
            speakers={name: self.speakers(name) for name in SPLITS},
            class_counts={name: self.class_counts(name) for name in SPLITS},
            warnings=list(self.warnings),
            withheld=sort_naturally({u.speaker for u in self.withheld}),
            targets=self.targets,
            dimension_counts={name: count_dimensions(self.split(name)) for name in SPLITS} if self.learns_dimensions else {},
        )

    def describe(self) -> str:
        """Print the protocol as a few lines of text."""
        lines = [
            f"protocol {self.protocol}  fingerprint {self.fingerprint}  fold {self.fold} of {self.folds}",
            self._describe_targets(),
            f"held out validation={self.validation}  model selected on {self.selection}",
        ]
        for name in SPLITS:
            speakers = self.speakers(name)
            held = f"{name:<10} {len(self.split(name)):>5} clips, {len(speakers)} speakers ({list_speakers(speakers)})"
            lines.append(f"{held}: {self.describe_counts(name)}")
        if self.withheld:
            speakers = sort_naturally({u.speaker for u in self.withheld})
            lines.append(f"{'withheld':<10} {len(self.withheld):>5} clips, {len(speakers)} speakers ({list_speakers(speakers)})")
        return "\n".join(lines + [f"warning: {text}" for text in self.warnings])

    def describe_counts(self, name: str) -> str:
        """Tell what is annotated in a split: clips by class, mean and deviation by dimension, or both."""
        parts = []
        if self.label_set.labels:
            parts.append(", ".join(f"{label} {n}" for label, n in zip(self.label_set.labels, self.class_counts(name), strict=True)))
        if self.learns_dimensions:
            parts.append(describe_dimensions(count_dimensions(self.split(name)), len(self.split(name))))
        return "; ".join(parts)

    def _describe_targets(self) -> str:
        if self.targets == "dimensions":
            return "targets  arousal, dominance and valence in [0, 1]; no classes"
        classes = f"classes  {self.label_set.name}: {', '.join(self.label_set.labels)}"
        return classes + ("; and arousal, dominance and valence in [0, 1]" if self.learns_dimensions else "")


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


def list_speakers(names: Sequence[str]) -> str:
    """Name the speakers of a split for a reader, of very many the first alone.

    Example:
        >>> list_speakers(["1", "2"])
        '1, 2'
    """
    more = f" and {len(names) - _SPEAKERS_SHOWN:,} more" if len(names) > _SPEAKERS_SHOWN else ""
    return ", ".join(names[:_SPEAKERS_SHOWN]) + more


def sort_naturally(names: set[str] | frozenset[str]) -> list[str]:
    """Sort names, numbers among them by value.

    Example:
        >>> sort_naturally({"10", "9", "spk"})
        ['9', '10', 'spk']
    """
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))


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
