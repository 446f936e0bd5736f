"""Numbers that change over training: for weights, temperature and the learning rate."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from ser_kd.contracts.errors import ConfigError


@runtime_checkable
class Schedule(Protocol):
    """A number as a function of training progress, which runs from 0 to 1 over the planned epochs."""

    def value(self, progress: float) -> float: ...


class LinearSchedule:
    """Goes straight from ``start`` to ``end``, and stays there after ``until``.

    Args:
        start: Value at the beginning.
        end: Value from ``until`` on.
        until: Share of the planned training at which ``end`` is reached.

    Raises:
        ConfigError: If ``until`` is not in (0, 1].

    Example:
        >>> LinearSchedule(0.0, 1.0, until=0.5).value(0.25)
        0.5
    """

    def __init__(self, start: float, end: float, until: float = 1.0) -> None:
        _check_share("until", until)
        self.start, self.end, self.until = start, end, until

    def value(self, progress: float) -> float:
        """Give the value at ``progress``."""
        return self.start + (self.end - self.start) * min(progress / self.until, 1.0)


class CosineSchedule:
    """Goes from ``start`` to ``end`` along half a cosine: flat at both ends.

    Args:
        start: Value at the beginning.
        end: Value at the end.
    """

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end

    def value(self, progress: float) -> float:
        """Give the value at ``progress``."""
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


class WarmupCosine:
    """Rises linearly to 1, then falls along half a cosine: a factor for the learning rate.

    Args:
        warmup_share: Share of the planned training spent rising; 0 starts at 1.
        floor: Factor at the end.

    Raises:
        ConfigError: If ``warmup_share`` is not in [0, 1).
    """

    def __init__(self, warmup_share: float = 0.05, floor: float = 0.0) -> None:
        if warmup_share:
            _check_share("warmup_share", warmup_share)
        self.warmup_share = warmup_share
        self.fall = CosineSchedule(1.0, floor)

    def value(self, progress: float) -> float:
        """Give the factor at ``progress``."""
        if progress < self.warmup_share:
            return progress / self.warmup_share
        return self.fall.value((progress - self.warmup_share) / max(1.0 - self.warmup_share, 1e-9))


def _check_share(name: str, share: float) -> None:
    if not 0.0 < share <= 1.0:
        raise ConfigError(
            f"'{name}' is a share of the training.", expected="a number above 0, at most 1", got=f"{share:g}", remedy="try 0.5"
        )
