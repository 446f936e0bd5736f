"""The list of utterances a corpus consists of, and what is known of the corpus as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance


@dataclass(frozen=True)
class Manifest:
    """All utterances of one corpus, in a fixed order.

    Args:
        corpus: Corpus name.
        utterances: Every utterance, sorted by id; ids are unique.
        licence: Licence of the audio, as named by its owner.
        left_out: Utterance id -> why it cannot be used: a foreign file name, or damaged audio once audio is read.
        notes: What a reader should know before comparing, such as counts that differ from the published ones.
        release: Which release of the corpus this is, in words, where there are several; else empty.

    Raises:
        DataError: If there is no utterance or an id stands twice.
    """

    corpus: str
    utterances: tuple[Utterance, ...]
    licence: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    release: str = ""

    def __post_init__(self) -> None:
        if not self.utterances:
            raise DataError(
                f"Corpus '{self.corpus}' holds no usable utterance.",
                expected="at least one readable clip",
                got=f"none; left out: {'; '.join(f'{k}: {v}' for k, v in list(self.left_out.items())[:5])}" if self.left_out else "none",
                remedy="check corpus.root and the file names, then run: ser-kd check",
            )
        twice = [name for name, count in Counter(u.id for u in self.utterances).items() if count > 1]
        if twice:
            raise DataError(
                f"Corpus '{self.corpus}' names utterances twice.",
                expected="unique ids",
                got=f"{len(twice)} repeated, such as {', '.join(twice[:3])}",
                remedy="give each row its own id",
            )

    def without(self, faults: Mapping[str, str]) -> Manifest:
        """Leave utterances out, remembering why.

        Args:
            faults: Utterance id -> reason.
        """
        kept = tuple(u for u in self.utterances if u.id not in faults)
        return replace(self, utterances=kept, left_out={**self.left_out, **faults})

    def select(self, ids: Iterable[str]) -> tuple[Utterance, ...]:
        """Give the utterances with these ids, in the order of the manifest."""
        wanted = set(ids)
        return tuple(u for u in self.utterances if u.id in wanted)


def describe_left_out(left_out: Mapping[str, str]) -> str:
    """Count what is left out and name the first five; empty where nothing is.

    Args:
        left_out: Utterance id -> reason.
    """
    shown = [f"{name}: {reason}" for name, reason in list(left_out.items())[:5]]
    more = [f"and {len(left_out) - 5} more"] if len(left_out) > 5 else []
    return f"{len(left_out)} clips cannot be used and are left out: {'; '.join(shown + more)}" if shown else ""


@runtime_checkable
class Corpus(Protocol):
    """A corpus page: knows its files, labels and speakers.

    ``label_sets`` maps names to label sets; ``default_label_set`` is the one taken where none is chosen.
    """

    name: str
    label_sets: Mapping[str, LabelSet]
    default_label_set: str

    def read_manifest(self) -> Manifest: ...
