"""The test clips of one fold under noise: the same stretch for each clip, at every ratio and before every model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import DataError
from ser_kd.contracts.robustness_record import CLEAN, Key
from ser_kd.data.collate import SpeechCollation
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.dataset import SpeechClip
from ser_kd.data.noise_corpora.noise_corpus import NoiseCorpus
from ser_kd.functional.keyed_random import hash_text
from ser_kd.tasks.noise import check_silences
from ser_kd.transforms.background_noise import BackgroundNoise, Level

_CLIPS_AT_ONCE = 16


class NoisyClips:
    """Gives the test clips of a fold as they sound in a condition.

    Which noise and which stretch a clip meets is a hash of seed, utterance and type of noise alone, so that all differences between
    ratios and between models are paired. Noise is mixed into the whole clip as it stands in the corpus, before a model crops or fills it
    up, and so its level is that of the whole clip.

    Args:
        data: The fold.
        noise: Noises, whose test part is heard.
        level: What counts as level of the speech.
        seed: Of the stretches.
    """

    def __init__(self, data: SpeechDataModule, noise: NoiseCorpus, level: Level, seed: int) -> None:
        self.dataset = data.dataset("test")
        self.noise = noise
        self.level = level
        self.seed = seed
        self._collation = SpeechCollation(class_names=data.label_set.labels)

    def hear(self, key: Key) -> Iterator[tuple[list[SpeechClip], SpeechBatch]]:
        """Give the clips batch by batch, in the order of the protocol: as they stand in the corpus, and as they sound.

        Args:
            key: Type of noise and ratio.

        Yields:
            B clips, and the batch of their noisy waveforms (B, T), whole, with zeros behind each.

        Raises:
            DataError: If a clip or its stretch of noise is silent.
        """
        noise_type, snr_db = key
        mix = None
        if snr_db is not None and noise_type != CLEAN:
            bank = self.noise.bank("test", [noise_type])
            mix = BackgroundNoise(bank, snr_db, snr_db, probability=1.0, slot=f"robustness/{noise_type}", level=self.level)
        for first in range(0, len(self.dataset), _CLIPS_AT_ONCE):
            clips = [self.dataset[number] for number in range(first, min(first + _CLIPS_AT_ONCE, len(self.dataset)))]
            batch = self._collation(clips)
            keys = torch.tensor([hash_text("robustness", self.seed, name) for name in batch.ids], dtype=torch.int64)
            batch = replace(batch, keys=keys)
            yield clips, batch if mix is None else mix(batch)

    def check_audible(self) -> None:
        """Check that every test clip and every stretch of noise has a level, before anything is computed.

        Raises:
            DataError: If some are silent; all are named.
        """
        silent = [u.id for u in self.dataset.utterances if not self.dataset.audio.read(u.id).any()]
        if silent:
            raise DataError(
                "Silent speech has no signal-to-noise ratio.",
                expected="test clips with at least one sample that is not zero",
                got=", ".join(silent[:10]) + (f"; and {len(silent) - 10} more" if len(silent) > 10 else ""),
                remedy="leave these clips out of the corpus",
            )
        shortest = min(self.dataset.audio.length_of(utterance.id) for utterance in self.dataset.utterances)
        check_silences(self.noise.bank("test"), shortest)
