"""One process at a time in a folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_kd.contracts.errors import DataError
from ser_kd.storage.atomic import explain_write_fault

try:
    import fcntl
except ImportError:  # elsewhere than on POSIX nobody is kept out
    fcntl = None  # type: ignore[assignment]


def try_lock(handle: int) -> bool:
    """Take the lock of a file that is open for writing, if no other process of this machine has it; it is gone with the process.

    Args:
        handle: File descriptor.

    Returns:
        Whether it may be gone on; also where the file system knows no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as fault:
        return fault.errno not in (errno.EACCES, errno.EAGAIN)
    return True


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
        raise explain_write_fault(path, fault) from fault
    with file:
        if not try_lock(file.fileno()):
            file.seek(0)
            raise DataError(
                f"This run is being {doing} by another process.",
                expected="one process per run folder",
                got=f"{folder}, held by process {file.read().strip() or 'unknown'}",
                remedy="wait for it, or stop it; the same command then goes on from its last checkpoint",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
