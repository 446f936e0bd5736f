"""Noises that need no files: babble of the training speakers, coloured noise, an engine, a cockpit, a radio channel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError
from ser_kd.data.clip_bank import FILE_SHARES
from ser_kd.data.noise_corpora.babble import mix_babble, share_clips
from ser_kd.data.noise_corpora.cockpit import make_cockpit_noise
from ser_kd.data.noise_corpora.engine import make_engine_noise
from ser_kd.data.noise_corpora.noise_corpus import NOISE_SPLITS, TrackCorpus
from ser_kd.data.noise_corpora.radio_channel import make_channel_noise
from ser_kd.data.noise_corpora.shaped_noise import bring_to_level
from ser_kd.data.noise_corpora.stationary import COLOURS, Colour, make_stationary_noise
from ser_kd.functional.keyed_random import hash_text

MAKERS: Mapping[str, Callable[[int, int, int], np.ndarray]] = {
    "engine": make_engine_noise,
    "cockpit": make_cockpit_noise,
    "channel": make_channel_noise,
}

TYPES = ("babble", "stationary", "engine", "cockpit", "channel")


class SyntheticNoise(TrackCorpus):
    """Five types of noise made from a seed: the same on every machine, up to rounding.

    Each type is one track of ``duration_s`` at one level, 15 MB for 240 s at 16 kHz, made when it is first asked for. Babble is mixed from
    clips of the fold's training speakers that ``take_speech`` hands in, so it depends on the fold; training, validation and test babble
    have clips of their own. Synthetic noises stand in for recorded ones: results under them are not those under NOISEX-92.

    Args:
        types: Among ``babble``, ``stationary``, ``engine``, ``cockpit``, ``channel``; None is all.
        held_out: Those that training and validation never hear.
        noise_split: See ``NoiseCorpus``.
        duration_s: Length of each track, seconds; 10 or more.
        talkers: Talkers of the babble.
        colour: Of the stationary noise: ``speech`` (its long-term spectrum) or ``pink``.
        seed: Another seed gives other noises; it is not that of the run, so that all runs are judged in the same noise.
        guard_s: See ``NoiseCorpus``.
        sample_rate_hz: That of the speech.

    Raises:
        ConfigError: If a value cannot be used; see also ``NoiseCorpus``.
    """

    name = "synthetic"
    licence = "made here; babble is under the licence of the speech corpus"

    def __init__(
        self,
        types: Sequence[str] | None = None,
        held_out: Sequence[str] = (),
        noise_split: Literal["time", "paper"] = "time",
        duration_s: float = 240.0,
        talkers: int = 12,
        colour: Colour = "speech",
        seed: int = 0,
        guard_s: float = 1.0,
        sample_rate_hz: int = 16_000,
    ) -> None:
        super().__init__(TYPES, types, held_out, noise_split, guard_s, sample_rate_hz)
        if not 10.0 <= duration_s < math.inf or talkers < 1 or colour not in COLOURS:
            raise ConfigError(
                "These noises cannot be made.",
                expected=f"duration_s >= 10, talkers >= 1, colour {' or '.join(COLOURS)}",
                got=f"duration_s={duration_s:g}, talkers={talkers}, colour={colour}",
                remedy="240 s and 12 talkers are usual",
            )
        self.samples = round(duration_s * sample_rate_hz)
        self.talkers = talkers
        self.colour: Colour = colour
        self.seed = seed
        self._speech: tuple[Mapping[str, Sequence[str]], Callable[[str], np.ndarray]] | None = None

    @property
    def needs_speech(self) -> bool:  # type: ignore[override]
        """Whether babble waits for speech."""
        return "babble" in self.types and self._speech is None

    def take_speech(self, ids_by_speaker: Mapping[str, Sequence[str]], read: Callable[[str], np.ndarray]) -> None:
        """Take the clips of the fold's training speakers to mix babble from."""
        self._speech = ids_by_speaker, read
        self._tracks.pop("babble", None)

    def make_track(self, noise_type: str) -> Tensor:
        """Make the whole track of a type.

        Raises:
            ConfigError: If babble is asked for before there is speech.
            DataError: If the speech is too little or silent.
        """
        # length and rate belong to the key: else the test part of a short track would be seconds of the training part of a longer one
        key = hash_text("synthetic noise", self.seed, noise_type, self.samples, self.sample_rate_hz)
        if noise_type == "babble":
            return self._make_babble(key)
        if noise_type == "stationary":
            return bring_to_level(make_stationary_noise(key, self.samples, self.sample_rate_hz, self.colour))
        return bring_to_level(MAKERS[noise_type](key, self.samples, self.sample_rate_hz))

    def _make_babble(self, key: int) -> Tensor:
        """Mix each part of the track from clips of its own."""
        if self._speech is None:
            raise ConfigError(
                "Babble is mixed from speech, and none was handed in.",
                expected="take_speech(clips of the training speakers) before the first bank",
                got="no speech",
                remedy="build the corpus by ser_kd.tasks.noise.prepare_noise, or leave babble out of noise.types",
            )
        ids_by_speaker, read = self._speech
        tracks = []
        for split in NOISE_SPLITS:
            first, end = (round(share * self.samples) for share in FILE_SHARES[split])
            shared = share_clips(ids_by_speaker, split)
            tracks.append(bring_to_level(mix_babble(shared, read, hash_text(key, split), end - first, self.talkers)))
        return torch.cat(tracks)

    def describe(self) -> dict[str, Any]:
        """Tell what a reader of results must know; for babble also who speaks."""
        speakers = {"babble_speakers": sorted(self._speech[0])} if self._speech and "babble" in self.types else {}
        return {**super().describe(), "seed": self.seed, **speakers}
