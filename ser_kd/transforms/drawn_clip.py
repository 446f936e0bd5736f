"""Which clip of a bank a transform takes."""

from __future__ import annotations

from torch import Tensor

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import ClipSource
from ser_kd.functional.keyed_random import draw_uniform


def check_bank(bank: ClipSource) -> None:
    """Check that a transform has clips to draw from.

    Raises:
        ConfigError: If the bank is none, or empty.
    """
    if not isinstance(bank, ClipSource) or not len(bank):
        raise ConfigError(
            "There is no clip to draw from.",
            expected="a bank of one or more clips (names, lengths, sample_rate_hz, take)",
            got=f"{type(bank).__name__} without clips" if isinstance(bank, ClipSource) else type(bank).__name__,
            remedy="hand over ser_kd.data.clip_bank.ClipBank(FOLDER)",
        )


def draw_clips(keys: Tensor, bank: ClipSource) -> Tensor:
    """Draw one clip of the bank per key, all equally likely.

    Returns:
        (B,) int64.
    """
    return (draw_uniform(keys, 1)[:, 0].double() * len(bank)).long()
