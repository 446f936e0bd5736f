"""A memory-mapped cache of decoded audio, so that a file is decoded once and later epochs only copy samples."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ser_kd.contracts.errors import DataError
from ser_kd.contracts.utterance import Utterance
from ser_kd.storage.audio_files import read_audio
from ser_kd.storage.hashing import hash_bytes, hash_data

_CHUNK = 256  # clips decoded at a time: bounds memory on a large corpus
_VERSION = 1


@dataclass(frozen=True)
class DecodedAudio:
    """All clips of a corpus as one float32 file, opened without reading it.

    Args:
        folder: Where ``samples.f32`` and ``index.json`` lie.
        sample_rate_hz: Rate of the samples.
        offsets: Utterance id -> (first sample, number of samples).
        audio_hashes: Utterance id -> hash of its decoded samples; equal hashes are identical audio.
        faults: Utterance id -> why its audio cannot be used.
        beside: Audio of other clips that is read through this one; see ``join``.
    """

    folder: Path
    sample_rate_hz: int
    offsets: dict[str, tuple[int, int]]
    audio_hashes: dict[str, str]
    faults: dict[str, str]
    beside: tuple[DecodedAudio, ...] = ()

    def join(self, other: DecodedAudio) -> DecodedAudio:
        """Give audio that holds the clips of another file too, each where it lies; their ids must differ from those here."""
        hashes = {**self.audio_hashes, **other.audio_hashes}
        return replace(self, audio_hashes=hashes, faults={**self.faults, **other.faults}, beside=(*self.beside, other))

    def without(self, ids: Collection[str]) -> DecodedAudio:
        """Give the audio of all clips but some."""
        offsets = {name: entry for name, entry in self.offsets.items() if name not in ids}
        return replace(self, offsets=offsets, audio_hashes={name: self.audio_hashes[name] for name in offsets})

    def read(self, utterance_id: str) -> np.ndarray:
        """Give a clip's samples.

        Returns:
            (T,) float32, a copy.
        """
        holder = self._find_holder(utterance_id)
        offset, count = holder.offsets[utterance_id]
        return np.fromfile(holder.folder / "samples.f32", dtype=np.float32, count=count, offset=4 * offset)

    def length_of(self, utterance_id: str) -> int:
        """Give a clip's number of samples."""
        return self._find_holder(utterance_id).offsets[utterance_id][1]

    def _find_holder(self, utterance_id: str) -> DecodedAudio:
        return next((part for part in self.beside if utterance_id in part.offsets), self)

    @property
    def size_bytes(self) -> int:
        """Size of the cached samples on disk, those beside not counted."""
        return 4 * sum(count for _, count in self.offsets.values())


def decode_corpus(
    utterances: Sequence[Utterance],
    sample_rate_hz: int,
    cache_dir: Path,
    progress: Callable[[int, int], None] | None = None,
) -> DecodedAudio:
    """Decode every clip once and open the result; clips that cannot be decoded are remembered with their reason.

    The cache is found by file name, size, time stamp and stretch of every clip, so a changed file makes a new one.
    It is written beside and renamed: a killed process leaves nothing half, and two processes may build at once.

    Args:
        utterances: Clips to decode.
        sample_rate_hz: Rate they are resampled to.
        cache_dir: Folder for all caches of the machine.
        progress: Called with (clips done, clips in all).

    Raises:
        DataError: If the cache folder cannot be written or the disk is full.
    """
    folder = Path(cache_dir) / "audio" / _cache_key(utterances, sample_rate_hz)
    if not (folder / "index.json").is_file():
        try:
            _build(utterances, sample_rate_hz, folder, progress)
        except OSError as fault:
            raise DataError(
                "The cache of decoded audio cannot be written.",
                expected="a folder with enough free space that may be written",
                got=f"{folder}: {fault.strerror or fault}",
                remedy="free some space, or choose another folder with paths.cache=… or SER_KD_CACHE",
            ) from fault
    index = json.loads((folder / "index.json").read_text())
    offsets = {name: (entry[0], entry[1]) for name, entry in index["clips"].items()}
    hashes = {name: entry[2] for name, entry in index["clips"].items()}
    decoded = DecodedAudio(folder, sample_rate_hz, offsets, hashes, index["faults"])
    if (folder / "samples.f32").stat().st_size != decoded.size_bytes:
        shutil.rmtree(folder)
        return decode_corpus(utterances, sample_rate_hz, cache_dir, progress)
    return decoded


def _cache_key(utterances: Sequence[Utterance], sample_rate_hz: int) -> str:
    rows = []
    for utterance in utterances:
        try:
            status = utterance.path.stat()
            stamp = [status.st_size, status.st_mtime_ns]
        except OSError:
            stamp = [-1, -1]
        rows.append([utterance.id, str(utterance.path.absolute()), *stamp, utterance.start_s, utterance.end_s])
    return hash_data([_VERSION, sample_rate_hz, rows], length=20)


def _build(utterances: Sequence[Utterance], sample_rate_hz: int, folder: Path, progress: Callable[[int, int], None] | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    clips: dict[str, tuple[int, int, str]] = {}
    faults: dict[str, str] = {}
    position = 0

    def decode(utterance: Utterance) -> np.ndarray | str:
        try:
            return read_audio(utterance.path, sample_rate_hz, utterance.start_s, utterance.end_s)
        except DataError as fault:
            return f"{fault.problem} ({fault.got})"

    try:
        # libsndfile and soxr work outside the interpreter lock, so threads are enough
        with (part / "samples.f32").open("wb") as file, ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for start in range(0, len(utterances), _CHUNK):
                chunk = utterances[start : start + _CHUNK]
                for done, (utterance, samples) in enumerate(zip(chunk, pool.map(decode, chunk), strict=True), start + 1):
                    if isinstance(samples, str):
                        faults[utterance.id] = samples
                    else:
                        clips[utterance.id] = (position, len(samples), hash_bytes(samples.tobytes()))
                        position += len(samples)
                        file.write(samples.tobytes())
                    if progress is not None:
                        progress(done, len(utterances))
        (part / "index.json").write_text(json.dumps({"clips": clips, "faults": faults}))
        try:
            part.rename(folder)
        except OSError:
            if not (folder / "index.json").is_file():  # another process may have been faster; its result is the same
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def bad_audio_error(faults: Mapping[str, str], clips: int) -> DataError:
    """Make the error that names damaged clips."""
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(faults.items())[:10])
    return DataError(
        f"{len(faults)} of {clips} clips cannot be used.",
        expected="audio that can be decoded, with at least one sample and no NaN",
        got=shown + (f"; and {len(faults) - 10} more" if len(faults) > 10 else ""),
        remedy="copy these files again or remove them; training goes on without them unless datamodule.on_bad_audio=error",
    )
