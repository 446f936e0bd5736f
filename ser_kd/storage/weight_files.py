"""Weights on disk as tensors by name; a file of weights is data, never code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ser_kd.contracts.errors import DataError
from ser_kd.storage.atomic import replace_file


def read_weights(paths: Iterable[Path]) -> dict[str, Tensor]:
    """Read the tensors of one model.

    Args:
        paths: ``.safetensors`` or PyTorch files; several are parts of one.

    Raises:
        DataError: If a file is damaged or holds anything but tensors.
    """
    weights: dict[str, Tensor] = {}
    for path in paths:
        weights.update(_read_file(path))
    return weights


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write tensors by name as safetensors, whole or not at all.

    Raises:
        DataError: If the file cannot be written.
    """
    from safetensors.torch import save_file  # late: only here

    with replace_file(path) as part:
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}, part)


def _read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file  # late: only here

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # each format has its own errors
        reason = (str(fault).strip().splitlines() or [type(fault).__name__])[0]
        raise _damaged(path, reason) from fault
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise _damaged(path, f"a {type(loaded).__name__} of other things")
    return dict(loaded)


def _damaged(path: Path, got: str) -> DataError:
    return DataError(
        "The weights cannot be read.",
        expected="a file of tensors alone (safetensors, or PyTorch's weights-only format)",
        got=f"{path}: {got}",
        remedy="it is damaged or was cut short: delete it and copy or download it again",
    )
