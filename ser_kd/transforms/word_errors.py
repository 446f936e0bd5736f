"""Words of the transcript made wrong, as a recogniser would, anew in each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.functional.word_errors import WordStock, inject_word_errors
from ser_kd.transforms.random_transform import Parameters, RandomTransform


class WordErrors(RandomTransform[SpeechBatch]):
    """Lets each word of a transcript err with a probability: another word, none, or one more (see ``inject_word_errors``).

    Texts alone change, in training alone. For texts that err in validation and test too, the same in every epoch as one pass of a
    recogniser leaves them, there is ``datamodule.word_error_rate``.

    Args:
        rate: Word-error rate of the texts that are changed, in [0, 1].
        probability: Share of texts that are changed.
        slot: Tells two of these apart.
        texts: Transcripts whose words come in; None waits for those of the training clips (``take_transcripts``).

    Raises:
        ConfigError: If the rate is none, or the transcripts have no words.
    """

    def __init__(self, rate: float = 0.1, probability: float = 1.0, slot: str = "", texts: Sequence[str] | None = None) -> None:
        super().__init__(probability, slot)
        if not 0.0 <= rate <= 1.0:
            raise ConfigError(
                "This is no word-error rate.", expected="a number from 0 to 1", got=str(rate), remedy="0.2 lets one word in five err"
            )
        self.rate = rate
        self._stock = None if texts is None else WordStock.of_texts(texts)

    @property
    def awaits_transcripts(self) -> bool:
        """Whether there are no words yet."""
        return self._stock is None

    def take_transcripts(self, texts: Sequence[str]) -> None:
        """Err with the words of these transcripts from now on.

        Raises:
            ConfigError: If they have none.
        """
        self._stock = WordStock.of_texts(texts)

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``key`` (B,) int64, by which the words of each text err."""
        return {"key": keys}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Change the selected texts; a clip without one keeps none.

        Raises:
            ConfigError: If there are no words yet.
        """
        if subject.texts is None:
            return subject
        if self._stock is None:
            raise ConfigError(
                "WordErrors has no words to err with yet.",
                expected="transcripts of the training clips",
                got="texts: null",
                remedy="hand them over: take_transcripts(texts)",
            )
        stock, keys, chosen = self._stock, parameters["key"].tolist(), selected.tolist()
        texts = [
            inject_word_errors(text, key, self.rate, stock) if text and is_chosen else text
            for text, key, is_chosen in zip(subject.texts, keys, chosen, strict=True)
        ]
        return replace(subject, texts=texts)
