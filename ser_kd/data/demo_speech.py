"""Emotional speech out of numbers: what each emotion does to a voice, who speaks, where it is recorded, and the sound of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import fft, ndimage, signal

from ser_kd.data.demo_sentences import EMOTIVE_SENTENCES, SHARED_SENTENCES, SLOT_WORDS, compose_sentence
from ser_kd.data.espeak import VoiceShape, speak
from ser_kd.storage.audio_files import resample

VERSION = 1
"""Raised whenever the same settings would sound different, so that no one mixes two corpora."""

CUES = ("pitch", "range", "rate", "level", "tilt", "breath", "rough", "tremor", "glide", "formant", "question", "exclaim")
"""The columns of the tables below.

``pitch`` mean pitch, semitones · ``range`` width of the intonation, log2 · ``rate`` speaking rate, log2 · ``level`` loudness, dB ·
``tilt`` vocal effort as slope of the spectrum, dB per octave · ``breath`` aspiration noise, espeak-ng's 0 to 40 · ``rough`` depth of
a growl of 40 to 75 Hz, tenths · ``tremor`` depth of wavering, semitones · ``glide`` pitch movement over the last third, semitones ·
``formant`` shift of all resonances (smile up, disgust down), percent · ``question``, ``exclaim`` share of clips with that tune.
"""

EMOTION_CUES: Mapping[str, tuple[float, ...]] = {
    #            pitch  range   rate  level   tilt breath  rough tremor  glide formant question exclaim
    "neutral":  ( 0.0,  0.00,  0.00,   0.0,   0.0,   0.0,   0.0,  0.00,   0.0,   0.0,   0.05,   0.05),
    "happy":    ( 3.0,  0.60,  0.12,   2.5,   0.8,   0.0,   0.0,  0.05,   1.0,   4.0,   0.10,   0.60),
    "sad":      (-1.5, -0.60, -0.26,  -4.0,  -1.2,   9.0,   0.5,  0.30,  -2.4,  -1.0,   0.00,   0.00),
    "angry":    ( 2.5,  0.45,  0.16,   5.5,   1.8,   0.0,   3.5,  0.05,  -1.6,   0.0,   0.05,   0.80),
    "fear":     ( 3.5, -0.30,  0.24,  -1.0,   0.2,   8.0,   0.5,  0.90,   0.6,   1.0,   0.20,   0.20),
    "disgust":  (-2.0, -0.10, -0.22,   0.5,   0.4,   1.0,   4.0,  0.00,  -1.8,  -4.0,   0.00,   0.20),
    "surprise": ( 4.0,  0.80, -0.06,   1.5,   0.3,   4.0,   0.0,  0.05,   3.2,   1.5,   0.65,   0.30),
}  # fmt: skip
"""What an emotion of strength 1 adds to a speaker's neutral voice.

Neighbours overlap on purpose: happy, angry and surprise; sad, neutral and disgust; fear and sad (breath, tremor).
"""
CLIP_SPREAD = (1.1, 0.20, 0.08, 3.5, 1.3, 3.0, 1.0, 0.10, 0.8, 1.5, 0.0, 0.0)
"""Standard deviation from clip to clip, in the same columns: the first knob of difficulty."""
SPEAKER_SPREAD = (0.0, 0.20, 0.08, 2.0, 0.8, 2.0, 0.5, 0.05, 0.4, 0.0, 0.0, 0.0)
"""Largest offset of a speaker's neutral voice, drawn evenly (their pitch and resonances are drawn apart)."""

INTENSITY_STRENGTH: Mapping[str, float] = {"normal": 0.75, "strong": 1.15}
"""How much of the table a clip of each intensity shows: the second knob of difficulty."""
STRENGTH_SPREAD = 0.15
"""Standard deviation of how strongly a speaker shows each emotion, as a factor's logarithm: what makes new speakers hard."""
SNR_DB = (10.0, 28.0)
"""Range of the signal-to-noise ratio of a clip."""

