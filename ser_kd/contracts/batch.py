"""What a data loader hands over, and the part of it that one model hears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor


def _move(value: object, device: torch.device | str, non_blocking: bool) -> object:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=non_blocking)
    if isinstance(value, tuple):
        return tuple(_move(part, device, non_blocking) for part in value)
    if isinstance(value, dict):
        return {name: _move(part, device, non_blocking) for name, part in value.items()}
    return value


@dataclass
class ModelInput:
    """What one model (teacher or student) gets to hear, read and see.

    Args:
        waveforms: (B, T) float in about [-1, 1]; zero behind each length.
        lengths: (B,) int64, valid samples of each clip.
        texts: B transcripts, or None.
        features: Named features computed elsewhere: name -> ((B, F, D), lengths (B,)).
        keys: (B,) int64 random keys, one per clip and epoch; None where nothing is drawn.
    """

    waveforms: Tensor
    lengths: Tensor
    texts: list[str | None] | None = None
    features: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    keys: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ModelInput:
        """Give the same input on another device."""
        return replace(self, **{f.name: _move(getattr(self, f.name), device, non_blocking) for f in fields(self)})  # type: ignore[arg-type]

    def take(self, rows: Sequence[int]) -> ModelInput:
        """Give the clips of the named rows, in their order; a row may be named twice."""
        chosen = list(rows)
        return ModelInput(
            waveforms=self.waveforms[chosen],
            lengths=self.lengths[chosen],
            texts=None if self.texts is None else [self.texts[row] for row in chosen],
            features={name: (values[chosen], lengths[chosen]) for name, (values, lengths) in self.features.items()},
            keys=None if self.keys is None else self.keys[chosen],
        )

    def take_alone(self, row: int) -> ModelInput:
        """Give one clip without the padding that its batch put behind it."""
        clip = self.take([row])
        return ModelInput(
            waveforms=clip.waveforms[:, : int(clip.lengths[0])],
            lengths=clip.lengths,
            texts=clip.texts,
            features={name: (values[:, : int(lengths[0])], lengths) for name, (values, lengths) in clip.features.items()},
            keys=clip.keys,
        )


@dataclass
class SpeechBatch:
    """A batch of labelled speech.

    Args:
        ids: B utterance ids.
        speakers: B speaker names.
        waveforms: (B, T) float32 in about [-1, 1]; zero behind each length.
        lengths: (B,) int64, valid samples of each clip.
        keys: (B,) int64 random keys: a hash of run seed, epoch and utterance id.
        texts: B transcripts, or None.
        features: Named features: name -> ((B, F, D), lengths (B,)).
        classes: (B,) int64 class indices, -1 where a clip has none; or None.
        class_probabilities: (B, C) soft class targets that override ``classes`` in training (mix-up); or None.
        dimensions: (B, 3) float32 arousal, dominance, valence in [0, 1], NaN where missing; or None.
        dimension_mask: (B, 3) bool, True where annotated; or None.
        groups: Attribute -> B values, to report by (gender, intensity).
        class_names: C class names in the order of ``classes``; empty where there are none.
        global_size: Clips of the batch of which this is one process's share, clips rank, rank + W, …; where it is smaller than the
            number of processes, each holds all of it. None where one process holds the batch.
    """

    ids: list[str]
    speakers: list[str]
    waveforms: Tensor
    lengths: Tensor
    keys: Tensor
    texts: list[str | None] | None = None
    features: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    classes: Tensor | None = None
    class_probabilities: Tensor | None = None
    dimensions: Tensor | None = None
    dimension_mask: Tensor | None = None
    groups: dict[str, list[str]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    global_size: int | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SpeechBatch:
        """Give the same batch on another device."""
        return replace(self, **{f.name: _move(getattr(self, f.name), device, non_blocking) for f in fields(self)})  # type: ignore[arg-type]

    def take(self, rows: Sequence[int]) -> SpeechBatch:
        """Give the clips of the named rows, in their order."""
        chosen = list(rows)

        def cut(value: object) -> object:
            if isinstance(value, Tensor):
                return value[chosen]
            if isinstance(value, list):
                return [value[row] for row in chosen]
            if isinstance(value, dict):
                return {name: tuple(map(cut, part)) if isinstance(part, tuple) else cut(part) for name, part in value.items()}
            return value

        return replace(self, **{f.name: cut(getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type]

    def model_input(self) -> ModelInput:
        """Give what a model may know of this batch: no labels, no speakers."""
        return ModelInput(self.waveforms, self.lengths, self.texts, self.features, self.keys)
