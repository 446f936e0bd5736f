"""Recorded noise at a drawn signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import ClipSource
from ser_kd.functional.keyed_random import derive_keys, draw_uniform, hash_text
from ser_kd.functional.levels import active_speech_level, gain_for_snr, root_mean_square
from ser_kd.functional.masking import lengths_to_mask
from ser_kd.functional.p56_level import measure_p56_level
from ser_kd.transforms.drawn_clip import check_bank, draw_clips
from ser_kd.transforms.random_transform import Parameters, RandomTransform, check_range, draw_parameter

Level = Literal["rms", "active_speech", "p56"]

MEASURES: Mapping[str, Callable[[Tensor, Tensor | None, int], Tensor]] = {
    "rms": lambda waveforms, lengths, rate_hz: root_mean_square(waveforms, lengths),
    "active_speech": lambda waveforms, lengths, rate_hz: active_speech_level(waveforms, lengths),
    "p56": measure_p56_level,
}


class BackgroundNoise(RandomTransform[SpeechBatch]):
    """Adds a stretch of a noise: y = x + g n, g such that 20 log10(level(x) / rms(g n)) is the drawn ratio.

    Noise and place in it are drawn by the clip's key. A noise shorter than the clip goes round. Levels are measured over the valid part, in
    which alone noise is added. Nothing is scaled back, so y may leave [-1, 1].

    Args:
        bank: Noises, at the sample rate of the speech; None waits for those of the group ``noise`` (``take_noise``).
        min_snr_db: Smallest ratio, decibels.
        max_snr_db: Largest ratio, decibels.
        probability: Share of clips that are changed.
        slot: Tells two of these apart.
        level: What counts as level of the speech: ``rms`` over the whole valid part, ``active_speech``, which leaves out pauses (and
            zeros that count as signal) by frames of 32 ms, or ``p56``, the active speech level of ITU-T P.56 with its envelope and
            hangover. The noise is always measured by its RMS.
        snrs_db: Ratios to draw from, all equally likely, in place of the range; None draws from the range.
        fixed: A clip has the same noise, place and ratio in every epoch and run, as if mixed files lay on disk; else all are drawn anew.

    Raises:
        ConfigError: If the range does not run upwards, there is no ratio in the list, the level is unknown or the bank is empty.
        DataError: If a chosen clip or the stretch of noise for it is silent, which has no ratio to anything.
    """

    def __init__(
        self,
        bank: ClipSource | None = None,
        min_snr_db: float = 0.0,
        max_snr_db: float = 20.0,
        probability: float = 0.5,
        slot: str = "",
        level: Level = "rms",
        snrs_db: Sequence[float] | None = None,
        fixed: bool = False,
    ) -> None:
        super().__init__(probability, slot)
        check_range(min_snr_db, max_snr_db, "snr_db", -100.0)
        if snrs_db is not None and not (len(snrs_db) and all(abs(ratio) <= 100.0 for ratio in snrs_db)):
            raise ConfigError(
                "These are no signal-to-noise ratios to draw from.",
                expected="one or more of -100 to 100 dB",
                got=f"snrs_db={list(snrs_db)}",
                remedy="snrs_db=[0,5,10,15,20] are those of the noisy-speech literature; null draws from the range",
            )
        if level not in MEASURES:
            raise ConfigError("Unknown level.", expected="rms, active_speech or p56", got=str(level), remedy="rms is the usual one")
        self._bank: ClipSource | None = None
        if bank is not None:
            self.take_noise(bank)
        self.min_snr_db = min_snr_db
        self.max_snr_db = max_snr_db
        self.level = level
        self.snrs_db = None if snrs_db is None else tuple(float(ratio) for ratio in snrs_db)
        self.fixed = fixed

    @property
    def awaits_noise(self) -> bool:
        """Whether there are no noises yet."""
        return self._bank is None

    def take_noise(self, bank: ClipSource) -> None:
        """Draw from these noises from now on.

        Raises:
            ConfigError: If the bank is none, or empty.
        """
        check_bank(bank)
        self._bank = bank

    @property
    def bank(self) -> ClipSource:
        """The noises.

        Raises:
            ConfigError: If there are none yet.
        """
        if self._bank is None:
            raise ConfigError(
                "BackgroundNoise has no noises yet.",
                expected="a bank, or noises of the group noise",
                got="bank: null",
                remedy="choose noise=synthetic, noisex92 or folder, or hand over ser_kd.data.clip_bank.ClipBank(FOLDER)",
            )
        return self._bank

    def choose_keys(self, subject: SpeechBatch) -> Tensor | None:
        """Give the keys of the batch; where the noise is fixed, keys of the clips' names alone."""
        if not self.fixed:
            return subject.keys
        return torch.tensor([hash_text("fixed noise", name) for name in subject.ids], device=subject.waveforms.device)

    def draw(self, subject: SpeechBatch, keys: Tensor) -> Parameters:
        """Draw ``snr_db`` (B,), ``noise`` (B,) int64, the place in the bank, and ``offset`` (B,) int64 samples."""
        noise = draw_clips(derive_keys(keys, "noise"), self.bank)
        share = draw_uniform(derive_keys(keys, "offset"), 1)[:, 0].double()
        offset = (share * self.bank.lengths.to(keys.device)[noise]).long()
        if self.snrs_db is None:
            snr_db = draw_parameter(keys, "snr_db", self.min_snr_db, self.max_snr_db)
        else:
            place = (draw_parameter(keys, "snr_db", 0.0, 1.0).double() * len(self.snrs_db)).long()
            snr_db = torch.tensor(self.snrs_db, dtype=torch.float32, device=keys.device)[place]
        return {"snr_db": snr_db, "noise": noise, "offset": offset}

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
        speech_level = MEASURES[self.level](speech, lengths, self.bank.sample_rate_hz)
        noise_level = root_mean_square(noise, lengths)
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
