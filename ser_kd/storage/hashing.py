"""Short, stable fingerprints of plain data and of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path


def hash_data(data: object, length: int = 12) -> str:
    """Hash plain data (dicts, lists, strings, numbers) independently of key order.

    Args:
        data: Anything ``json`` can write.
        length: Hexadecimal digits to keep.

    Example:
        >>> hash_data({"a": 1, "b": 2}) == hash_data({"b": 2, "a": 1})
        True
    """
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def hash_bytes(data: bytes | memoryview, length: int = 32) -> str:
    """Hash raw bytes, such as decoded samples."""
    return hashlib.sha256(data).hexdigest()[:length]


def hash_file(path: Path, length: int = 32) -> str:
    """Hash a file's content without loading it whole."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:length]
