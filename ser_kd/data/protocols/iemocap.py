"""Speaker-wise protocols of IEMOCAP: one speaker, or one session of two speakers, is tested on."""

from __future__ import annotations

from ser_kd.contracts.emotions import Targets
from ser_kd.data.protocols.by_speaker import ListedSpeakers
from ser_kd.data.protocols.evaluation_protocol import Validation

IEMOCAP_SESSIONS = tuple((f"Ses0{session}F", f"Ses0{session}M") for session in range(1, 6))
"""The woman and the man of each session."""


class IemocapLoso10(ListedSpeakers):
    """Ten folds, one speaker tested on in each, by session and the woman first: 528, 557, 481, 542, 522, 629, 528, 503, 590, 651 turns.

    The other speaker of the tested session validates, so that all who train are of other sessions: both talk in the same dialogues,
    and each can be heard in the other's microphone. Sources that test by speaker name no validation.

    Args:
        label_set: See ``EvaluationProtocol``.
        validation: See ``EvaluationProtocol``.
        name: Protocol name.
        targets: See ``EvaluationProtocol``; with dimensions all 10039 turns are in.
    """

    def __init__(
        self,
        label_set: str | None = None,
        validation: Validation = "session_partner",
        name: str = "iemocap_loso10",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, [[speaker] for session in IEMOCAP_SESSIONS for speaker in session], label_set, validation, targets)


class IemocapSession5(ListedSpeakers):
    """Five folds, one session tested on in each: 1085, 1023, 1151, 1031 and 1241 turns.

    Both speakers of the next session validate, and the three others train. ``validation=next_speaker`` takes the woman of the next
    session alone and trains on the man; their dialogues are then on both sides.

    Args:
        label_set: See ``EvaluationProtocol``.
        validation: See ``EvaluationProtocol``.
        name: Protocol name.
        targets: See ``EvaluationProtocol``; with dimensions all 10039 turns are in.
    """

    def __init__(
        self,
        label_set: str | None = None,
        validation: Validation = "next_fold",
        name: str = "iemocap_session5",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, IEMOCAP_SESSIONS, label_set, validation, targets)
