"""Speak a sentence with espeak-ng in a voice described by numbers, the same samples every time."""

from __future__ import annotations

import ctypes
import os
import tempfile
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ser_kd.contracts.errors import DataError

_RATE, _VOLUME, _PITCH, _RANGE, _WORD_GAP = 1, 2, 3, 4, 7  # espeak_PARAMETER
_SYNCHRONOUS, _DO_NOT_EXIT = 2, 0x8000  # espeak_AUDIO_OUTPUT, initialisation flag
_UTF_8 = 1
_SampleCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@dataclass(frozen=True)
class VoiceShape:
    """A voice as espeak-ng's formant synthesiser understands it.

    The ready-made variants (m1, f2, …) carry ``flutter`` and ``roughness``, whose phases run on from clip to clip and make a clip
    depend on what was said before it. So a voice is always described in full, with both off; they can be added to the samples.

    Args:
        gender: ``female`` or ``male``.
        pitch_low_hz: Lowest pitch of the intonation.
        pitch_high_hz: Highest pitch of the intonation.
        formants: Frequency, height and width of formants 0 to 8 in percent of espeak-ng's own.
        breath: Strength of the aspiration noise, 0 to 40.
        consonants: Loudness of fricatives and bursts, percent.
        intonation: Which of espeak-ng's four sets of tunes is spoken, 1 to 4.
    """

    gender: str
    pitch_low_hz: int
    pitch_high_hz: int
    formants: tuple[tuple[int, int, int], ...]
    breath: int = 0
    consonants: int = 100
    intonation: int = 1

    def to_text(self) -> str:
        """Write it as an espeak-ng voice file."""
        rows = [
            "name ser_kd_demo",
            "language en",
            f"gender {self.gender}",
            "flutter 0",
            "roughness 0",
            f"pitch {self.pitch_low_hz} {self.pitch_high_hz}",
            f"intonation {self.intonation}",
            f"consonants {self.consonants} {self.consonants}",
            *(f"formant {number} {frequency} {height} {width}" for number, (frequency, height, width) in enumerate(self.formants)),
        ]
        if self.breath:
            rows.append("breath 0" + f" {self.breath}" * 7)
        return "\n".join(rows) + "\n"


class _Engine:
    """The library, of which one process has only one: its settings are global, so callers take turns."""

    def __init__(self, library_path: str, data_path: str) -> None:
        self.library = ctypes.CDLL(library_path)
        self.library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self.library.espeak_Synth.argtypes = [
            *(ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p)
        ]
        self.sample_rate_hz: int = self.library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data_path), _DO_NOT_EXIT)
        if self.sample_rate_hz <= 0:
            raise _explain(f"espeak-ng does not start with {data_path}")
        self.turn = threading.Lock()
        self.pieces: list[np.ndarray] = []
        self.collect = _SampleCallback(self._collect)  # kept: the library holds only a pointer to it
        self.folder = tempfile.TemporaryDirectory(prefix="ser_kd_voice_")

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def speak(self, text: str, voice: VoiceShape, words_per_minute: int, seed: int) -> np.ndarray:
        with self.turn:
            self.pieces.clear()
            self.library.espeak_SetSynthCallback(self.collect)
            file = Path(self.folder.name) / "voice"
            file.write_text(voice.to_text(), encoding="ascii")
            if self.library.espeak_SetVoiceByFile(os.fsencode(file)):
                raise _explain(f"espeak-ng refuses the voice in {file}")
            # Volume 60 leaves head room: louder voices clip inside the library.
            for parameter, value in ((_RATE, words_per_minute), (_VOLUME, 60), (_PITCH, 50), (_RANGE, 50), (_WORD_GAP, 0)):
                self.library.espeak_SetParameter(parameter, value, 0)
            self.library.espeak_ng_SetRandSeed(seed)
            encoded = text.encode()
            status = self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF_8, None, None)
            self.library.espeak_Synchronize()
            if status or not self.pieces:
                raise _explain(f"espeak-ng says nothing for '{text}' (status {status})")
            return np.concatenate(self.pieces).astype(np.float32) / 32768.0


@cache
def _engine() -> _Engine:
    try:
        import espeakng_loader  # an extra: whoever reads a finished corpus needs none

        return _Engine(espeakng_loader.get_library_path(), espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError, AttributeError) as fault:
        raise _explain(f"{type(fault).__name__}: {fault}") from fault


def _explain(got: str) -> DataError:
    return DataError(
        "The demo corpus cannot be spoken.",
        expected="espeak-ng, as the package espeakng-loader brings it",
        got=got,
        remedy='pip install "ser-kd[demo]"',
    )


def speak(text: str, voice: VoiceShape, words_per_minute: int, seed: int) -> tuple[np.ndarray, int]:
    """Speak one sentence.

    Equal arguments give equal samples, whatever was spoken before and in whichever process.

    Args:
        text: English; its punctuation bends the intonation.
        voice: Who speaks.
        words_per_minute: 80 to 450; 175 is calm.
        seed: Seed of the aspiration noise, 0 to 2^31 - 1.

    Returns:
        (T,) float32 in [-1, 1], and its sample rate in Hz.

    Raises:
        DataError: If espeak-ng is not installed or does not start.
    """
    engine = _engine()
    return engine.speak(text, voice, words_per_minute, seed), engine.sample_rate_hz
