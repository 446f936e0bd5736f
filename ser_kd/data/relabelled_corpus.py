"""A corpus under the classes of a model that was trained on another one; labels meet by name, never by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace

from ser_kd.contracts.emotions import LabelSet, canonical_emotion
from ser_kd.contracts.errors import DataError
from ser_kd.data.manifest import Corpus, Manifest

NO_LABEL = "no label"
"""Stands for the label of clips that have none."""


class RelabelledCorpus:
    """Every clip of a corpus, its label replaced by the class of a model, or taken away where the model has no such class.

    A label is first looked up in ``own_labels``, which may merge it (calm counts as neutral) or drop it, then among the model's
    classes and merges. Clips without a class stay in the manifest, so that the cache of decoded audio is the corpus' usual one;
    a protocol leaves them out.

    Args:
        corpus: The corpus page.
        classes: The label set the model was trained with.
        own_labels: A label set of the corpus whose merges come first; None takes its labels as they are.

    Raises:
        DataError: If no label of the corpus is a class of the model.
    """

    def __init__(self, corpus: Corpus, classes: LabelSet, own_labels: LabelSet | None = None) -> None:
        self.name = corpus.name
        # A label set of its own: what the model's set drops or merges was settled here, and class_of must not refuse it.
        self.label_sets: Mapping[str, LabelSet] = {classes.name: LabelSet(classes.name, classes.labels)}
        self.default_label_set = classes.name
        self._original = corpus.read_manifest()
        present = sorted({canonical_emotion(u.emotion) for u in self._original.utterances if u.emotion is not None})
        found = {label: _find_class(label, classes, own_labels) for label in present}
        self.mapping: dict[str, str] = {label: name for label, name in found.items() if name is not None}
        if not self.mapping:
            raise DataError(
                f"Corpus '{corpus.name}' and the model have no label in common.",
                expected=f"clips of one of {', '.join(classes.labels)}",
                got=", ".join(present) or NO_LABEL,
                remedy="choose another corpus, or give a manifest merges onto these classes (corpus.merges={label: class})",
            )

    def read_manifest(self) -> Manifest:
        """Give the corpus under the model's classes."""
        clips = tuple(replace(u, emotion=self.mapping.get(self.label_of(u.emotion))) for u in self._original.utterances)
        return replace(self._original, utterances=clips)

    def labels_by_id(self) -> dict[str, str]:
        """Give each clip's own label, in the project's spelling."""
        return {u.id: self.label_of(u.emotion) for u in self._original.utterances}

    def count_unmapped(self, left_out: Collection[str] = ()) -> dict[str, int]:
        """Count the clips of each label that the model does not know, clips that were left out for another reason aside."""
        labels = Counter(label for name, label in self.labels_by_id().items() if name not in left_out)
        return {label: count for label, count in sorted(labels.items()) if label not in self.mapping}

    @staticmethod
    def label_of(emotion: str | None) -> str:
        """Give the project's spelling of a label, ``no label`` where there is none."""
        return NO_LABEL if emotion is None else canonical_emotion(emotion)


def _find_class(label: str, classes: LabelSet, own_labels: LabelSet | None) -> str | None:
    own = label if own_labels is None else own_labels.find_class(label)
    return None if own is None else classes.find_class(own)
