"""Label sets, their order, the mapping of labels between corpora by name, and the ranges of arousal, dominance, valence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.suggestions import suggest

DIMENSIONS: tuple[str, str, str] = ("arousal", "dominance", "valence")
"""The order in which dimensional values stand everywhere in the project."""

Targets = Literal["classes", "dimensions", "both"]
"""What a model learns and is judged by: emotion classes, arousal, dominance and valence, or both."""

EMOTION_SYNONYMS: Mapping[str, str] = {
    "anger": "angry",
    "ang": "angry",
    "boredom": "bored",
    "contempt": "contemptuous",
    "disgusted": "disgust",
    "dis": "disgust",
    "excitement": "excited",
    "exc": "excited",
    "fearful": "fear",
    "anxiety": "fear",
    "fea": "fear",
    "frustration": "frustrated",
    "fru": "frustrated",
    "happiness": "happy",
    "joy": "happy",
    "hap": "happy",
    "neu": "neutral",
    "sadness": "sad",
    "surprised": "surprise",
    "sur": "surprise",
}
"""Other spellings of one emotion, so that corpora and teachers meet by name, never by position."""


def canonical_emotion(name: str) -> str:
    """Give the project's spelling of an emotion.

    Example:
        >>> canonical_emotion(" Anger"), canonical_emotion("calm")
        ('angry', 'calm')
    """
    plain = name.strip().lower()
    return EMOTION_SYNONYMS.get(plain, plain)


@dataclass(frozen=True)
class LabelSet:
    """Which emotions a protocol knows, in the order of the logits, and what happens to the others.

    Args:
        name: Name in configuration and records, such as ``merge7``.
        labels: Classes in logit order.
        merges: Emotion -> class it is counted as (``{"calm": "neutral"}``).
        dropped: Emotions whose clips are left out.

    Raises:
        DataError: If a class stands twice or a merge leads to no class.

    Example:
        >>> merged = LabelSet("merge", ("neutral", "happy"), merges={"calm": "neutral"})
        >>> merged.class_of("calm"), merged.index_of("happy")
        ('neutral', 1)
    """

    name: str
    labels: tuple[str, ...]
    merges: Mapping[str, str] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise DataError(
                f"Label set '{self.name}' is not a list of at least two different classes.",
                expected="two or more distinct class names",
                got=", ".join(self.labels) or "an empty list",
                remedy="name each class once",
            )
        lost = sorted(set(self.merges.values()) - set(self.labels))
        if lost:
            raise DataError(
                f"Label set '{self.name}' merges into classes it does not have.",
                expected=f"one of {', '.join(self.labels)}",
                got=", ".join(lost),
                remedy="add the class or change the merge",
            )

    def __len__(self) -> int:
        return len(self.labels)

    def class_of(self, emotion: str) -> str | None:
        """Give the class of an emotion, or None where this label set leaves its clips out.

        Raises:
            DataError: If the label set says nothing about the emotion.
        """
        plain = canonical_emotion(emotion)
        found = self.find_class(plain)
        if found is not None or plain in self.dropped:
            return found
        near = suggest(plain, self.labels)
        raise DataError(
            f"Label '{emotion}' is outside the label set '{self.name}'.",
            expected=f"one of {', '.join(self.labels)}"
            + (f"; merged: {', '.join(self.merges)}" if self.merges else "")
            + (f"; left out: {', '.join(sorted(self.dropped))}" if self.dropped else ""),
            got=emotion,
            remedy=(f"{near} Otherwise " if near else "") + "choose a label set that has it, merge it into a class or drop it",
        )

    def find_class(self, emotion: str) -> str | None:
        """Give the class of an emotion of any corpus, or None where this label set drops it or says nothing about it.

        Example:
            >>> LabelSet("two", ("angry", "neutral"), merges={"calm": "neutral"}).find_class("anger")
            'angry'
        """
        plain = canonical_emotion(emotion)
        if plain in self.dropped:
            return None
        plain = self.merges.get(plain, plain)
        return plain if plain in self.labels else None

    def index_of(self, emotion: str) -> int | None:
        """Give the position of an emotion's class among the logits, or None where its clips are left out."""
        label = self.class_of(emotion)
        return None if label is None else self.labels.index(label)


@dataclass(frozen=True)
class NoClasses(LabelSet):
    """The label set where only arousal, dominance and valence are learned: no class, and no emotion is refused."""

    name: str = "none"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Allow that there is no class."""

    def class_of(self, emotion: str) -> str | None:
        """Give None: no emotion has a class."""
        return None


@dataclass(frozen=True)
class DimensionRange:
    """The annotation range of a dimensional corpus; values are scaled to [0, 1] by (x - low) / (high - low).

    Example:
        >>> DimensionRange(1, 7).scale(4.0)
        0.5
    """

    low: float
    high: float

    def scale(self, value: float) -> float:
        """Map an annotated value into [0, 1].

        Raises:
            DataError: If the value lies outside the range.
        """
        if not self.low <= value <= self.high:
            raise DataError(
                "A dimensional annotation lies outside its range.",
                expected=f"a value in [{self.low:g}, {self.high:g}]",
                got=f"{value:g}",
                remedy="check the column, or give the corpus its range (dimension_low, dimension_high)",
            )
        return (value - self.low) / (self.high - self.low)

    def restore(self, scaled: float) -> float:
        """Map a predicted value in [0, 1] back onto the range; one beyond counts as its nearest end.

        Example:
            >>> DimensionRange(1.0, 7.0).restore(0.5), DimensionRange(1.0, 7.0).restore(1.1)
            (4.0, 7.0)
        """
        return min(max(self.low + scaled * (self.high - self.low), self.low), self.high)
