"""One fold of a protocol, ready to train on: its splits, its print-out, and what a record keeps of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.records import ProtocolRecord
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.annotated_dimensions import count_dimensions, describe_dimensions

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


def parse_group(text: str) -> tuple[int, int]:
    """Read ``K/N``: the K-th of N groups, counted from 1.

    Raises:
        ConfigError: If it is written otherwise.

    Example:
        >>> parse_group("1/3")
        (1, 3)
    """
    group, slash, groups = text.partition("/")
    if not (slash and group.isdecimal() and groups.isdecimal()):
        raise ConfigError(
            "A group of training speakers is written K/N.",
            expected="two whole numbers, such as 1/3 for the first of three groups",
            got=text,
            remedy="set datamodule.withhold=1/3, or null to train on all",
        )
    return int(group), int(groups)


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
