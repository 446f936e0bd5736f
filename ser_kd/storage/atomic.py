"""Write files whole or not at all, so that a killed or full machine leaves the old content or the new, never half."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ser_kd.contracts.errors import DataError


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside the target; on success it takes the target's place in one step.

    Args:
        path: Target file; its folder is made where missing.

    Raises:
        DataError: If the folder cannot be written or the disk is full; the old file stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
    except OSError as fault:
        raise explain_write_fault(path, fault) from fault
    part = Path(name)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o644)
        part.replace(path)
    except OSError as fault:
        raise explain_write_fault(path, fault) from fault
    finally:
        part.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make a folder where it is missing, and check that files can be made in it, before long work begins.

    Raises:
        DataError: If it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".check.", suffix=".part")
        os.close(handle)
        Path(name).unlink()
    except OSError as fault:
        raise explain_write_fault(folder, fault) from fault


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        DataError: If the folder cannot be written or the disk is full.
    """
    with replace_file(path) as part:
        part.write_text(text, encoding="utf-8")


def remove_parts(folder: Path) -> None:
    """Delete what killed processes left half-written below a folder; only where no other process writes there."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


def explain_write_fault(path: Path, fault: OSError) -> DataError:
    """Make the error for a file that cannot be written: a full disk is told as one."""
    full = fault.errno in (errno.ENOSPC, errno.EDQUOT)
    return DataError(
        "The disk is full." if full else "A file cannot be written.",
        expected="free space" if full else "a folder that may be written",
        got=f"{path}: {fault.strerror or fault}",
        remedy="free some space or choose another folder (out=…, paths.runs=…, paths.cache=…); what was written before is whole",
    )
