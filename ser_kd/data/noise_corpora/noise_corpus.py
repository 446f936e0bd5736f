"""What all noise corpora share: named types, whole recordings, and a split by time that keeps the noise of the test unheard."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.data.clip_bank import FILE_SHARES, HeldClips, choose_share

NoiseSplit = Literal["train", "validation", "test"]

NOISE_SPLITS: tuple[NoiseSplit, ...] = ("train", "validation", "test")

FEWEST_FILES = 5
"""From so many recordings of a type on, each goes to one split whole; fewer are cut by time."""


@dataclass(frozen=True)
class NoisePart:
    """The stretch of one recording that a split hears.

    Args:
        type: Type of noise.
        source: Name of the recording; that of the type where it has just one.
        start_s: Beginning, seconds into the recording.
        end_s: End, seconds.
    """

    type: str
    source: str
    start_s: float
    end_s: float


class NoiseBank(HeldClips):
    """The noises one split hears: a ``ClipSource`` for ``BackgroundNoise``.

    Args:
        parts: N stretches, told by ``parts`` in the order of the clips.
        clips: N waveforms (T,) float32.
        sample_rate_hz: Their rate.
    """

    def __init__(self, parts: Sequence[NoisePart], clips: Sequence[Tensor], sample_rate_hz: int) -> None:
        super().__init__([part.source for part in parts], clips, sample_rate_hz)
        self.parts = tuple(parts)

    @property
    def types(self) -> tuple[str, ...]:
        """Type of each clip."""
        return tuple(part.type for part in self.parts)

    def clips(self) -> list[Tensor]:
        """Give the waveforms (T,) of all clips; they share the memory of the bank."""
        samples, starts, lengths = self._held[torch.device("cpu")]
        return [samples[start : start + size] for start, size in zip(starts.tolist(), lengths.tolist(), strict=True)]


MINIMUM_PART_S = 0.01
"""A part shorter than this would be a click that goes round."""


class NoiseCorpus(ABC):
    """Noises of named types, split so that no stretch of the test was heard in training.

    A type is one long recording or many short ones. With ``noise_split=time`` a recording is cut at 60 % and 80 % of its duration into
    training, validation and test, with ``guard_s`` left out around each cut; of ``FEWEST_FILES`` or more recordings each goes to one
    split whole. A stretch that is longer than what is left goes round within its own part, so no window crosses a cut.
    ``noise_split=paper`` gives every recording whole to every split, as published systems do: the test noise was then heard in training.

    In use::

        corpus = SyntheticNoise(types=["engine", "channel", "cockpit"], held_out=["cockpit"])
        corpus.types                                # all of them, in order: what an evaluation goes through
        corpus.heard_types                          # without those held out: what training and validation hear
        BackgroundNoise(corpus.bank("train"), ...)                          # one bank of all heard types
        BackgroundNoise(corpus.bank("test", ["cockpit"]), snr, snr, 1.0)    # one condition
        corpus.bank("test", ["cockpit"]).parts      # which recordings, from which second to which

    A corpus whose ``needs_speech`` is True (babble) waits for ``take_speech`` first; ``ser_kd.tasks.noise.prepare_noise(node, data)``
    builds a corpus from ``conf/noise`` and hands in the training speakers of the fold.

    Args:
        known: Types the corpus has.
        types: Those wanted, in order; None takes ``default_types``.
        held_out: Those among them that training and validation never hear.
        noise_split: ``time`` or ``paper``, see above.
        guard_s: Seconds left out around each cut; at most a fiftieth of the recording.
        sample_rate_hz: Rate of the waveforms: that of the speech.

    Raises:
        ConfigError: If a type or the kind of split is unknown, one is named twice, or nothing is left to train with.
    """

    name = "noise"
    licence = "unknown"
    source = ""

    needs_speech = False
    """Whether ``take_speech`` must come before the first bank."""

    def __init__(
        self,
        known: Sequence[str],
        types: Sequence[str] | None,
        held_out: Sequence[str] = (),
        noise_split: Literal["time", "paper"] = "time",
        guard_s: float = 1.0,
        sample_rate_hz: int = 16_000,
    ) -> None:
        self.known = tuple(known)
        self.types = self._choose(known if types is None else types, self.known, "types")
        self.held_out = self._choose(held_out, self.types, "held_out")
        if noise_split not in ("time", "paper"):
            raise ConfigError(
                "Unknown split of noises.",
                expected="time (60 % training, 20 % validation, 20 % test of each recording) or paper (whole recordings to all splits)",
                got=f"noise_split={noise_split}",
                remedy="set noise.noise_split=time: the noise of the test is then never heard in training",
            )
        if not 0.0 <= guard_s < math.inf:
            raise ConfigError(
                "The guard is negative or no number.", expected="guard_s >= 0", got=f"{guard_s:g}", remedy="1 second is usual"
            )
        if not self.heard_types:
            raise ConfigError(
                f"No type of noise is left for training with '{self.name}'.",
                expected="one type or more that is not held out",
                got=f"types {', '.join(self.types) or 'none'}; held out {', '.join(self.held_out) or 'none'}",
                remedy="name further types, or hold fewer out",
            )
        self.noise_split = noise_split
        self.guard_s = guard_s
        self.sample_rate_hz = sample_rate_hz

    def _choose(self, wanted: Sequence[str], among: Sequence[str], key: str) -> tuple[str, ...]:
        chosen = [self.find_type(name) for name in wanted]
        unknown = [str(name) for name, found in zip(wanted, chosen, strict=True) if found not in among]
        twice = [name for name in set(chosen) if chosen.count(name) > 1]
        if unknown or twice:
            raise ConfigError(
                f"Unknown type of noise: {', '.join(unknown)}." if unknown else f"A type of noise is named twice: {', '.join(twice)}.",
                expected=f"types of '{self.name}': {', '.join(among)}",
                got=f"{key}={list(wanted)}",
                remedy=f"choose noise.{key} among them",
            )
        return tuple(chosen)

    def find_type(self, name: str) -> str:
        """Give the corpus' own word for a type; one without aliases gives it back."""
        return name

    @property
    def heard_types(self) -> tuple[str, ...]:
        """The types that training and validation hear."""
        return tuple(name for name in self.types if name not in self.held_out)

    def take_speech(self, ids_by_speaker: Mapping[str, Sequence[str]], read: Callable[[str], np.ndarray]) -> None:
        """Take the clips of the fold's training speakers to mix babble from; others ignore them.

        Args:
            ids_by_speaker: Speaker -> utterance ids.
            read: Gives a clip's samples (T,) at the corpus' rate by its id.
        """
        return

    @abstractmethod
    def list_recordings(self, noise_type: str) -> list[str]:
        """Name the recordings of a type."""

    @abstractmethod
    def read_recordings(self, noise_type: str, recordings: Sequence[str]) -> dict[str, Tensor]:
        """Read or make whole recordings of a type.

        Returns:
            Name -> (T,) float32 at the corpus' rate; one that cannot be used may be missing if that was told.
        """

    def bank(self, split: NoiseSplit, types: Sequence[str] | None = None) -> NoiseBank:
        """Hold the noises that a split hears.

        Args:
            split: ``train``, ``validation`` or ``test``.
            types: Of these types only; None is every type the split may hear: those held out in the test alone.

        Raises:
            ConfigError: If the split or a type is unknown, or training asks for a type that is held out.
            DataError: If a recording cannot be read, is silent, or is too short to be cut.
        """
        if split not in NOISE_SPLITS:
            raise ConfigError("Unknown split of noises.", expected=", ".join(NOISE_SPLITS), got=str(split), remedy="train is for training")
        allowed = self.types if split == "test" else self.heard_types
        chosen = allowed if types is None else self._choose(types, self.types, "types")
        if kept := [name for name in chosen if name not in allowed]:
            raise ConfigError(
                f"The split '{split}' may not hear noises that are held out for the test.",
                expected=", ".join(allowed),
                got=", ".join(kept),
                remedy="take them out of noise.held_out, or ask for other types",
            )
        parts, clips = [], []
        for noise_type in chosen:
            shares = dict(self._share_out(noise_type, split))
            for recording, whole in self.read_recordings(noise_type, list(shares)).items():
                part, clip = self._cut(noise_type, recording, whole, shares[recording])
                parts.append(part)
                clips.append(clip)
        return NoiseBank(parts, clips, self.sample_rate_hz)

    def _share_out(self, noise_type: str, split: NoiseSplit) -> list[tuple[str, tuple[float, float]]]:
        """Give the recordings of a type that a split hears, each with the share of it."""
        recordings = self.list_recordings(noise_type)
        if self.noise_split == "paper":
            return [(name, (0.0, 1.0)) for name in recordings]
        if len(recordings) >= FEWEST_FILES:
            return [(name, (0.0, 1.0)) for name in choose_share(recordings, split)]
        return [(name, FILE_SHARES[split]) for name in recordings]

    def _cut(self, noise_type: str, recording: str, whole: Tensor, share: tuple[float, float]) -> tuple[NoisePart, Tensor]:
        first, end = cut_share(len(whole), share, self.guard_s, self.sample_rate_hz)
        part = NoisePart(noise_type, recording, first / self.sample_rate_hz, end / self.sample_rate_hz)
        if end - first < MINIMUM_PART_S * self.sample_rate_hz:
            raise DataError(
                "A noise is too short to be cut into parts for training, validation and test.",
                expected=f"parts of at least {MINIMUM_PART_S:g} s",
                got=f"{recording}: {end - first} samples of {len(whole)}",
                remedy="leave this recording out, or give longer ones",
            )
        if not bool(whole[first:end].any()):
            raise DataError(
                "A noise is silent, which has no ratio to speech.",
                expected="noise with at least one sample that is not zero in every part",
                got=f"{recording}: {part.start_s:.2f} to {part.end_s:.2f} s of {len(whole) / self.sample_rate_hz:.2f} s",
                remedy="leave this recording out, or cut its silence off",
            )
        return part, whole[first:end]

    def describe(self) -> dict[str, Any]:
        """Tell what a reader of results must know, as plain data for the record.

        Returns:
            ``corpus``, ``licence``, ``types``, ``heard_types`` (in training and validation), ``held_out``, ``noise_split`` and
            ``test_was_heard`` (whether test noises sounded in training, as with ``noise_split=paper``).
        """
        return {
            "corpus": self.name,
            "licence": self.licence,
            "types": list(self.types),
            "heard_types": list(self.heard_types),
            "held_out": list(self.held_out),
            "noise_split": self.noise_split,
            "test_was_heard": self.noise_split == "paper",
        }


