"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_kd.contracts.errors import DataError


@contextmanager
def hold_folder(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes of this machine out of a folder; the lock is gone with the process, however it ends.

    Where the file system knows no locks, nothing is kept out.

    Args:
        folder: Made where missing.
        doing: What is done in it, for the message: ``trained``.

    Raises:
        DataError: If another process holds it, or the folder cannot be written.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as fault:
        raise DataError(
            "A file cannot be written.", expected="a folder that may be written", got=f"{path}: {fault.strerror}",
            remedy="choose another folder (paths.runs=…)",
        ) from fault  # fmt: skip
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as fault:
            file.seek(0)
            raise DataError(
                f"This run is being {doing} by another process.",
                expected="one process per run folder",
                got=f"{folder}, held by process {file.read().strip() or 'unknown'}",
                remedy="wait for it, or stop it; the same command then goes on from its last checkpoint",
            ) from fault
        except OSError:
            pass
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
