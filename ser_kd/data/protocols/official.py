"""The split a corpus or a manifest brings along."""

from __future__ import annotations

from collections.abc import Sequence

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.protocol_fold import SPLITS, ProtocolFold


class OfficialSplit(EvaluationProtocol):
    """One fold, taken from the attribute ``split`` of each utterance (a manifest's ``split`` column).

    Nothing is moved to make it honest: ``ser-kd check`` and every training run refuse it if a speaker or identical audio crosses it.

    Args:
        label_set: See ``EvaluationProtocol``.
        name: Protocol name.
        targets: See ``EvaluationProtocol``.
    """

    def __init__(self, label_set: str | None = None, name: str = "official", targets: Targets = "classes") -> None:
        super().__init__(name, label_set, targets=targets)
        self.validation = "official"  # type: ignore[assignment]

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        return [frozenset(u.speaker for u in utterances if u.groups.get("split") == "test")]

    def folds(self, manifest: Manifest, label_set: LabelSet) -> list[ProtocolFold]:
        labelled = self.choose_clips(manifest, label_set)
        strange = [u for u in labelled if u.groups.get("split") not in SPLITS]
        if strange:
            raise DataError(
                "The official split does not cover the corpus.",
                expected="split = train, validation or test for each clip",
                got=f"{len(strange)} clips without, such as {strange[0].id}: '{strange[0].groups.get('split', '')}'",
                remedy="add a 'split' column to the manifest, or use protocol=speaker_folds",
            )
        return self.seal([{name: tuple(u for u in labelled if u.groups["split"] == name) for name in SPLITS}], label_set)

    def choose_fold(self, manifest: Manifest, label_set: LabelSet, fold: int) -> ProtocolFold:
        if fold != 0:
            raise ConfigError("The official split is one fold.", expected="fold=0", got=f"fold={fold}", remedy="set fold=0")
        return super().choose_fold(manifest, label_set, fold)
