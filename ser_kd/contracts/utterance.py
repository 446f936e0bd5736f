"""One labelled stretch of speech, as a corpus describes it before any audio is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Utterance:
    """Where the audio lies and what is known about it.

    Args:
        id: Unique within the corpus and stable across machines (a relative path without suffix, usually).
        path: Audio file.
        speaker: Who talks; the unit that must never cross a split.
        emotion: The corpus' own label, or None where it has none.
        session: Recording session, or None.
        text: Transcript, or None.
        arousal: Scaled to [0, 1], or None.
        dominance: Scaled to [0, 1], or None.
        valence: Scaled to [0, 1], or None.
        start_s: Where the stretch begins in the file, seconds.
        end_s: Where it ends, seconds; None is the end of the file.
        groups: Further attributes to report by, such as ``{"gender": "female", "intensity": "strong"}``.
    """

    id: str
    path: Path
    speaker: str
    emotion: str | None = None
    session: str | None = None
    text: str | None = None
    arousal: float | None = None
    dominance: float | None = None
    valence: float | None = None
    start_s: float = 0.0
    end_s: float | None = None
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def dimensions(self) -> tuple[float | None, float | None, float | None]:
        """Arousal, dominance, valence."""
        return self.arousal, self.dominance, self.valence

    @property
    def is_annotated(self) -> bool:
        """Whether one of the three is known at least."""
        return any(value is not None for value in self.dimensions)
