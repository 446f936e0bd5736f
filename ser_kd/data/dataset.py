"""Labelled clips by index, each with its random key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ser_kd.contracts.emotions import LabelSet
from ser_kd.contracts.utterance import Utterance
from ser_kd.data.clip_features import ClipFeatures, NamedFrames
from ser_kd.data.decoded_audio import DecodedAudio
from ser_kd.data.sampling import Place, SharedBatch
from ser_kd.functional.keyed_random import hash_text


@dataclass
class SpeechClip:
    """One clip as the collation wants it.

    Args:
        utterance: What is known about it.
        waveform: (T,) float32.
        class_index: Position among the classes, -1 where it has none.
        dimensions: (3,) float32 arousal, dominance, valence, NaN where missing.
        key: Random key: a hash of run seed, epoch and utterance id.
        shared: The batch of all processes it belongs to; None where one process holds the batch.
        features: Name -> frames of the whole clip.
    """

    utterance: Utterance
    waveform: Tensor
    class_index: int
    dimensions: Tensor
    key: int
    shared: SharedBatch | None = None
    features: dict[str, NamedFrames] = field(default_factory=dict)


def clip_key(seed: int, epoch: int, utterance_id: str) -> int:
    """Give the random key of a clip in an epoch."""
    return hash_text(seed, epoch, utterance_id)


class SpeechDataset(Dataset[SpeechClip]):
    """Clips of one split.

    An index is a number, or a pair (epoch, number) from a sampler that knows its epoch: the epoch goes into the clip's
    random key, so that augmentation is the same for any batch composition, order, worker or rank. Third may stand the
    batch that several processes share.

    Args:
        utterances: The split's utterances.
        audio: Decoded audio that holds all of them.
        label_set: Classes; None leaves class targets out.
        seed: Run seed, part of every key.
        features: Named features, extracted already; None for none.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        audio: DecodedAudio,
        label_set: LabelSet | None,
        seed: int = 0,
        features: ClipFeatures | None = None,
    ) -> None:
        self.utterances = list(utterances)
        self.audio = audio
        self.features = features or ClipFeatures()
        self.seed = seed
        self.class_indices = [_class_index(u, label_set) for u in self.utterances]
        self.lengths = [audio.length_of(u.id) for u in self.utterances]

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int | Place) -> SpeechClip:
        epoch, number, *shared = index if isinstance(index, tuple) else (0, index)
        utterance = self.utterances[number]
        dimensions = [math.nan if v is None else v for v in (utterance.arousal, utterance.dominance, utterance.valence)]
        return SpeechClip(
            utterance,
            torch.from_numpy(self.audio.read(utterance.id)),
            self.class_indices[number],
            torch.tensor(dimensions, dtype=torch.float32),
            clip_key(self.seed, epoch, utterance.id),
            shared[0] if shared else None,
            self.features.read(utterance.id),
        )

    def class_counts(self, classes: int) -> list[int]:
        """Count clips per class."""
        counts = [0] * classes
        for index in self.class_indices:
            if index >= 0:
                counts[index] += 1
        return counts


def group_values(utterances: Sequence[Utterance]) -> Mapping[str, list[str]]:
    """List the values of each attribute that utterances can be grouped by, sorted."""
    values: dict[str, set[str]] = {}
    for utterance in utterances:
        for name, value in utterance.groups.items():
            values.setdefault(name, set()).add(value)
    return {name: sorted(found) for name, found in sorted(values.items())}


def _class_index(utterance: Utterance, label_set: LabelSet | None) -> int:
    if label_set is None or utterance.emotion is None:
        return -1
    index = label_set.index_of(utterance.emotion)
    return -1 if index is None else index
