"""eGeMAPSv02 by openSMILE: low-level descriptors every 10 ms, or the functionals of a whole clip."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Literal, get_args

import numpy as np

from ser_kd.contracts.errors import ConfigError, DataError

Level = Literal["lld", "functionals"]

LLD_NAMES = (
    "Loudness_sma3", "alphaRatio_sma3", "hammarbergIndex_sma3", "slope0-500_sma3", "slope500-1500_sma3", "spectralFlux_sma3",
    "mfcc1_sma3", "mfcc2_sma3", "mfcc3_sma3", "mfcc4_sma3",
    "F0semitoneFrom27.5Hz_sma3nz", "jitterLocal_sma3nz", "shimmerLocaldB_sma3nz", "HNRdBACF_sma3nz",
    "logRelF0-H1-H2_sma3nz", "logRelF0-H1-A3_sma3nz",
    "F1frequency_sma3nz", "F1bandwidth_sma3nz", "F1amplitudeLogRelF0_sma3nz",
    "F2frequency_sma3nz", "F2bandwidth_sma3nz", "F2amplitudeLogRelF0_sma3nz",
    "F3frequency_sma3nz", "F3bandwidth_sma3nz", "F3amplitudeLogRelF0_sma3nz",
)  # fmt: skip
"""The 25 low-level descriptors in openSMILE's order; a test holds them to those of the installed version."""

HOP_S = 0.01
WINDOW_S = 0.06
"""The longest analysis window, that of pitch: a shorter clip has no descriptors."""

NOTICE = (
    "eGeMAPS comes from openSMILE (audEERING): free for research, teaching and private use; its licence does not allow commercial "
    "products, and neither the features nor what learns from them should go into one without a licence of audEERING's"
)


class Egemaps:
    """Extracts eGeMAPSv02 from samples.

    ``lld``: 25 descriptors, smoothed over 3 frames, every 10 ms; N samples at 16 kHz give floor((N - 960) / 160) + 2 frames (496 for
    5 s). Where a frame is unvoiced, openSMILE writes 0 for pitch, jitter, shimmer, harmonics-to-noise ratio and harmonic differences
    and about -201 for the amplitudes of formants. ``functionals``: one frame of 88 statistics of these over the whole clip. Values are
    openSMILE's own, in float32 and its order.

    Args:
        level: See above.

    Raises:
        ConfigError: If the level is unknown, or opensmile is not installed.

    Source: Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing".
    """

    notice = NOTICE

    def __init__(self, level: Level = "lld") -> None:
        if level not in get_args(Level):
            raise ConfigError("Unknown level of eGeMAPS.", expected="lld or functionals", got=str(level), remedy="set level to one of them")
        self.level: Level = level
        self.width = 25 if level == "lld" else 88
        self.hop_s = HOP_S if level == "lld" else None
        self.version = find_version()

    @property
    def identity(self) -> Mapping[str, Any]:
        """Set, level and version of openSMILE."""
        return {"set": "eGeMAPSv02", "level": self.level, "opensmile": self.version}

    def extract(self, samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """Compute the descriptors of a clip.

        Args:
            samples: (T,) float32 in [-1, 1].
            sample_rate_hz: Their rate.

        Returns:
            (F, 25) float32, or (1, 88).

        Raises:
            DataError: If the clip is shorter than an analysis window, or a value is not finite.
        """
        shortest = round(WINDOW_S * sample_rate_hz)
        if len(samples) < shortest:
            raise DataError(
                "The clip is too short for eGeMAPS.",
                expected=f"{shortest:,} samples ({1000 * WINDOW_S:g} ms) or more",
                got=f"{len(samples):,} samples",
                remedy="leave the clip out of the corpus",
            )
        smile = _open(self.level)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # NaN is told below
            frames = np.ascontiguousarray(smile(samples, sample_rate_hz)[0].T, dtype=np.float32)  # (F, D)
        if not np.isfinite(frames).all():
            lost = [name for name, column in zip(smile.feature_names, frames.T, strict=True) if not np.isfinite(column).all()]
            raise DataError(
                "openSMILE finds no finite value.",
                expected="finite features",
                got=f"{', '.join(lost[:3])} of {len(samples):,} samples",
                remedy="listen to the clip, and leave it out of the corpus if it holds no speech",
            )
        return frames


def read_feature_names(level: Level = "lld") -> list[str]:
    """Give the names of the columns as the installed openSMILE has them.

    Raises:
        ConfigError: If opensmile is not installed.
    """
    find_version()
    return list(_open(level).feature_names)


def find_version() -> str:
    """Give the version of the installed opensmile, without importing it.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return metadata.version("opensmile")
    except metadata.PackageNotFoundError as fault:
        raise ConfigError(
            "eGeMAPS features need opensmile, which is not installed.",
            expected="the package opensmile",
            got="no such package",
            remedy='pip install "ser-kd[opensmile]"; its licence is for research, teaching and private use: commercial products need '
            "another one of audEERING's",
        ) from fault


@functools.cache
def _open(level: Level) -> Any:
    import opensmile  # late: an extra, and it takes a second to import

    levels = {"lld": opensmile.FeatureLevel.LowLevelDescriptors, "functionals": opensmile.FeatureLevel.Functionals}
    return opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=levels[level])
