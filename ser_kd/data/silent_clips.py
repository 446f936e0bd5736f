"""Clips of which no teacher can say anything: digitally silent ones, and those of a few hundredths of a second."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import numpy as np

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.decoded_audio import DecodedAudio
from ser_kd.storage.atomic import replace_file

OnSilence = Literal["skip", "error", "keep"]

SHORTEST_S = 0.1
"""Clips without labels that are shorter say nothing."""

SILENCE = 1e-4
"""Largest deviation from a constant that counts as silence: -80 dB of full scale; the dither of 16-bit silence lies below."""

_KEPT = "silent.json"


def check_on_silence(value: str) -> None:
    """Check what is to become of silent clips.

    Raises:
        ConfigError: If it is none of the choices.
    """
    if value not in get_args(OnSilence):
        raise ConfigError(
            "Unknown way to treat silent clips.",
            expected=" or ".join(get_args(OnSilence)),
            got=str(value),
            remedy="set datamodule.on_unlabelled_silence to one of them",
        )


def find_silent(audio: DecodedAudio) -> set[str]:
    """Find the clips whose samples are all zero or constant; found once and kept beside the samples.

    Args:
        audio: Decoded clips, those that lie beside it not among them.

    Returns:
        Their ids.
    """
    place = audio.folder / _KEPT
    try:
        return set(json.loads(place.read_text()))
    except (OSError, ValueError):  # not looked for yet
        found = [name for name in audio.offsets if np.ptp(audio.read(name)) <= 2 * SILENCE]
    try:
        with replace_file(place) as part:
            part.write_text(json.dumps(found))
    except OSError:  # a cache that may only be read: looked for again next time
        pass
    return set(found)


def find_empty(utterances: Iterable[Utterance], audio: DecodedAudio) -> dict[str, str]:
    """Find the clips of which nothing can be said.

    Args:
        utterances: Clips; those that could not be decoded are passed over.
        audio: Their audio.

    Returns:
        Utterance id -> ``silent`` or ``shorter than 0.1 s``.
    """
    silent = find_silent(audio)
    shortest = round(SHORTEST_S * audio.sample_rate_hz)
    found = {}
    for name in (u.id for u in utterances if u.id in audio.offsets):
        if audio.offsets[name][1] < shortest:
            found[name] = f"shorter than {SHORTEST_S:g} s"
        elif name in silent:
            found[name] = "silent"
    return found


def describe_empty(empty: Mapping[str, str], on_silence: OnSilence) -> list[str]:
    """Tell how many clips without labels are empty, and what becomes of them; nothing where there are none.

    Args:
        empty: See ``find_empty``.
        on_silence: ``keep`` or ``skip``; with ``error`` they are refused.

    Raises:
        DataError: If they are to be refused.
    """
    if not empty:
        return []
    kinds = [f"{count} {kind}" for kind in dict.fromkeys(empty.values()) if (count := list(empty.values()).count(kind))]
    if on_silence == "error":
        shown = ", ".join(f"{name} ({kind})" for name, kind in list(empty.items())[:5])
        raise DataError(
            f"{len(empty)} clips without labels are silent or too short.",
            expected=f"clips of at least {SHORTEST_S:g} s that are not silent",
            got=f"{', '.join(kinds)}: {shown}" + (f"; and {len(empty) - 5} more" if len(empty) > 5 else ""),
            remedy="remove them, or set datamodule.on_unlabelled_silence=skip, which leaves them out, or =keep, which trains on them",
        )
    fate = "train all the same" if on_silence == "keep" else "left out (datamodule.on_unlabelled_silence=keep trains on them)"
    return [f"clips without labels of which no teacher can say anything: {', '.join(kinds)}; {fate}"]
