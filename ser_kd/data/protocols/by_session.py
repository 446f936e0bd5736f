"""Session-wise folds: a whole recording session is tested on, and no speaker of it is seen before."""

from __future__ import annotations

from collections.abc import Sequence

from ser_kd.contracts.emotions import Targets
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol, Validation
from ser_kd.data.protocols.protocol_fold import sort_naturally


class SessionFolds(EvaluationProtocol):
    """One fold per session, in natural order.

    Args:
        label_set: See ``EvaluationProtocol``.
        validation: See ``EvaluationProtocol``.
        name: Protocol name.
        targets: See ``EvaluationProtocol``.
    """

    def __init__(
        self,
        label_set: str | None = None,
        validation: Validation = "next_fold",
        name: str = "session_folds",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, label_set, validation, targets)

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        without = [u.id for u in utterances if u.session is None]
        sessions = sort_naturally({u.session for u in utterances if u.session is not None})
        if without or len(sessions) < 2:
            raise DataError(
                "Session-wise folds need a session for each clip.",
                expected="at least two sessions and none missing",
                got=f"{len(sessions)} sessions; {len(without)} clips without one" + (f", such as {without[0]}" if without else ""),
                remedy="add a 'session' column to the manifest, or use protocol=speaker_folds",
            )
        return [frozenset(u.speaker for u in utterances if u.session == session) for session in sessions]
