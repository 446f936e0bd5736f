"""Speaker-wise folds: listed by a publication, one speaker at a time, or as many equal groups as wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ser_kd.contracts.emotions import Targets
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.protocols.evaluation_protocol import EvaluationProtocol, Validation
from ser_kd.data.protocols.protocol_fold import sort_naturally

RAVDESS_ACTORS5 = ((2, 5, 14, 15, 16), (3, 6, 7, 13, 18), (10, 11, 12, 19, 20), (8, 17, 21, 23, 24), (1, 4, 9, 22))
"""Test actors of the five folds of Luna-Jimenez et al. (2021), Applied Sciences 12(1):327, also used by system 000."""

RAVDESS_EMOBOX6 = ((1, 11, 20, 21), (4, 10, 12, 14), (8, 9, 19, 23), (3, 5, 7, 24), (2, 15, 16, 18), (6, 13, 17, 22))
"""Test actors of the six folds of EmoBox (Ma et al. 2024, arXiv 2406.07162), data/ravdess."""


class ListedSpeakers(EvaluationProtocol):
    """Folds whose test speakers are written down.

    Args:
        name: Protocol name.
        test_folds: Test speakers of each fold.
        label_set: See ``EvaluationProtocol``.
        validation: See ``EvaluationProtocol``.
        targets: See ``EvaluationProtocol``.

    Raises:
        ConfigError: If there are fewer than two folds.
    """

    def __init__(
        self,
        name: str,
        test_folds: Sequence[Sequence[str | int]],
        label_set: str | None = None,
        validation: Validation = "next_fold",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, label_set, validation, targets)
        if len(test_folds) < 2:
            raise ConfigError(
                f"Protocol '{name}' needs folds.", expected="two or more lists of speakers", got=str(test_folds), remedy="list them"
            )
        self.test_folds = [frozenset(str(speaker) for speaker in fold) for fold in test_folds]

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        present = {u.speaker for u in utterances}
        missing = sort_naturally(frozenset().union(*self.test_folds) - present)
        if missing:
            raise DataError(
                f"The corpus lacks speakers that protocol '{self.name}' names.",
                expected=f"clips of speakers {', '.join(sort_naturally(frozenset().union(*self.test_folds)))}",
                got=f"none of {', '.join(missing)}",
                remedy="complete the corpus, or use protocol=speaker_folds, which takes the speakers that are there",
            )
        return self.test_folds


class RavdessActors5(ListedSpeakers):
    """The five actor folds of system 000: tests on 300, 300, 300, 300 and 240 clips.

    The source selects the model on the test fold; here the next fold's actors validate (840/300/300 clips on fold 0).

    Source: Luna-Jimenez et al. 2021; slides of system 000.
    """

    def __init__(
        self,
        label_set: str | None = None,
        validation: Validation = "next_fold",
        name: str = "ravdess_actors5",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, RAVDESS_ACTORS5, label_set, validation, targets)


class RavdessEmobox6(ListedSpeakers):
    """The six actor folds of EmoBox, 240 test clips each; the source names no validation, the next fold's actors are taken.

    Source: Ma et al. 2024, arXiv 2406.07162, ``data/ravdess``.
    """

    def __init__(
        self,
        label_set: str | None = None,
        validation: Validation = "next_fold",
        name: str = "ravdess_emobox6",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, RAVDESS_EMOBOX6, label_set, validation, targets)


class LeaveOneSpeakerOut(EvaluationProtocol):
    """One fold per speaker, in natural order of their names."""

    def __init__(
        self,
        label_set: str | None = None,
        validation: Validation = "next_fold",
        name: str = "leave_one_speaker_out",
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name, label_set, validation, targets)

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        return [frozenset([speaker]) for speaker in sort_naturally({u.speaker for u in utterances})]


class SpeakerFolds(EvaluationProtocol):
    """Groups the speakers of any corpus into folds of similar size, the same way each time.

    Speakers are taken by falling number of clips (then by name) and put into the fold that has the fewest clips so far.

    Args:
        number: Folds wanted; no more than there are speakers.
        label_set: See ``EvaluationProtocol``.
        validation: See ``EvaluationProtocol``.
        name: Protocol name; by default ``speaker_folds<number>``.
        targets: See ``EvaluationProtocol``.

    Raises:
        ConfigError: If fewer than two folds are wanted.
    """

    def __init__(
        self,
        number: int = 5,
        label_set: str | None = None,
        validation: Validation = "next_fold",
        name: str | None = None,
        targets: Targets = "classes",
    ) -> None:
        super().__init__(name or f"speaker_folds{number}", label_set, validation, targets)
        if number < 2:
            raise ConfigError("Cross-validation needs folds.", expected="number of 2 or more", got=str(number), remedy="try 5")
        self.number = number

    def test_speakers(self, utterances: Sequence[Utterance]) -> list[frozenset[str]]:
        counts = Counter(u.speaker for u in utterances)
        if len(counts) < self.number:
            raise DataError(
                f"The corpus has too few speakers for {self.number} speaker-wise folds.",
                expected=f"{self.number} speakers or more",
                got=f"{len(counts)}: {', '.join(sort_naturally(set(counts)))}",
                remedy=f"set protocol.number={max(2, min(len(counts), 3))}; three speakers are the least for train, validation and test",
            )
        order = {speaker: place for place, speaker in enumerate(sort_naturally(set(counts)))}
        folds: list[set[str]] = [set() for _ in range(self.number)]
        sizes = [0] * self.number
        for speaker in sorted(counts, key=lambda s: (-counts[s], order[s])):
            smallest = sizes.index(min(sizes))
            folds[smallest].add(speaker)
            sizes[smallest] += counts[speaker]
        return [frozenset(fold) for fold in folds]
