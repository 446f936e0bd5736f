"""Checkpoints written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from ser_kd.storage.atomic import replace_file
from ser_kd.storage.checkpoints import read_checkpoint


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, but never half a file under the name of a whole one, and one message where the disk is full."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            DataError: If the disk is full or the folder cannot be written; the checkpoint before stays.
        """
        with replace_file(Path(path)) as part, part.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as fault:  # torch closes its archive before it lets a full disk be heard of
                raise fault.__context__ if isinstance(fault.__context__, OSError) else fault from None

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        """Read a checkpoint; see ``read_checkpoint``."""
        return read_checkpoint(Path(path), map_location)
