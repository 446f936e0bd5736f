"""Cut a stream of samples into windows as it comes, holding no more than two windows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np

from ser_kd.contracts.errors import ConfigError
from ser_kd.deploy.model_metadata import ModelMetadata

WindowLength = float | Literal["whole"] | None
"""Seconds; ``whole`` hears a recording as one piece; None takes the model's own window."""


class WindowCutter:
    """Windows of one length, begun every hop; the last one ends where the recording ends.

    A recording no longer than a window is one piece of its own length. A longer one gives windows at 0, hop, 2 hop, … as long as they
    fit, and where a rest is left, one more that reaches back from the end: every sample is heard, and every window has the full length,
    so that no answer rests on a short remainder.

    Args:
        window_samples: Length of a window; None makes one piece of everything, which then stands in memory.
        hop_samples: From one beginning to the next, 1 to ``window_samples``.
    """

    def __init__(self, window_samples: int | None, hop_samples: int) -> None:
        self._window, self._hop = window_samples, hop_samples
        self._held = np.empty(window_samples or 0, dtype=np.float32)
        self._filled = 0
        self._start = 0  # where in the recording the held samples begin
        self._last: np.ndarray | None = None
        self._pieces: list[np.ndarray] = []

    def push(self, samples: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Take samples and give the windows they complete.

        Args:
            samples: (N,) float32.

        Yields:
            First sample within the recording, and the window, (``window_samples``,) float32.
        """
        if self._window is None:
            self._pieces.append(np.array(samples, dtype=np.float32))
            return
        while len(samples):
            taken = min(self._window - self._filled, len(samples))
            self._held[self._filled : self._filled + taken] = samples[:taken]
            self._filled += taken
            samples = samples[taken:]
            if self._filled == self._window:
                start, self._last = self._start, self._held.copy()
                self._filled -= self._hop
                self._held[: self._filled] = self._last[self._hop :]
                self._start += self._hop
                yield start, self._last

    def finish(self) -> Iterator[tuple[int, np.ndarray]]:
        """Give what is left: the only piece of a short recording, or the window that ends with a long one."""
        if self._window is None:
            pieces, self._pieces = self._pieces, []
            if any(len(piece) for piece in pieces):
                yield 0, np.concatenate(pieces)
            return
        if self._last is None:
            if self._filled:
                yield 0, self._held[: self._filled].copy()
            return
        unheard = self._filled - (self._window - self._hop)
        if unheard > 0:
            rest = self._held[self._filled - unheard : self._filled]
            yield self._start - self._hop + unheard, np.concatenate([self._last, rest])[-self._window :]


def resolve_window(metadata: ModelMetadata, window_s: WindowLength, hop_s: float | None) -> tuple[int | None, int]:
    """Give window and hop in samples of the model's rate.

    Args:
        metadata: Of the model.
        window_s: Seconds, ``whole``, or None for the model's own window.
        hop_s: Seconds; None is half a window.

    Returns:
        Window (None is everything at once) and hop.

    Raises:
        ConfigError: If the window is shorter than the model can hear or longer than it hears at once, the hop leaves gaps, or there is
            a hop but no window.
    """
    rate = metadata.sample_rate_hz
    crops = metadata.crops
    if window_s == "whole":
        if hop_s is not None:
            raise ConfigError(
                "A recording heard whole has no hop.",
                expected="window_s=SECONDS or no hop_s",
                got=f"hop_s={hop_s:g}",
                remedy="leave hop_s out",
            )
        # The window is the most that such a graph hears.
        if crops:
            raise ConfigError(
                "The model cuts what is longer than its own window.",
                expected=f"window_s up to {metadata.window_samples / rate:.2f}",
                got=f"window_s=whole, padding: {metadata.padding}",
                remedy="leave window_s out",
            )
        return None, 1
    window = metadata.window_samples if window_s is None else _to_samples("window_s", window_s, rate)
    longest = metadata.window_samples if crops else math.inf
    if not metadata.minimum_samples <= window <= longest:
        upper = f" to {longest / rate:.2f}" if crops else " or more"
        raise ConfigError(
            "The model cannot hear such a window.",
            expected=f"window_s {metadata.minimum_samples / rate:.3f}{upper}",
            got=f"{window / rate:g} s",
            remedy="leave window_s out, which takes the model's own window" if window_s is not None else "export the model again",
        )
    hop = max(1, window // 2) if hop_s is None else _to_samples("hop_s", hop_s, rate)
    if hop > window:
        raise ConfigError(
            "A hop longer than the window leaves gaps.",
            expected=f"hop_s up to {window / rate:g}",
            got=f"{hop / rate:g} s",
            remedy="leave hop_s out, which takes half a window",
        )
    return window, hop


def _to_samples(key: str, seconds: float, rate: int) -> int:
    if not math.isfinite(seconds) or round(seconds * rate) < 1:
        raise ConfigError(f"'{key}' is no length of time.", expected="seconds above 0", got=f"{seconds:g}", remedy=f"such as {key}=2.5")
    return round(seconds * rate)
