"""Read a waveform out of a MATLAB file, at the wanted sample rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from ser_kd.contracts.errors import DataError
from ser_kd.storage.audio_files import check_waveform, resample


def read_mat_waveform(path: Path, name: str, file_rate_hz: int, sample_rate_hz: int) -> np.ndarray:
    """Read a vector of samples from a MATLAB 5 file and resample it by soxr HQ.

    Such files tell no sample rate. Whole numbers are divided by the full scale of their kind; a vector whose numbers leave [-1, 1] though
    they are no integers (16-bit samples stored as double) is divided by 2^15, or by its peak where that is larger.

    Args:
        path: The file.
        name: The variable; where there is none of that name, the only vector of the file.
        file_rate_hz: Rate of the samples in the file.
        sample_rate_hz: Wanted rate.

    Returns:
        (T,) float32 in [-1, 1] before resampling.

    Raises:
        DataError: If the file is missing, unreadable, of version 7.3, or holds no such vector, or NaN.
    """
    try:
        variables = {key: value for key, value in loadmat(path).items() if not key.startswith("__")}
    except (OSError, ValueError, NotImplementedError, MatReadError, TypeError) as fault:
        raise DataError(
            "MATLAB file cannot be read.",
            expected="a MATLAB 5 file (save -v7 or -v6) with the samples as one vector",
            got=f"{path}: {fault}",
            remedy="copy the file again, or save it as wav",
        ) from fault
    vectors = {key: value for key, value in variables.items() if _is_vector(value)}
    chosen = vectors.get(name, next(iter(vectors.values())) if len(vectors) == 1 else None)
    if chosen is None:
        shapes = ", ".join(f"{key} {getattr(value, 'shape', '')}" for key, value in variables.items()) or "no variable"
        raise DataError(
            "MATLAB file does not hold the samples.",
            expected=f"a vector called {name}, or just one vector",
            got=f"{path}: {shapes}",
            remedy="copy the file again, or save it as wav",
        )
    return check_waveform(resample(_scale(chosen.reshape(-1)), file_rate_hz, sample_rate_hz), str(path))


def _is_vector(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "iuf" and value.size > 1 and value.size == max(value.shape)


def _scale(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind in "iu":
        info = np.iinfo(samples.dtype)
        middle = 0.0 if info.min < 0 else (info.max + 1.0) / 2.0
        scaled = (samples.astype(np.float64) - middle) / (info.max + 1.0 - middle)
    else:
        scaled = samples.astype(np.float64)
        peak = float(np.abs(scaled[np.isfinite(scaled)]).max(initial=0.0))
        scaled = scaled / max(peak, 2.0**15) if peak > 1.0 else scaled
    return scaled.astype(np.float32)
