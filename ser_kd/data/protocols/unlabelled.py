"""Clips without labels: a part of the speakers is held out, on whom a student is compared with its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ser_kd.contracts.emotions import LabelSet, Targets
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.manifest import Manifest
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol
from ser_kd.data.protocols.protocol_fold import ProtocolFold, sort_naturally
from ser_kd.functional.keyed_random import hash_text


class UnlabelledSplit(EvaluationProtocol):
    """One fold of all clips, whatever is known of them: some speakers validate, as many test, the others train.

    Who does what is drawn by a hash of the speakers' names, so that it is the same everywhere. Labels are neither asked for nor used;
    the metrics that are defined are those of agreement with the teacher.

    Args:
        held_out: Share of the speakers that validate, and as large a share that tests; one speaker at least.
        targets: What the student learns from its teacher's answers.

    Raises:
        ConfigError: If nobody would be left to train.
    """

    def __init__(self, held_out: float = 0.1, targets: Targets = "classes") -> None:
        if not 0.0 < held_out < 0.5:
            raise ConfigError(
                "This share cannot be held out twice.",
                expected="above 0 and below 0.5",
                got=f"protocol.held_out={held_out:g}",
                remedy="0.1 keeps four fifths for training",
            )
        super().__init__("unlabelled", targets=targets)
        self.validation = "held_out"  # type: ignore[assignment]
        self.held_out = held_out

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        return [frozenset(self._draw(utterances)[0])]

    def folds(self, manifest: Manifest, label_set: LabelSet) -> list[ProtocolFold]:
        test, validation = self._draw(manifest.utterances)
        part = {
            "train": tuple(u for u in manifest.utterances if u.speaker not in test | validation),
            "validation": tuple(u for u in manifest.utterances if u.speaker in validation),
            "test": tuple(u for u in manifest.utterances if u.speaker in test),
        }
        return self.seal([part], label_set)

    def list_unjudgeable(self, part: Mapping[str, Sequence[Utterance]]) -> tuple[str, ...]:
        return ("no clip has a label: figures are agreement with the teacher, not with anybody's judgement of the speech",)

    def _draw(self, utterances: Sequence[Utterance]) -> tuple[set[str], set[str]]:
        speakers = sorted({u.speaker for u in utterances}, key=lambda name: (hash_text("held out", name), name))
        if len(speakers) < 3:
            raise DataError(
                "Too few speakers to hold some out.",
                expected="3 folders or more, one each for training, validation and test",
                got=", ".join(sort_naturally(set(speakers))),
                remedy="set corpus.speaker=file where the files have nothing to do with each other",
            )
        count = max(1, round(self.held_out * len(speakers)))
        return set(speakers[:count]), set(speakers[count : 2 * count])
