"""Keeps powers, logarithms and statistics in float32 where mixed precision is on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Give a context in which nothing on the tensor's device is cast down.

    Half precision holds neither the 160 dB between a silent and a loud bin nor a sum over 84,351 samples.
    """
    device = tensor.device.type
    # Entered only where there is something to switch off: an exported graph then knows nothing of mixed precision.
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()
