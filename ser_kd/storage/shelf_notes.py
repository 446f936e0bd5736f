"""What is known of shelves without opening them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_kd.storage.locks import try_lock
from ser_kd.storage.tensor_shelf import INDEX, LOCK


@dataclass(frozen=True)
class ShelfNote:
    """What is known of a shelf without opening it.

    Args:
        folder: Where it lies.
        identity: What its rows depend on.
        about: What its maker wrote down.
        size_bytes: Size of all its files.
        used_at: When it was last opened, seconds since 1970.
    """

    folder: Path
    identity: dict[str, Any]
    about: dict[str, Any]
    size_bytes: int
    used_at: float


def read_note(folder: Path) -> ShelfNote | None:
    """Read a shelf's index; None where there is none that can be read."""
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        size = sum(path.stat().st_size for path in folder.iterdir())
        return ShelfNote(folder, dict(index["identity"]), dict(index["about"]), size, (folder / INDEX).stat().st_mtime)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_shelves(root: Path) -> list[ShelfNote]:
    """Read the index of every shelf in a folder of shelves, the one used longest ago first."""
    notes = [read_note(path.parent) for path in root.glob(f"*/{INDEX}")]
    return sorted((note for note in notes if note is not None), key=lambda note: note.used_at)


def remove_shelf(folder: Path) -> bool:
    """Delete a shelf unless a process is building it; one that is only reading it goes on undisturbed.

    Returns:
        Whether it is gone.
    """
    try:
        with (folder / LOCK).open("a") as file:
            if not try_lock(file.fileno()):
                return False
            (folder / INDEX).unlink(missing_ok=True)  # first: what is broken off here is no shelf any more
            shutil.rmtree(folder)
    except OSError:
        return False
    return True
