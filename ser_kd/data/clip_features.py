"""Named features of clips: extracted once, kept by content, cut as the audio is cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.interfaces import FeatureExtractor
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.decoded_audio import DecodedAudio
from ser_kd.data.feature_extraction import choose_workers, extract_clips, extract_texts
from ser_kd.storage.hashing import hash_data
from ser_kd.storage.tensor_shelf import TensorShelf

_SHARD_CLIPS = 256  # a kill costs no more than these
_FRAMES = "frames"


@dataclass(frozen=True)
class NamedFrames:
    """One feature of one clip.

    Args:
        frames: (F, D) float32.
        hop_samples: Samples from frame to frame; None for one frame of the whole clip.
    """

    frames: Tensor
    hop_samples: float | None

    def cut(self, start: int, samples: int) -> Tensor:
        """Give the frames of a part of the clip: those that begin within it, at least one; a frame of the whole clip stays.

        They were computed from the whole clip, so the last ones of a part have heard up to an analysis window of what follows.

        Args:
            start: First sample of the part.
            samples: How many.

        Returns:
            (F', D).

        Example:
            >>> frames = NamedFrames(torch.arange(10.0).unsqueeze(1), 160.0)
            >>> frames.cut(320, 480).flatten().tolist(), frames.cut(330, 320).flatten().tolist()
            ([2.0, 3.0, 4.0], [3.0, 4.0])
        """
        if self.hop_samples is None:
            return self.frames
        first = min(math.ceil(start / self.hop_samples), len(self.frames) - 1)
        end = max(first + 1, math.ceil((start + samples) / self.hop_samples))
        return self.frames[first:end]


class ClipFeatures:
    """The features that are wanted of the clips of a corpus, and the shelves they lie on.

    A shelf belongs to a corpus, an extractor with its version, and a sample rate; a row is found by the content of the clip, so a
    changed clip is extracted anew and all folds share one shelf. Rows are written in shards of 256 clips: whoever is killed goes on
    behind the last, and a damaged shard is told and made again.

    Args:
        extractors: Name -> what computes the feature.
        workers: Processes that extract; None is one for each processor. Up to 1, and where clips are few, this process does it itself.
    """

    def __init__(self, extractors: Mapping[str, FeatureExtractor] | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 0:
            raise ConfigError(
                "There cannot be fewer than no workers.",
                expected="datamodule.feature_workers of 0 or more, or null",
                got=str(workers),
                remedy="leave it out for one worker per processor",
            )
        self.extractors = dict(extractors or {})
        self.workers = workers
        self._audio: DecodedAudio | None = None
        self._texts: dict[str, str | None] = {}
        self._shelves: dict[str, TensorShelf] = {}

    def __bool__(self) -> bool:
        return bool(self.extractors)

    def add(self, name: str, extractor: FeatureExtractor, whose: str) -> None:
        """Want one more feature.

        Args:
            name: Its name.
            extractor: What computes it.
            whose: Who needs it, for the message.

        Raises:
            ConfigError: If a feature of that name is computed otherwise already.
        """
        known = self.extractors.get(name)
        if known is not None and dict(known.identity) != dict(extractor.identity):
            raise ConfigError(
                f"The feature '{name}' is wanted in two forms.",
                expected=f"{dict(known.identity)}, as it is computed already",
                got=f"{dict(extractor.identity)} for {whose}",
                remedy="train with the same settings on both sides, or give one of the features another name",
            )
        self.extractors.setdefault(name, extractor)

    def describe(self, names: Iterable[str]) -> dict[str, Any]:
        """Give the identities of some features."""
        return {name: dict(self.extractors[name].identity) for name in sorted(names) if name in self.extractors}

    def complete(
        self,
        audio: DecodedAudio,
        clips: Iterable[Utterance],
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
        tell: Callable[[str], None] = print,
    ) -> int:
        """Open the shelves and extract what is missing on them.

        Args:
            audio: Decoded audio that holds the clips.
            clips: Those that will be asked for.
            folder: Where the shelves of the corpus lie.
            progress: Called with (clips done, clips in all).
            tell: Called with one line for what is going to be written, and for what cannot be read.

        Returns:
            How many rows were extracted.

        Raises:
            DataError: If clips have no such feature (all are named), or the shelf cannot be written.
        """
        self._audio = audio
        self._texts |= {clip.id: clip.text for clip in clips}
        made = 0
        for name, extractor in self.extractors.items():
            identity = {"feature": dict(extractor.identity), "sample_rate_hz": audio.sample_rate_hz}
            if name not in self._shelves:
                self._shelves[name] = TensorShelf(folder / hash_data(identity, 16), identity, {"name": name}, tell)
            shelf = self._shelves[name]
            holders = {self._key_of(extractor, clip.id): clip.id for clip in clips}  # clips of one content share a row
            missing = {key: clip for key, clip in holders.items() if key not in shelf}
            if missing:
                tell(_announce(name, extractor, missing.values(), audio, shelf.folder))
                with shelf.building() as sign_of_life:
                    missing = {key: clip for key, clip in missing.items() if key not in shelf}  # another process may have built it
                    self._extract(name, extractor, shelf, missing, progress, sign_of_life)
                made += len(missing)
        return made

    def holds(self, ids: Iterable[str]) -> bool:
        """Tell whether all features of some clips can be read."""
        if self._audio is None or self._shelves.keys() != self.extractors.keys():
            return False
        asked = list(ids)
        if any(clip not in self._texts for clip in asked):
            return False
        return all(self._key_of(extractor, clip) in self._shelves[name] for name, extractor in self.extractors.items() for clip in asked)

    def read(self, utterance_id: str) -> dict[str, NamedFrames]:
        """Give the features of a clip.

        Raises:
            RuntimeError: If they were not extracted.
        """
        if not self.extractors:
            return {}
        if self._audio is None:
            raise RuntimeError("features are read before they were extracted")
        found = {}
        for name, extractor in self.extractors.items():
            hop = None if extractor.hop_s is None else extractor.hop_s * self._audio.sample_rate_hz
            found[name] = NamedFrames(self._shelves[name].read(self._key_of(extractor, utterance_id))[_FRAMES].float(), hop)
        return found

    def _key_of(self, extractor: FeatureExtractor, utterance_id: str) -> str:
        """Name the row of a clip: by its audio, or by the text for what is computed from it."""
        if self._audio is None:  # only called once there is audio; told to the type checker
            raise RuntimeError("there is no audio")
        if getattr(extractor, "reads_text", False):
            return hash_data(["text", self._texts[utterance_id]], 32)
        return self._audio.audio_hashes[utterance_id]

    def _extract(
        self,
        name: str,
        extractor: FeatureExtractor,
        shelf: TensorShelf,
        missing: Mapping[str, str],
        progress: Callable[[int, int], None] | None,
        sign_of_life: Callable[[], None],
    ) -> None:
        audio = self._audio
        if audio is None:  # only called by complete(); told to the type checker
            raise RuntimeError("there is no audio")
        workers = 0 if getattr(extractor, "in_process", False) else choose_workers(self.workers, len(missing))
        if getattr(extractor, "reads_text", False):
            extracted = extract_texts(extractor, ((key, self._texts[clip] or "") for key, clip in missing.items()))
        else:
            clips = ((key, audio.read(clip)) for key, clip in missing.items())
            extracted = extract_clips(extractor, clips, audio.sample_rate_hz, workers)
        rows: dict[str, dict[str, Tensor]] = {}
        faults: dict[str, str] = {}
        try:
            for done, (key, frames) in enumerate(extracted, start=1):
                if isinstance(frames, str):
                    faults[missing[key]] = frames
                else:
                    rows[key] = {_FRAMES: torch.from_numpy(frames)}
                sign_of_life()
                if progress is not None:
                    progress(done, len(missing))
                if len(rows) >= _SHARD_CLIPS:
                    finished, rows = rows, {}
                    shelf.add(finished)
        finally:
            if rows:  # also at Ctrl-C
                shelf.add(rows)
        if faults:
            shown = "; ".join(f"{clip}: {reason}" for clip, reason in list(faults.items())[:5])
            raise DataError(
                f"{len(faults)} of {len(missing)} clips have no feature '{name}'.",
                expected="clips of which it can be computed",
                got=shown + (f"; and {len(faults) - 5} more" if len(faults) > 5 else ""),
                remedy="leave these clips out of the corpus; those of teacher and student must be the same",
            )


def _announce(name: str, extractor: FeatureExtractor, clips: Iterable[str], audio: DecodedAudio, folder: Path) -> str:
    lengths = [audio.length_of(clip) for clip in clips]
    measure = getattr(extractor, "frames_per_s", None)  # of a network whose frames follow from its strides
    per_second = measure(audio.sample_rate_hz) if measure else None if extractor.hop_s is None else 1 / extractor.hop_s
    if measure and not per_second:  # word pieces: nobody knows how many before they are cut
        return f"features {name}: {len(lengths):,} clips go to {folder}"
    frames = len(lengths) if per_second is None else sum(lengths) / audio.sample_rate_hz * per_second
    size = frames * extractor.width * np.dtype(getattr(extractor, "dtype", np.float32)).itemsize / 1e6
    return f"features {name}: {len(lengths):,} clips, about {size:,.1f} MB, go to {folder}"
