"""Bring clips to one length and stack them into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.data.dataset import SpeechClip
from ser_kd.functional.keyed_random import derive_keys, draw_uniform

Padding = Literal["masked", "center", "right", "tile"]
EvaluationClips = Literal["fitted", "whole"]


def choose_evaluation_length(clip_samples: int | None, padding: Padding, evaluation_clips: EvaluationClips) -> tuple[int | None, Padding]:
    """Give length and padding of the clips that a model is judged by, validated by and exported for.

    Args:
        clip_samples: Length in training.
        padding: Padding in training.
        evaluation_clips: ``fitted`` brings clips to the length of training, cropped in their middle; ``whole`` leaves them as they are
            and masks what fills a batch.

    Raises:
        ConfigError: If ``evaluation_clips`` is neither.
    """
    if evaluation_clips not in get_args(EvaluationClips):
        raise ConfigError(
            "Unknown way to judge clips.",
            expected="fitted or whole",
            got=str(evaluation_clips),
            remedy="set datamodule.evaluation_clips to one of them",
        )
    return (None, "masked") if evaluation_clips == "whole" else (clip_samples, padding)


class SpeechCollation:
    """Pads or crops clips and stacks them.

    Three ways to fill a batch. ``masked``: zeros stand behind the clip, its length says where it ends, and no model may let them change
    its answer. ``center`` and ``right``: the clip is brought to ``clip_samples`` with zeros on both sides or behind it, and the zeros
    count as signal, as published systems with a fixed input length do (000: 84,351 samples). ``tile``: a shorter clip is repeated from
    its beginning until ``clip_samples`` are full, so that a fixed length holds nothing but speech.

    Named features follow the crop: their frames are those of the part that is heard (``NamedFrames.cut``). What fills a batch never
    becomes a frame: whatever the padding, zeros stand behind each clip's own frames and their lengths say where these end.

    Args:
        clip_samples: Longest clip, in samples; longer ones are cropped. None keeps every clip whole (``masked`` only).
        padding: See above.
        random_crop: Crop at a random place drawn by the clip's key (training) instead of in the middle.
        class_names: Classes in the order of the clips' indices; every batch carries them.

    Raises:
        ConfigError: If a fixed padding has no ``clip_samples``.
    """

    def __init__(
        self, clip_samples: int | None = None, padding: Padding = "masked", random_crop: bool = False, class_names: Sequence[str] = ()
    ) -> None:
        if padding not in get_args(Padding):
            raise ConfigError(
                "Unknown padding.",
                expected="masked, center, right or tile",
                got=str(padding),
                remedy="set datamodule.padding to one of them",
            )
        if clip_samples is not None and clip_samples < 1:
            raise ConfigError(
                "A clip needs samples.", expected="clip_samples of 1 or more", got=str(clip_samples), remedy="84351 is 5.27 s at 16 kHz"
            )
        if padding != "masked" and clip_samples is None:
            raise ConfigError(
                f"Padding '{padding}' needs a fixed length.",
                expected="datamodule.clip_samples as a number of samples",
                got="null",
                remedy="set datamodule.clip_samples=84351 (5.27 s at 16 kHz), or datamodule.padding=masked",
            )
        self.clip_samples = clip_samples
        self.padding = padding
        self.random_crop = random_crop
        self.class_names = tuple(class_names)

    def __call__(self, clips: Sequence[SpeechClip]) -> SpeechBatch:
        keys = torch.tensor([clip.key for clip in clips], dtype=torch.int64)
        parts = [self._choose_part(len(clip.waveform), key) for clip, key in zip(clips, keys, strict=True)]
        cropped = [clip.waveform[start : start + count] for clip, (start, count) in zip(clips, parts, strict=True)]
        fixed = self.padding != "masked"
        shared = clips[0].shared
        longest = max([len(w) for w in cropped] if shared is None else [shared.longest])
        width = self.clip_samples if self.clip_samples and (fixed or longest > self.clip_samples) else longest
        waveforms = torch.zeros(len(clips), width)  # (B, T)
        for row, waveform in zip(waveforms, cropped, strict=True):
            if self.padding == "tile":
                row[:] = waveform.repeat(-(-width // len(waveform)))[:width]
                continue
            start = (width - len(waveform)) // 2 if self.padding == "center" else 0
            row[start : start + len(waveform)] = waveform
        lengths = torch.tensor([width if fixed else len(w) for w in cropped], dtype=torch.int64)
        dimensions = torch.stack([clip.dimensions for clip in clips])  # (B, 3)
        has_classes = bool(self.class_names) or any(clip.class_index >= 0 for clip in clips)
        has_dimensions = bool((~dimensions.isnan()).any())
        utterances = [clip.utterance for clip in clips]
        names = sorted({name for utterance in utterances for name in utterance.groups})
        return SpeechBatch(
            ids=[u.id for u in utterances],
            speakers=[u.speaker for u in utterances],
            waveforms=waveforms,
            lengths=lengths,
            keys=keys,
            texts=[u.text for u in utterances] if any(u.text is not None for u in utterances) else None,
            features={
                name: _stack([clip.features[name].cut(*part) for clip, part in zip(clips, parts, strict=True)])
                for name in clips[0].features
            },
            classes=torch.tensor([clip.class_index for clip in clips], dtype=torch.int64) if has_classes else None,
            dimensions=dimensions if has_dimensions else None,
            dimension_mask=~dimensions.isnan() if has_dimensions else None,
            groups={name: [u.groups.get(name, "") for u in utterances] for name in names},
            class_names=self.class_names,
            global_size=None if shared is None else shared.clips,
        )

    def _choose_part(self, samples: int, key: Tensor) -> tuple[int, int]:
        """Give the first sample of what is heard of a clip, and how many."""
        excess = samples - self.clip_samples if self.clip_samples else 0
        if excess <= 0:
            return 0, samples
        start = excess // 2
        if self.random_crop:
            start = int(draw_uniform(derive_keys(key[None], "crop"), 1).item() * (excess + 1))
        return start, samples - excess


def _stack(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Give frames (B, F, D) with zeros behind each clip's own, and their lengths (B,)."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
    stacked = torch.zeros(len(rows), int(lengths.max()), rows[0].shape[1])
    for place, row in zip(stacked, rows, strict=True):
        place[: len(row)] = row
    return stacked, lengths
