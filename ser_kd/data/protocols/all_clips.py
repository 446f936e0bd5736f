"""Every clip of a corpus is tested on: for models that were trained on another corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest, describe_left_out
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.protocol_fold import ProtocolFold
from ser_kd.storage.hashing import hash_data


class AllClips(EvaluationProtocol):
    """One fold whose test split holds every clip that has a target; nothing is trained on.

    Args:
        label_set: See ``EvaluationProtocol``.
        name: Protocol name.
        targets: See ``EvaluationProtocol``.
        labelled: False takes clips without a target too, which nobody can judge.
    """

    def __init__(self, label_set: str | None = None, name: str = "all_clips", targets: Targets = "classes", labelled: bool = True) -> None:
        super().__init__(name, label_set, targets=targets)
        self.validation = "none"  # type: ignore[assignment]
        self.labelled = labelled

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        return [frozenset(u.speaker for u in utterances)]

    def folds(self, manifest: Manifest, label_set: LabelSet) -> list[ProtocolFold]:
        labelled = tuple(self.choose_clips(manifest, label_set)) if self.labelled else manifest.utterances
        if not labelled:
            raise DataError(
                f"No clip of corpus '{manifest.corpus}' can be judged.",
                expected=f"clips of {', '.join(label_set.labels)}",
                got=f"{len(manifest.utterances)} usable clips, none of these classes. {describe_left_out(manifest.left_out)}".strip(),
                remedy="check corpus.root and the labels",
            )
        if self.targets == "classes":
            rows = sorted((u.id, None if u.emotion is None else label_set.class_of(u.emotion)) for u in labelled)
            fingerprint = hash_data([list(label_set.labels), rows])
        else:
            fingerprint = self.fingerprint_clips([{"test": labelled}], label_set)
        warnings = self.list_unjudgeable({"test": labelled})
        fold = ProtocolFold(self.name, fingerprint, 0, 1, self.validation, label_set, (), (), labelled, "none", warnings)
        return [replace(fold, targets=self.targets)]
