"""NOISEX-92: fifteen military and civil noises of 235 seconds."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ser_kd.contracts.errors import DataError
from ser_kd.data.noise_corpora.noise_corpus import TrackCorpus
from ser_kd.storage.audio_files import list_audio, read_audio, read_sample_rate
from ser_kd.storage.mat_files import read_mat_waveform

LICENCE = "none is stated with the files; ask before you pass them on"
SOURCE = "the Signal Processing Information Base (spib.rice.edu, mirrored at spib.linse.ufsc.br/noise.html)"
RATE_HZ = 19_980
DURATION_S = 235.0

TYPES: Mapping[str, tuple[str, ...]] = {
    "babble": ("speechbabble",),
    "buccaneer1": ("buccaneerjet1",),
    "buccaneer2": ("buccaneerjet2",),
    "destroyerengine": ("destroyerengineroom",),
    "destroyerops": ("destroyeroperations", "destroyeroperationsroom"),
    "f16": ("f16cockpit",),
    "factory1": ("factory", "factoryfloor1"),
    "factory2": ("factoryfloor2",),
    "hfchannel": ("hf", "hfradio", "hfradiochannel"),
    "leopard": ("leopard1",),
    "m109": ("m109tank",),
    "machinegun": (),
    "pink": ("pinknoise",),
    "volvo": ("volvo340",),
    "white": ("whitenoise",),
}
"""Published file name -> other words for it, without case, spaces, ``-`` and ``_``."""

PAPER_TYPES = ("babble", "f16", "factory1", "hfchannel", "volvo")

SUFFIXES = (".wav", ".flac", ".mat")


class Noisex92(TrackCorpus):
    """The noises of NOISEX-92 as they are passed on: ``babble.wav`` or ``babble.mat`` and so on, 19.98 kHz, 235 s each.

    Resampled to the rate of the speech by soxr HQ, the house's only resampler. A MATLAB file holds one vector, usually called as the file,
    and tells no rate: it is taken for 19.98 kHz. Levels differ between the distributions, which no ratio to speech depends on.
    Varga A, Steeneken H J M (1993), Speech Communication 12(3), 247-251.

    Args:
        root: Folder with the files, in subfolders or not; names may have any case (``F16.wav``) and an alias (``hf-channel.wav``).
        types: Published names or aliases (``f-16``, ``factory``); None is the five of system 001: babble, f16, factory1, hfchannel, volvo.
        held_out: Those that training and validation never hear.
        noise_split: See ``NoiseCorpus``.
        check_duration: Whether a file that does not last 235 s (within 2 s) is refused; else it is told in a warning.
        guard_s: See ``NoiseCorpus``.
        sample_rate_hz: That of the speech.

    Raises:
        ConfigError: See ``NoiseCorpus``.
        DataError: If the folder or a wanted file is missing.
    """

    name = "noisex92"
    licence = LICENCE
    source = SOURCE

    def __init__(
        self,
        root: str | Path,
        types: Sequence[str] | None = None,
        held_out: Sequence[str] = (),
        noise_split: Literal["time", "paper"] = "time",
        check_duration: bool = True,
        guard_s: float = 1.0,
        sample_rate_hz: int = 16_000,
    ) -> None:
        super().__init__(tuple(TYPES), PAPER_TYPES if types is None else types, held_out, noise_split, guard_s, sample_rate_hz)
        self.root = Path(root)
        self.check_duration = check_duration
        self._files = _find_files(self.root, self.find_type)
        if missing := [name for name in self.types if name not in self._files]:
            found = f"it holds {', '.join(sorted(self._files)) or 'none of the fifteen'}" if self.root.is_dir() else "no such folder"
            raise DataError(
                f"Noises of NOISEX-92 are missing: {', '.join(missing)}.",
                expected=f"{', '.join(f'{name}.wav or {name}.mat' for name in missing)} below the folder",
                got=f"{self.root}: {found}",
                remedy=f"get them from {SOURCE}, or choose noise.types among those that are there",
            )

    def find_type(self, name: str) -> str:
        """Give the published name of a type; unknown words come back as they are."""
        plain = re.sub(r"[\s_-]", "", str(name)).lower()
        return next((known for known, others in TYPES.items() if plain == known or plain in others), str(name))

    def make_track(self, noise_type: str) -> Tensor:
        """Read the file of a type.

        Raises:
            DataError: If it cannot be read, is of another rate, or does not last 235 s.
        """
        path = self._files[noise_type]
        if path.suffix.lower() == ".mat":
            waveform = read_mat_waveform(path, noise_type, RATE_HZ, self.sample_rate_hz)
        else:
            rate_hz = read_sample_rate(path)
            if rate_hz not in (RATE_HZ, 16_000):
                raise DataError(
                    "A noise of NOISEX-92 has another sample rate than the published one.",
                    expected=f"{RATE_HZ} Hz, or 16000 Hz where it was resampled before",
                    got=f"{path}: {rate_hz} Hz",
                    remedy=f"get the file from {SOURCE}; for noises of another origin choose noise=folder",
                )
            waveform = read_audio(path, self.sample_rate_hz)
        self._check_duration(path, len(waveform) / self.sample_rate_hz)
        return torch.from_numpy(waveform)

    def _check_duration(self, path: Path, duration_s: float) -> None:
        if abs(duration_s - DURATION_S) <= 2.0:
            return
        if self.check_duration:
            raise DataError(
                "A noise of NOISEX-92 does not last as long as the published one.",
                expected=f"{DURATION_S:g} s at {RATE_HZ} Hz",
                got=f"{path}: {duration_s:.2f} s",
                remedy=f"get the file from {SOURCE}; for an excerpt set noise.check_duration=false",
            )
        warnings.warn(f"{path} lasts {duration_s:.2f} s, not {DURATION_S:g} s as published", stacklevel=2)


def _find_files(root: Path, find_type: Callable[[str], str]) -> dict[str, Path]:
    """Find the file of each type; where it is there in several formats, wav before flac before mat."""
    paths = list_audio(root, SUFFIXES).values()
    found: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: (SUFFIXES.index(path.suffix.lower()), path)):
        found.setdefault(find_type(path.stem), path)
    return {name: path for name, path in found.items() if name in TYPES}