#                               arousal dominance valence
EMOTION_DIMENSIONS: Mapping[str, tuple[float, float, float]] = {
    "neutral":  (0.40, 0.50, 0.52),
    "happy":    (0.68, 0.62, 0.86),
    "sad":      (0.24, 0.27, 0.20),
    "angry":    (0.84, 0.82, 0.15),
    "fear":     (0.74, 0.22, 0.20),
    "disgust":  (0.50, 0.60, 0.16),
    "surprise": (0.80, 0.48, 0.62),
}  # fmt: skip
"""Where strength 1 lies among arousal, dominance and valence; neutral is strength 0 of every emotion."""
DIMENSION_SPREAD = 0.05
"""Standard deviation of the raters' mean."""


def describe_settings() -> dict[str, object]:
    """Give all constants on which the audio depends, as plain data to be hashed."""
    return {
        "version": VERSION,
        "emotion_cues": {emotion: list(row) for emotion, row in EMOTION_CUES.items()},
        "clip_spread": list(CLIP_SPREAD),
        "speaker_spread": list(SPEAKER_SPREAD),
        "intensity_strength": dict(INTENSITY_STRENGTH),
        "strength_spread": STRENGTH_SPREAD,
        "snr_db": list(SNR_DB),
        "emotion_dimensions": {emotion: list(row) for emotion, row in EMOTION_DIMENSIONS.items()},
        "dimension_spread": DIMENSION_SPREAD,
        "shared_sentences": list(SHARED_SENTENCES),
        "emotive_sentences": {emotion: list(rows) for emotion, rows in EMOTIVE_SENTENCES.items()},
        "slot_words": {slot: list(words) for slot, words in SLOT_WORDS.items()},
    }


def draw_generator(*key: object) -> np.random.Generator:
    """Give a generator whose draws depend on the version and the key alone, not on process or order."""
    text = "\x1f".join(map(str, (VERSION, *key)))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


@dataclass(frozen=True)
class DemoSpeaker:
    """A voice and the room it was recorded in.

    Args:
        name: Such as ``spk03``.
        gender: ``female`` or ``male``.
        session: Such as ``ses2``; two speakers share one.
        pitch_hz: Mean pitch.
        words_per_minute: Calm rate.
        formants: Frequency, height and width of formants 0 to 8, percent.
        consonants: Loudness of fricatives, percent.
        cues: Offsets of the neutral voice, by the columns of ``CUES``.
        strength: Emotion -> factor on its cues.
        reverberation_s: Time in which the room decays by 60 dB.
        direct_db: Direct sound over reverberation.
    """

    name: str
    gender: str
    session: str
    pitch_hz: float
    words_per_minute: float
    formants: tuple[tuple[int, int, int], ...]
    consonants: int
    cues: np.ndarray
    strength: Mapping[str, float]
    reverberation_s: float
    direct_db: float


@cache
def draw_speaker(number: int) -> DemoSpeaker:
    """Draw a speaker.

    Args:
        number: From 1; odd numbers are women, even ones men, and each pair shares a session.
    """
    draw = draw_generator("speaker", number)
    female = number % 2 == 1
    tract = (116 if female else 98) * draw.uniform(0.96, 1.04)
    formants = [(round(tract * draw.uniform(0.97, 1.03)), round(draw.uniform(82, 108)), round(draw.uniform(105, 145))) for _ in range(9)]
    formants[0] = (100, 100, 100)  # the voice bar, no resonance of the tract
    return DemoSpeaker(
        name=f"spk{number:02d}",
        gender="female" if female else "male",
        session=f"ses{(number + 1) // 2}",
        pitch_hz=float((195 if female else 112) * 2 ** (draw.uniform(-2.5, 2.5) / 12)),
        words_per_minute=float(draw.uniform(160, 195)),
        formants=tuple(formants),
        consonants=round(draw.uniform(70, 120)),
        cues=draw.uniform(-1, 1, len(CUES)) * SPEAKER_SPREAD,
        strength={emotion: float(np.exp(draw.normal(0, STRENGTH_SPREAD))) for emotion in EMOTION_CUES},
        reverberation_s=float(draw.uniform(0.1, 0.45)),
        direct_db=float(draw.uniform(6, 16)),
    )


