"""eGeMAPS descriptors brought to mean 0 and deviation 1 where they exist, and 0 where a frame is unvoiced."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import Frontend
from ser_kd.frontends.egemaps import LLD_NAMES
from ser_kd.frontends.normalize import NormalizedFrontend, Statistics

PITCH = LLD_NAMES.index("F0semitoneFrom27.5Hz_sma3nz")
AMPLITUDES = tuple(column for column, name in enumerate(LLD_NAMES) if "amplitudeLogRelF0" in name)
ZERO_COLUMNS = tuple(column for column, name in enumerate(LLD_NAMES) if name.endswith("_sma3nz") and column not in AMPLITUDES)


class NormalizedLld(NormalizedFrontend):
    """The 25 eGeMAPS descriptors, z-normalised over the frames in which each exists.

    In the columns that openSMILE smooths without their zeros (``*_sma3nz``: pitch, voice quality, formants) a value of 0 says that there
    is none: it enters no statistic and stays 0. So too the relative amplitudes of the three formants where pitch is 0, for which openSMILE
    writes about -201 instead: left alone, that number would make up nearly all of their variance; it becomes 0. A relative amplitude of
    0 dB in a voiced frame is a value like any other, as is every value of the other ten columns. A descriptor that exists in no training
    frame stays as it is.

    Args:
        frontend: Gives the 25 descriptors in openSMILE's order (see ``LLD_NAMES``).
        statistics: As in ``NormalizedFrontend``.

    Raises:
        ConfigError: If the front-end has another width, or ``statistics`` is something else.
    """

    def __init__(self, frontend: Frontend, statistics: Statistics = "training") -> None:
        super().__init__(frontend, statistics)
        if self.width != len(LLD_NAMES):
            raise ConfigError(
                "Only the descriptors of eGeMAPS know which of their values are none.",
                expected=f"a front-end of width {len(LLD_NAMES)}",
                got=f"width {self.width}",
                remedy="use ser_kd.frontends.normalize.NormalizedFrontend for other features",
            )

    def find_values(self, frames: Tensor) -> Tensor:
        """Mark the values among descriptors (…, 25)."""
        known = torch.ones_like(frames, dtype=torch.bool)
        known[..., list(ZERO_COLUMNS)] = frames[..., list(ZERO_COLUMNS)] != 0
        known[..., list(AMPLITUDES)] = (frames[..., PITCH] != 0).unsqueeze(-1)
        return known

    def end_fit(self) -> None:
        """Turn the sums into mean and deviation.

        Raises:
            ConfigError: If ``begin_fit`` was not called.
            DataError: If there was no frame, or a descriptor was not finite.
        """
        if self.statistics == "training":
            count, total, squares = self._open_sums()
            if not bool(count.any()):
                raise DataError(
                    "There is no frame to take statistics of.",
                    expected="descriptors of training clips",
                    got="none",
                    remedy="check that the training split has clips",
                )
            # a mean of 0 and a deviation of 1 where there was no value: 0 of 1, and 1 of 1 squared
            absent = count == 0
            self._sums = (count.clamp_min(1), total, torch.where(absent, torch.ones_like(squares), squares))
        super().end_fit()
