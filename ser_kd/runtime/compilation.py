"""Models compiled in place, so that nobody who names or stores their weights sees a difference."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ser_kd.contracts.errors import ConfigError


def compile_in_place(models: Iterable[nn.Module]) -> None:
    """Let models run through ``torch.compile`` from their next call on.

    Names in the state dict stay, copies are not compiled, and exports, which build the model anew, know nothing of it.

    Args:
        models: Changed in place.

    Raises:
        ConfigError: If this machine cannot compile.
    """
    _check_compiler()
    for model in models:
        model.compile()


def _check_compiler() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.compile(torch.sin)(torch.zeros(8, device=device))
    except Exception as fault:  # whatever is missing: a compiler, its headers, room for its files
        raise ConfigError(
            "torch.compile does not work here.",
            expected="a C++ compiler (g++) with Python's headers, and on a GPU triton",
            got=str(fault).strip().splitlines()[0][:300],
            remedy="install them, or set compile=false",
        ) from fault