@dataclass(frozen=True)
class DemoClip:
    """Everything that is decided about a clip before it sounds.

    Args:
        id: Such as ``spk03_angry_07``.
        speaker: Who speaks.
        emotion: One of ``EMOTION_CUES``.
        intensity: One of ``INTENSITY_STRENGTH``.
        text: The sentence.
        cues: Column of ``CUES`` -> value.
        arousal: In [0, 1].
        dominance: In [0, 1].
        valence: In [0, 1].
    """

    id: str
    speaker: DemoSpeaker
    emotion: str
    intensity: str
    text: str
    cues: Mapping[str, float]
    arousal: float
    dominance: float
    valence: float


def draw_clip(speaker_number: int, emotion: str, index: int) -> DemoClip:
    """Draw what is said and how.

    Args:
        speaker_number: From 1.
        emotion: One of ``EMOTION_CUES``.
        index: From 0; every second clip speaks a sentence that all emotions share, every second pair is strong.
    """
    speaker = draw_speaker(speaker_number)
    draw = draw_generator("clip", speaker_number, emotion, index)
    intensity = "strong" if index // 2 % 2 else "normal"
    text = compose_sentence(emotion, index % 2 == 0, draw)
    strength = INTENSITY_STRENGTH[intensity] * speaker.strength[emotion]
    cues = speaker.cues + strength * np.array(EMOTION_CUES[emotion]) + draw.normal(0, CLIP_SPREAD)
    rest, centre = (np.array(EMOTION_DIMENSIONS[name]) for name in ("neutral", emotion))
    dimensions = np.clip(rest + strength * (centre - rest) + draw.normal(0, DIMENSION_SPREAD, 3), 0, 1).round(3)
    return DemoClip(
        f"{speaker.name}_{emotion}_{index:02d}",
        speaker,
        emotion,
        intensity,
        text,
        dict(zip(CUES, cues.tolist(), strict=True)),
        *dimensions.tolist(),
    )


def synthesise_clip(clip: DemoClip, sample_rate_hz: int) -> np.ndarray:
    """Let a clip sound: espeak-ng speaks, then the voice wavers and glides, and the room and its noise are added.

    Args:
        clip: What was drawn.
        sample_rate_hz: Wanted rate.

    Returns:
        (T,) float32 within ±1, equal for equal clips.

    Raises:
        DataError: If espeak-ng is not installed.
    """
    draw = draw_generator("sound", clip.id)
    cues, speaker = clip.cues, clip.speaker
    centre_hz = speaker.pitch_hz * 2 ** (cues["pitch"] / 12)
    width = 2 ** (5.0 * 2 ** cues["range"] / 12)  # low and high lie 5 semitones off the centre where range is 0
    stretch = 1 + cues["formant"] / 100
    formants = [speaker.formants[0], *((round(f * stretch), height, bandwidth) for f, height, bandwidth in speaker.formants[1:])]
    voice = VoiceShape(
        speaker.gender,
        round(centre_hz / width),
        round(centre_hz * width),
        tuple(formants),
        breath=round(min(max(cues["breath"], 0), 40)),
        consonants=speaker.consonants,
    )
    share = draw.uniform()
    mark = "?" if share < cues["question"] else "!" if share < cues["question"] + cues["exclaim"] else "."
    words_per_minute = round(min(max(speaker.words_per_minute * 2 ** cues["rate"], 90), 320))
    spoken, spoken_hz = speak(clip.text.rstrip(".") + mark, voice, words_per_minute, int(draw.integers(2**31)))
    waved = _bend_pitch(spoken, spoken_hz, max(cues["tremor"], 0.0), cues["glide"], draw)
    growl = np.sin(2 * np.pi * draw.uniform(40, 75) / spoken_hz * np.arange(len(waved)))
    waved *= (1 + min(max(cues["rough"], 0), 7) / 10 * growl).astype(np.float32)
    voiced = _tilt_spectrum(resample(waved, spoken_hz, sample_rate_hz), sample_rate_hz, cues["tilt"])
    pauses = [np.zeros(round(seconds * sample_rate_hz), dtype=np.float32) for seconds in draw.uniform(0.05, 0.25, 2)]
    quiet_room = np.concatenate([pauses[0], voiced, pauses[1]])
    dry = quiet_room / _rms(voiced)
    clean = _add_room(dry, sample_rate_hz, speaker, draw)
    noise = _draw_noise(len(clean), draw.uniform(0.4, 1.6), draw) * 10 ** (-draw.uniform(*SNR_DB) / 20)
    recorded = (clean + noise) * 10 ** ((-27.0 + cues["level"]) / 20)
    return (recorded / max(1.0, float(np.abs(recorded).max()) / 0.99)).astype(np.float32)


