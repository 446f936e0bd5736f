"""Tell from a file's own headers whether its end is missing; libsndfile reads many such files without a word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ser_kd.contracts.errors import DataError

_UNKNOWN_SIZES = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)
"""What programs that write into a pipe put down as the size, for they cannot know it."""
_LARGEST_OGG_PAGE = 65_307
_MP3_LENIENCE = 0.99
"""Encoders count the tags or not; libsndfile itself minds 1 % and more."""
NO_END_MARK = "no end mark: perhaps cut off"


def check_not_cut(path: Path, name: str) -> tuple[str, ...]:
    """Check that a file is as long as its headers say.

    WAV, RF64, AIFF and AU state the size of their samples, most MP3 files that of the whole; an Ogg stream ends with a marked page. FLAC
    is told by reading: fewer samples come than were announced. An MP3 whose encoder wrote no size cannot be told from a shorter recording.

    Args:
        path: An audio file that exists.
        name: What errors call it.

    Returns:
        Remarks: an Ogg stream that ends with a whole page but no mark may be cut off or recorded live.

    Raises:
        DataError: If the end of the file is missing.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        kind = file.read(4)
        if kind in (b"RIFF", b"RF64", b"FORM"):
            announced = _find_end_of_samples(file, kind)
        elif kind == b".snd":
            start, samples = (int.from_bytes(file.read(4), "big") for _ in range(2))
            announced = None if samples in _UNKNOWN_SIZES else start + samples
        elif kind == b"OggS":
            return _check_last_page(file, size, name)
        else:
            announced = _find_end_of_mp3(path)
    if announced is not None and announced > size:
        raise explain_cut(name, f"at least {announced:,} bytes, as its header says", f"{size:,} bytes")
    return ()


def _find_end_of_mp3(path: Path) -> int | None:
    """Give where the frames end by the Xing header of the first, leniently; None for whatever has none."""
    with path.open("rb") as file:
        head = file.read(10)
        # An ID3 tag, with pictures perhaps, stands before the first frame; its size has 7 bits in a byte.
        tag = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False)) if head[:3] == b"ID3" else 0
        file.seek(tag)
        frame = file.read(64)
    place = max(frame.find(b"Xing"), frame.find(b"Info"))
    if frame[:1] != b"\xff" or place < 0:
        return None
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    at = place + 8 + (4 if flags & 1 else 0)
    count = int.from_bytes(frame[at : at + 4], "big") if flags & 2 else 0
    return tag + int(count * _MP3_LENIENCE)


def explain_cut(name: str, expected: str, found: str) -> DataError:
    """Make the error for a file whose end is missing."""
    return DataError("Audio file is cut off.", expected=expected, got=f"{name}: {found}", remedy="copy the file again, or leave it out")


def _find_end_of_samples(file: BinaryIO, kind: bytes) -> int | None:
    """Give where the chunk of the samples ends, in bytes from the start; None where that is unknown."""
    order = "big" if kind == b"FORM" else "little"
    file.seek(12)
    long_size = None  # RF64 holds the size of samples beyond 4 GB in a chunk of its own
    while len(header := file.read(8)) == 8:
        chunk, size = header[:4], int.from_bytes(header[4:], order)  # type: ignore[arg-type]
        start = file.tell()
        if chunk == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        if chunk in (b"data", b"SSND"):
            if size == 0xFFFFFFFF and long_size:
                return start + long_size
            return None if size in _UNKNOWN_SIZES else start + size
        file.seek(start + size + size % 2)
    return None


def _check_last_page(file: BinaryIO, size: int, name: str) -> tuple[str, ...]:
    before = max(0, size - 2 * _LARGEST_OGG_PAGE)
    file.seek(before, os.SEEK_SET)
    tail = file.read()
    place = tail.rfind(b"OggS")
    page = tail[place:]
    segments = page[26] if len(page) > 26 else 0
    length = 27 + segments + sum(page[27 : 27 + segments])
    if place < 0 or len(page) < length or len(page) < 27 + segments:
        raise explain_cut(name, "an Ogg stream that ends with a whole page", f"the last page, at byte {before + max(place, 0):,}, is cut")
    is_marked = bool(page[5] & 4)
    if not is_marked and len(page) > length:
        raise explain_cut(name, "an Ogg stream that ends with a whole page", f"{len(page) - length} bytes of a further page")
    return () if is_marked else (NO_END_MARK,)
