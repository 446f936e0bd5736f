"""Recorded noise at a drawn signal-to-noise ratio."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import ClipSource
from ser_kd.functional.keyed_random import derive_keys, draw_uniform
from ser_kd.functional.levels import active_speech_level, gain_for_snr, root_mean_square
from ser_kd.functional.masking import lengths_to_mask
from ser_kd.transforms.drawn_clip import check_bank, draw_clips
from ser_kd.transforms.random_transform import Parameters, RandomTransform, check_range, draw_parameter


class BackgroundNoise(RandomTransform[SpeechBatch]):
    """Adds a stretch of a noise: y = x + g n, g such that 20 log10(level(x) / rms(g n)) is the drawn ratio.

    Noise and place in it are drawn by the clip's key. A noise shorter than the clip goes round. Levels are measured over the valid part, in
    which alone noise is added. Nothing is scaled back, so y may leave [-1, 1].

    Args:
        bank: Noises, at the sample rate of the speech.
        min_snr_db: Smallest ratio, decibels.
        max_snr_db: Largest ratio, decibels.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.
        level: What counts as level of the speech: ``rms`` over the whole valid part, or ``active_speech``, which leaves out pauses (and
            zeros that count as signal). The noise is always measured by its RMS.

    Raises:
        ConfigError: If the range does not run upwards, the level is unknown or the bank is empty.
        DataError: If a chosen clip or the stretch of noise for it is silent, which has no ratio to anything.
    """

    def __init__(
        self,
        bank: ClipSource,
        min_snr_db: float = 0.0,
        max_snr_db: float = 20.0,
        probability: float = 0.5,
        slot: str = "",
        level: Literal["rms", "active_speech"] = "rms",
    ) -> None:
        super().__init__(probability, slot)
        check_range(min_snr_db, max_snr_db, "snr_db", -100.0)
        check_bank(bank)
        if level not in ("rms", "active_speech"):
            raise ConfigError("Unknown level.", expected="rms or active_speech", got=str(level), remedy="rms is the usual one")
        self.bank = bank
        self.min_snr_db = min_snr_db
        self.max_snr_db = max_snr_db
        self.level = level

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``snr_db`` (B,), ``noise`` (B,) int64, the place in the bank, and ``offset`` (B,) int64 samples."""
        noise = draw_clips(derive_keys(keys, "noise"), self.bank)
        share = draw_uniform(derive_keys(keys, "offset"), 1)[:, 0].double()
        offset = (share * self.bank.lengths.to(keys.device)[noise]).long()
        return {"snr_db": draw_parameter(keys, "snr_db", self.min_snr_db, self.max_snr_db), "noise": noise, "offset": offset}

    def apply(self, subject: SpeechBatch, parameters: Parameters, selected: Tensor) -> SpeechBatch:
        """Add noise to the valid part of the selected clips.

        Raises:
            DataError: If one of them, or its stretch of noise, is silent.
        """
        rows = selected.nonzero()[:, 0]
        if not len(rows):
            return subject
        all_selected = len(rows) == len(subject)
        speech = (subject.waveforms if all_selected else subject.waveforms[rows]).float()
        noise = self.bank.take(parameters["noise"][rows], parameters["offset"][rows], speech.shape[1])
        lengths = None if bool((subject.lengths[rows] == speech.shape[1]).all()) else subject.lengths[rows]
        if lengths is not None:
            noise *= lengths_to_mask(lengths, speech.shape[1])
        measure = root_mean_square if self.level == "rms" else active_speech_level
        speech_level, noise_level = measure(speech, lengths), root_mean_square(noise, lengths)
        self._check_heard(subject, parameters, rows, speech_level, noise_level)
        gain = gain_for_snr(speech_level, noise_level, parameters["snr_db"][rows])
        noisy = noise.mul_(gain[:, None]).add_(speech).to(subject.waveforms.dtype)
        return replace(subject, waveforms=noisy if all_selected else subject.waveforms.index_copy(0, rows, noisy))

    def _check_heard(self, subject: SpeechBatch, parameters: Parameters, rows: Tensor, speech_level: Tensor, noise_level: Tensor) -> None:
        if bool(((speech_level > 0) & (noise_level > 0)).all()):
            return
        clips = [subject.ids[row] for row in rows[speech_level == 0].tolist()]
        if clips:
            raise DataError(
                "Silent speech has no signal-to-noise ratio.",
                expected="clips with at least one sample that is not zero",
                got=", ".join(clips),
                remedy="leave these clips out of the corpus",
            )
        silent = rows[noise_level == 0]
        names = [self.bank.names[noise] for noise in parameters["noise"][silent].tolist()]
        places = zip(names, parameters["offset"][silent].tolist(), subject.lengths[silent].tolist(), strict=True)
        raise DataError(
            "A silent stretch of noise has no signal-to-noise ratio.",
            expected="noises without long digital silence",
            got="; ".join(f"{name}, {length} samples from {offset}" for name, offset, length in places),
            remedy="cut the silence out of these noises, or leave them out",
        )