def _rms(waveform: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(waveform, dtype=np.float64)))) + 1e-9


def _bend_pitch(waveform: np.ndarray, rate_hz: int, tremor: float, glide: float, draw: np.random.Generator) -> np.ndarray:
    """Waver in pitch and loudness at 5 to 8 Hz and glide over the last third, by reading the samples faster and slower."""
    time_s = np.arange(len(waveform)) / rate_hz
    swing = np.sin(2 * np.pi * draw.uniform(5, 8) * time_s + draw.uniform(0, 2 * np.pi))
    ending = np.clip(3 * np.linspace(0, 1, len(waveform)) - 2, 0, 1)
    speed = 2 ** ((tremor * swing + glide * ending) / 12)
    position = np.concatenate([[0.0], np.cumsum(speed)])
    position = position[position < len(waveform) - 1]
    loudness = 1 + 0.35 * min(tremor, 1.5) * np.sin(2 * np.pi * draw.uniform(5, 8) * time_s)
    bent: np.ndarray = ndimage.map_coordinates(waveform * loudness, position[None], order=3, mode="nearest")
    return bent.astype(np.float32)


def _tilt_spectrum(waveform: np.ndarray, rate_hz: int, slope_db: float) -> np.ndarray:
    """Raise or lower the spectrum by so many dB per octave around 500 Hz, level outside 125 Hz to 8 kHz."""
    count = fft.next_fast_len(len(waveform), real=True)
    octaves = np.log2(np.clip(fft.rfftfreq(count, 1 / rate_hz), 125, 8000) / 500)
    tilted: np.ndarray = fft.irfft(fft.rfft(waveform, count) * 10 ** (slope_db * octaves / 20), count)
    return tilted[: len(waveform)].astype(np.float32)


def _add_room(dry: np.ndarray, rate_hz: int, speaker: DemoSpeaker, draw: np.random.Generator) -> np.ndarray:
    """Add a decaying noise tail behind the direct sound."""
    count = round(speaker.reverberation_s * rate_hz)
    tail = draw.standard_normal(count) * 10 ** (-3 * np.arange(count) / count)
    tail[: round(0.003 * rate_hz)] = 0
    tail *= 10 ** (-speaker.direct_db / 20) / (np.linalg.norm(tail) + 1e-9)
    return dry + signal.oaconvolve(dry, tail)[: len(dry)]


def _draw_noise(count: int, slope: float, draw: np.random.Generator) -> np.ndarray:
    """Draw noise of mean square 1 whose power falls as 1 / f to the slope."""
    fast = fft.next_fast_len(count, real=True)  # a prime length is ten times slower
    frequency = np.maximum(np.arange(fast // 2 + 1), fast / 400.0)
    spectrum = (draw.standard_normal(len(frequency)) + 1j * draw.standard_normal(len(frequency))) * frequency ** (-slope / 2)
    spectrum[0] = 0
    noise: np.ndarray = fft.irfft(spectrum, fast)[:count]
    return noise / _rms(noise)
