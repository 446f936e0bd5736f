"""Read checkpoints without running what is in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from ser_kd.contracts.errors import DataError


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint's tensors and plain data; code in it is refused, not run.

    Args:
        path: File that a run of ours wrote.
        map_location: Device of the tensors.

    Raises:
        DataError: If the file is missing, damaged, or holds more than tensors and plain data.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as fault:
        raise DataError("A checkpoint is missing.", expected="a checkpoint", got=str(path), remedy="train the run again") from fault
    except pickle.UnpicklingError as fault:
        # torch's own message recommends to load it all the same
        reason = " ".join(str(fault).partition("WeightsUnpickler error:")[2].split("Check the documentation")[0].split())
        raise DataError(
            "A checkpoint is no file of tensors and plain data alone, and was not opened.",
            expected="a checkpoint written by ser_kd",
            got=f"{path}: {reason[:200]}",
            remedy="it is damaged, or not ours and then not to be trusted: delete it and train the run again",
        ) from fault
    except (RuntimeError, EOFError, OSError, ValueError) as fault:
        raise DataError(
            "A checkpoint cannot be read.",
            expected="a checkpoint written by ser_kd",
            got=f"{path}: {str(fault).splitlines()[0] if str(fault) else type(fault).__name__}",
            remedy="it is damaged or was cut short: delete it and train the run again",
        ) from fault
    return content
