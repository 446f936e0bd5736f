"""Read audio files as mono float32 at the wanted sample rate; the only door through which audio enters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

from ser_kd.contracts.errors import DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".au", ".opus")
"""File name endings that are taken for audio when a folder is read."""


def list_audio(root: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> dict[str, Path]:
    """Find the audio files below a folder by their endings; hidden ones are left out.

    Args:
        root: The folder.
        suffixes: Endings that count, in lower case.

    Returns:
        Name below the folder (with /) -> path, in the order of the names; empty where there is no such folder.
    """
    found = [path for path in root.rglob("*") if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return dict(sorted((path.relative_to(root).as_posix(), path) for path in found))


def read_audio(path: Path, sample_rate_hz: int, start_s: float = 0.0, end_s: float | None = None) -> np.ndarray:
    """Read a stretch of a file, mixed to mono by the mean of its channels and resampled by soxr HQ.

    Args:
        path: Any format libsndfile reads.
        sample_rate_hz: Wanted rate.
        start_s: Beginning of the stretch, seconds.
        end_s: Its end, seconds; None is the end of the file.

    Returns:
        (T,) float32 in about [-1, 1].

    Raises:
        DataError: If the file is missing, unreadable, empty, holds NaN or infinity, or ends before the stretch begins.
    """
    if not path.is_file():
        raise DataError("Audio file is missing.", expected="an audio file", got=str(path), remedy="check the path")
    try:
        with soundfile.SoundFile(path) as file:
            start = round(start_s * file.samplerate)
            stop = file.frames if end_s is None else min(round(end_s * file.samplerate), file.frames)
            if start >= stop and file.frames:
                raise DataError(
                    "The wanted stretch is empty.",
                    expected=f"start_s < end_s within {file.frames / file.samplerate:.3f} s",
                    got=f"{path}: {start_s:g} to {'end' if end_s is None else format(end_s, 'g')} s",
                    remedy="correct start and end in the manifest",
                )
            file.seek(start)
            channels = file.read(stop - start, dtype="float32", always_2d=True)  # (T, channels)
            rate = file.samplerate
    except (soundfile.SoundFileError, OSError) as fault:
        raise _tell_undecodable(path, fault) from fault
    return check_waveform(resample(channels.mean(axis=1), rate, sample_rate_hz), str(path))


def read_sample_rate(path: Path) -> int:
    """Read the sample rate that a file tells, in Hz.

    Raises:
        DataError: If the file is missing or no audio.
    """
    try:
        return int(soundfile.info(str(path)).samplerate)
    except (soundfile.SoundFileError, OSError) as fault:
        raise _tell_undecodable(path, fault) from fault


def _tell_undecodable(path: Path, fault: Exception) -> DataError:
    return DataError(
        "Audio file cannot be decoded.",
        expected="audio that libsndfile reads (wav, flac, ogg, mp3, …)",
        got=f"{path}: {fault}",
        remedy="copy the file again or leave it out",
    )


def resample(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resample by soxr HQ; the same rate passes through untouched.

    Args:
        waveform: (T,) float32.
        from_hz: Its rate.
        to_hz: Wanted rate.

    Returns:
        (T',) float32.
    """
    if from_hz == to_hz or not len(waveform):
        return np.ascontiguousarray(waveform, dtype=np.float32)
    return np.ascontiguousarray(soxr.resample(waveform, from_hz, to_hz, quality="HQ"), dtype=np.float32)


def check_waveform(waveform: np.ndarray, name: str) -> np.ndarray:
    """Check that a waveform has samples and all are finite, and hand it back.

    Raises:
        DataError: If it is empty or holds NaN or infinity.
    """
    if not len(waveform):
        raise DataError("Audio is empty.", expected="at least one sample", got=f"{name}: 0 samples", remedy="leave the file out")
    bad = int(np.count_nonzero(~np.isfinite(waveform)))
    if bad:
        raise DataError(
            "Audio holds NaN or infinity.",
            expected="finite samples",
            got=f"{name}: {bad} of {len(waveform)} samples",
            remedy="write the file again from its source, or leave it out",
        )
    return waveform


def write_wav(path: Path, waveform: np.ndarray, sample_rate_hz: int) -> None:
    """Write mono 16-bit PCM; values beyond full scale are clipped.

    Args:
        path: Target; its folder must exist.
        waveform: (T,) float.
        sample_rate_hz: Its rate.
    """
    soundfile.write(path, np.clip(waveform, -1.0, 1.0), sample_rate_hz, subtype="PCM_16", format="WAV")
