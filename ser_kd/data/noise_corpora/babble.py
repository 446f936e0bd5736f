"""Babble: several talkers at once, mixed from clips that are handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from ser_kd.contracts.errors import DataError
from ser_kd.data.clip_bank import choose_share
from ser_kd.functional.keyed_random import hash_text
from ser_kd.functional.levels import active_speech_level


def share_clips(ids_by_speaker: Mapping[str, Sequence[str]], split: str) -> dict[str, list[str]]:
    """Give the clips that the babble of a split is mixed from: 60 % for training, 20 % each for validation and test, no clip twice.

    Returns:
        Speaker -> utterance ids; speakers without a clip are left out.

    Raises:
        DataError: If there are too few clips to be shared.
    """
    speaker_of = {clip: speaker for speaker, clips in ids_by_speaker.items() for clip in clips}
    chosen = set(choose_share(sorted(speaker_of), split))
    if not chosen:
        raise DataError(
            "There are too few clips to mix babble from.",
            expected="5 clips or more of the training speakers",
            got=f"{len(speaker_of)} clips",
            remedy="leave babble out of noise.types",
        )
    shares = {speaker: [clip for clip in clips if clip in chosen] for speaker, clips in sorted(ids_by_speaker.items())}
    return {speaker: clips for speaker, clips in shares.items() if clips}


def mix_babble(
    ids_by_speaker: Mapping[str, Sequence[str]], read: Callable[[str], np.ndarray], key: int, samples: int, talkers: int
) -> np.ndarray:
    """Mix talkers: each says the clips of one speaker in an order of its own, again when they end, all clips at one active level.

    Where there are fewer speakers than talkers, one speaker lends the voice to several. A talker begins within the first clip, so that
    they do not all begin together.

    Args:
        ids_by_speaker: Speaker -> utterance ids, one or more.
        read: Gives a clip's samples (T,) by its id.
        key: Random key.
        samples: T.
        talkers: How many speak at once.

    Returns:
        (T,) float64 of no particular level.

    Raises:
        DataError: If all clips of a speaker are silent.
    """
    speakers = sorted(ids_by_speaker, key=lambda speaker: hash_text(key, "speaker", speaker))
    mix = np.zeros(samples)
    for talker in range(talkers):
        speaker = speakers[talker % len(speakers)]
        mix += _talk(speaker, ids_by_speaker[speaker], read, hash_text(key, "talker", talker), samples)
    return mix


def _talk(speaker: str, ids: Sequence[str], read: Callable[[str], np.ndarray], key: int, samples: int) -> np.ndarray:
    track = np.zeros(samples)
    place, number, skipped = 0, 0, abs(hash_text(key, "start"))
    while place < samples:
        before = place
        for clip in sorted(ids, key=lambda name: hash_text(key, number, name)):
            waveform = read(clip)
            level = float(active_speech_level(torch.from_numpy(waveform)[None]))
            if level == 0.0:
                continue
            waveform, skipped = waveform[skipped % max(len(waveform) // 2, 1) :], 0
            waveform = waveform[: samples - place]
            track[place : place + len(waveform)] = waveform / level
            place += len(waveform)
            if place == samples:
                break
        if place == before:
            raise DataError(
                "Babble cannot be mixed from silence.",
                expected="clips with at least one sample that is not zero",
                got=f"speaker {speaker}: {', '.join(ids[:5])}",
                remedy="leave these clips out of the corpus",
            )
        number += 1
    return track
