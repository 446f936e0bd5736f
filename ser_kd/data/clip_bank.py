"""Noises and room responses held in memory as one tensor, read from any folder of audio."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.functional.keyed_random import hash_text
from ser_kd.storage.audio_files import AUDIO_SUFFIXES, list_audio, read_audio

Split = Literal["all", "train", "validation", "test"]

FILE_SHARES: dict[str, tuple[float, float]] = {"all": (0.0, 1.0), "train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}
"""Which share of the files belongs to a split, in an order that mixes folders and names."""


class HeldClips:
    """Clips as one flat tensor, for transforms to draw from (a ``ClipSource``).

    The samples are copied once to each device they are asked for on: 230 MB an hour at 16 kHz.

    Args:
        names: N names, told in errors.
        clips: N waveforms (T,) float32 of one or more samples.
        sample_rate_hz: Their rate.
    """

    def __init__(self, names: Sequence[str], clips: Sequence[Tensor], sample_rate_hz: int) -> None:
        self.names = tuple(names)
        self.sample_rate_hz = sample_rate_hz
        self.lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.int64)
        samples = torch.cat(list(clips)) if clips else torch.zeros(0)
        self._held = {torch.device("cpu"): (samples, self.lengths.cumsum(0) - self.lengths, self.lengths)}

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: Tensor, offsets: Tensor, length: int) -> Tensor:
        """Cut a stretch out of each of some clips; where a clip ends, it begins anew.

        Args:
            indices: (N,) int64 clips; one may be named twice.
            offsets: (N,) int64 first samples.
            length: T, samples of each stretch.

        Returns:
            (N, T) float32 on the device of the indices.
        """
        device = indices.device
        if device not in self._held:
            samples, starts, lengths = (part.to(device) for part in self._held[torch.device("cpu")])
            self._held[device] = (samples, starts, lengths)
        samples, starts, lengths = self._held[device]
        if device.type == "cpu":  # copying whole stretches is many times faster there than picking samples
            rows = zip(starts[indices].tolist(), lengths[indices].tolist(), offsets.tolist(), strict=True)
            stretches = [_cut_cyclically(samples[start : start + size], offset % size, length) for start, size, offset in rows]
            return torch.stack(stretches) if stretches else samples.new_zeros(0, length)
        places = offsets[:, None] + torch.arange(length, device=device)
        return samples[places.remainder_(lengths[indices][:, None]).add_(starts[indices][:, None])]


def _cut_cyclically(clip: Tensor, offset: int, length: int) -> Tensor:
    """Cut a stretch (length,) out of a clip (T,) that begins anew where it ends."""
    if offset + length <= len(clip):
        return clip[offset : offset + length]
    rest = length - (len(clip) - offset)
    return torch.cat([clip[offset:], *[clip] * (rest // len(clip)), clip[: rest % len(clip)]])


class ClipBank(HeldClips):
    """All audio files below a folder (MUSAN, ESC-50, room responses, your own), mono, at one rate.

    Training must not hear the noises of the test. ``split`` gives whole files to one split each, in the order of a hash of their names,
    so that the splits of one folder are disjoint. ``part`` gives a stretch of each file, for collections of a few long files. Digital
    silence at both ends of a clip is cut off. Files that cannot be used are named in a warning and in ``faults``, and left out.

    Args:
        root: Folder; subfolders are read too.
        sample_rate_hz: Rate the clips are resampled to: that of the speech.
        split: Which files: 60 % ``train``, 20 % ``validation``, 20 % ``test``, or ``all``.
        part: Beginning and end of the stretch of each file, as shares of its duration.

    Raises:
        ConfigError: If the split is unknown or the part is none.
        DataError: If the folder is missing, holds no audio, too few files to be split, or none that can be used.
    """

    def __init__(
        self, root: str | Path, sample_rate_hz: int = 16_000, split: Split = "all", part: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        if split not in FILE_SHARES:
            raise ConfigError("Unknown split of clips.", expected=", ".join(FILE_SHARES), got=str(split), remedy="train is for training")
        if len(part) != 2 or not 0.0 <= part[0] < part[1] <= 1.0:
            raise ConfigError(
                "The part of each file is no stretch of it.",
                expected="0 <= beginning < end <= 1, such as [0, 0.6]",
                got=str(part),
                remedy="[0, 1] takes files whole",
            )
        self.root = Path(root)
        clips, self.faults = read_clips(self.root, _choose_files(self.root, split), sample_rate_hz, part)
        super().__init__(list(clips), list(clips.values()), sample_rate_hz)


def read_clips(
    root: Path, paths: Mapping[str, Path], sample_rate_hz: int, part: tuple[float, float] = (0.0, 1.0)
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read clips, or a stretch of each, without the digital silence at both ends; those that cannot be used are named in a warning.

    Args:
        root: Their folder, told in messages.
        paths: Name -> path.
        sample_rate_hz: Rate they are resampled to.
        part: Beginning and end of the stretch of each, as shares of its duration.

    Returns:
        Name -> (T,) float32, and name -> why a clip cannot be used.

    Raises:
        DataError: If none can be used.
    """
    clips: dict[str, Tensor] = {}
    faults: dict[str, str] = {}
    # libsndfile and soxr work outside the interpreter lock, so threads are enough
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for name, samples in zip(paths, pool.map(lambda path: _read_part(path, sample_rate_hz, part), paths.values()), strict=True):
            if isinstance(samples, str):
                faults[name] = samples
            else:
                clips[name] = torch.from_numpy(samples)
    if faults:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(faults.items())[:5])
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        if not clips:
            raise DataError(
                "No clip of the folder can be used.",
                expected="audio that can be decoded and is not silent",
                got=f"{root}: {shown}{more}",
                remedy="copy the files again, or choose another folder",
            )
        warnings.warn(f"{len(faults)} of {len(paths)} clips of {root} cannot be used and are left out: {shown}{more}", stacklevel=3)
    return clips, faults


def choose_share(names: Sequence[str], split: str) -> list[str]:
    """Choose the names that belong to a split, in an order that mixes them by a hash; sorted."""
    mixed = sorted(names, key=lambda name: (hash_text(name), name))
    first, last = (round(share * len(mixed)) for share in FILE_SHARES[split])
    return sorted(mixed[first:last])


def _choose_files(root: Path, split: str) -> dict[str, Path]:
    files = list_audio(root)
    if not files:
        raise DataError(
            "There is no audio for the clip bank.",
            expected=f"a folder with audio files ({', '.join(AUDIO_SUFFIXES)})",
            got=f"{root}: {'none of them' if root.is_dir() else 'no such folder'}",
            remedy="set root to the folder of your noises or room responses",
        )
    chosen = choose_share(list(files), split)
    if not chosen:
        raise DataError(
            f"Too few files for the split '{split}'.",
            expected="5 files or more",
            got=f"{root}: {len(files)}",
            remedy="set split=all and give each split a part of every file: [0, 0.6], [0.6, 0.8], [0.8, 1]",
        )
    return {name: files[name] for name in chosen}


def _read_part(path: Path, sample_rate_hz: int, part: tuple[float, float]) -> np.ndarray | str:
    try:
        samples = read_audio(path, sample_rate_hz)
    except DataError as fault:
        return f"{fault.problem} ({fault.got})"
    samples = samples[round(part[0] * len(samples)) : round(part[1] * len(samples))]
    heard = np.flatnonzero(samples)
    return samples[heard[0] : heard[-1] + 1].copy() if len(heard) else "Audio is silent."