def cut_share(samples: int, share: tuple[float, float], guard_s: float, sample_rate_hz: int) -> tuple[int, int]:
    """Find the first sample of a part and the one behind its last; half the guard is left out on either side of a cut.

    Args:
        samples: Length of the recording.
        share: Beginning and end of the part as shares of it; 0 and 1 are no cuts.
        guard_s: Seconds left out around a cut, at most a fiftieth of the recording.
        sample_rate_hz: Its rate.

    Example:
        >>> [cut_share(1000, share, 1.0, 10) for share in ((0.0, 0.6), (0.6, 0.8), (0.8, 1.0), (0.0, 1.0))]
        [(0, 595), (605, 795), (805, 1000), (0, 1000)]
    """
    half = round(min(guard_s * sample_rate_hz, samples / 50) / 2)
    start, end = (round(place * samples) for place in share)
    return (start + half if share[0] > 0.0 else 0), (end - half if share[1] < 1.0 else samples)


class TrackCorpus(NoiseCorpus):
    """A noise corpus with one recording per type, which are kept in memory once read: 15 MB for four minutes at 16 kHz."""

    def list_recordings(self, noise_type: str) -> list[str]:
        """Give the type itself, which is what its recording is called."""
        return [noise_type]

    def read_recordings(self, noise_type: str, recordings: Sequence[str]) -> dict[str, Tensor]:
        """Give the whole track of a type."""
        if noise_type not in self._tracks:
            self._tracks[noise_type] = self.make_track(noise_type)
        return {noise_type: self._tracks[noise_type]}

    @functools.cached_property
    def _tracks(self) -> dict[str, Tensor]:
        return {}

    @abstractmethod
    def make_track(self, noise_type: str) -> Tensor:
        """Read or make the track of a type, (T,) float32 at the corpus' rate."""
