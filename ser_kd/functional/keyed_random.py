"""Random numbers as a pure function of a key: the same draw for any batch composition, order, worker or rank."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_FIRST = -4658895280553007687  # 0xBF58476D1CE4E5B9
_SECOND = -7723592293110705685  # 0x94D049BB133111EB


def hash_text(*parts: object) -> int:
    """Hash any parts into a signed 64-bit key that is the same on every machine and in every process.

    Example:
        >>> hash_text(0, 1, "clip") == hash_text(0, 1, "clip"), hash_text(0, 1, "clip") == hash_text(0, 11, "clip")
        (True, False)
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _shift_right(bits: Tensor, count: int) -> Tensor:
    # int64 shifts are arithmetic in torch; SplitMix64 wants logical ones.
    return (bits >> count) & ((1 << (64 - count)) - 1)


def mix_bits(keys: Tensor) -> Tensor:
    """Scramble int64 keys by the finaliser of SplitMix64 (Steele, Lea, Flood 2014); multiplication wraps modulo 2^64."""
    bits = keys + _GOLDEN
    bits = (bits ^ _shift_right(bits, 30)) * _FIRST
    bits = (bits ^ _shift_right(bits, 27)) * _SECOND
    return bits ^ _shift_right(bits, 31)


def derive_keys(keys: Tensor, purpose: str) -> Tensor:
    """Give each key an independent child for one purpose (the name of a transform, usually).

    Args:
        keys: Any shape, int64.
        purpose: Name of the draw; another name gives unrelated numbers.

    Returns:
        The same shape, int64.
    """
    return mix_bits(keys ^ hash_text(purpose))


def draw_uniform(keys: Tensor, count: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw numbers uniformly from [low, high).

    Args:
        keys: (B,) int64.
        count: Numbers per key, N.
        low: Smallest value.
        high: Bound; not reached in [0, 1), elsewhere only by rounding.

    Returns:
        (B, N) float32 on the device of the keys.
    """
    counter = torch.arange(count, device=keys.device, dtype=torch.int64)
    bits = mix_bits(mix_bits(keys)[:, None] + counter * _GOLDEN)
    unit = _shift_right(bits, 40).to(torch.float32) / float(1 << 24)  # 24 bits: exact in float32, below 1
    return low + (high - low) * unit


def draw_normal(keys: Tensor, count: int) -> Tensor:
    """Draw standard normal numbers by the Box-Muller transform; a longer draw begins with the shorter one.

    Args:
        keys: (B,) int64.
        count: Numbers per key, N.

    Returns:
        (B, N) float32.
    """
    uniform = draw_uniform(keys, count + count % 2).reshape(len(keys), -1, 2)  # (B, N / 2, 2): neighbours make a pair
    radius = torch.sqrt(-2.0 * torch.log1p(-uniform[..., 0]))
    angle = 2.0 * math.pi * uniform[..., 1]
    return torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(1)[:, :count]
