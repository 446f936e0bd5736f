"""Read audio in blocks, so that an hour needs no more memory than a minute."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
import soxr

from ser_kd.contracts.errors import DataError
from ser_kd.storage.cut_files import check_not_cut, explain_cut

BLOCK_VALUES = 1 << 15
"""Samples of all channels read at a time."""
_LONGEST = 1 << 62
"""A stream that does not know its length is announced with about 2^63 samples."""


class AudioStream:
    """One open audio file, mixed to mono by the mean of its channels; close it, or use it with ``with``.

    Args:
        path: Any format libsndfile reads.
        name: What errors call it; None is the path.

    Attributes:
        sample_rate_hz: Rate of the file.
        channels: Its channels.
        samples: Length the file announces; None where it does not say.
        notes: Remarks about the file itself.

    Raises:
        DataError: If the file is missing, has no bytes, cannot be decoded, or is shorter than its headers say.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.name = name or str(path)
        if not path.is_file():
            raise DataError("Audio file is missing.", expected="an audio file", got=self.name, remedy="check the path")
        try:
            if not path.stat().st_size:
                raise DataError("Audio is empty.", expected="at least one sample", got=f"{self.name}: 0 bytes", remedy="leave the file out")
            self.notes = check_not_cut(path, self.name)
            # As bytes, because soundfile cannot encode a name that is no text; Windows has none such.
            self._file = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
        except (soundfile.SoundFileError, OSError) as fault:
            reason = fault.error_string if isinstance(fault, soundfile.LibsndfileError) else str(fault)
            raise DataError(
                "Audio file cannot be decoded.",
                expected="audio that libsndfile reads (wav, flac, ogg, mp3, …)",
                got=f"{self.name}: {reason}",
                remedy="copy the file again or leave it out",
            ) from fault
        self.sample_rate_hz: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.samples: int | None = self._file.frames if self._file.frames < _LONGEST else None

    def blocks(self) -> Iterator[np.ndarray]:
        """Read what is left, block by block.

        Yields:
            (N,) float32 in about [-1, 1], mono, at the file's own rate; NaN and infinity are handed on as they are.

        Raises:
            DataError: If the file cannot be decoded to its end, or ends before the length it announces.
        """
        rows, done, rate = max(1, BLOCK_VALUES // self.channels), 0, self.sample_rate_hz
        while True:
            try:
                block = self._file.read(rows, dtype="float32", always_2d=True)  # (N, channels)
            except (soundfile.SoundFileError, OSError) as fault:
                raise self._explain_early_end(f"decoding fails between {done / rate:.2f} and {(done + rows) / rate:.2f} s") from fault
            if not len(block):
                break
            done += len(block)
            yield block.mean(axis=1)
        # The length of an MP3 is an estimate of its encoder's; libsndfile itself minds 1 % and more.
        lenience = 0.01 if self._file.format == "MP3" else 0.0
        if self.samples is not None and done < self.samples * (1 - lenience):
            raise self._explain_early_end(f"decoding ends after {done / rate:.2f} s")

    def _explain_early_end(self, found: str) -> DataError:
        announced = "audio up to the end of the file"
        if self.samples is not None:
            announced = f"{self.samples / self.sample_rate_hz:.2f} s, as its header says"
        return explain_cut(self.name, announced, found)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class StreamResampler:
    """Mono samples to another rate as they come, by soxr HQ: the same numbers as resampling all of them at once.

    Args:
        from_hz: Rate of what is pushed.
        to_hz: Wanted rate; the same rate passes through untouched.
    """

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take (N,) float32 and give the samples that are ready, (M,) float32; they lag behind a little."""
        return samples if self._stream is None else self._stream.resample_chunk(np.ascontiguousarray(samples))

    def finish(self) -> np.ndarray:
        """Give what was held back, (M,) float32; nothing may be pushed afterwards."""
        nothing = np.zeros(0, dtype=np.float32)
        return nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)
