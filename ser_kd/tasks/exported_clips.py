"""The clips an export is proven on: what the trained model says about them, and which of them quantisation may listen to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import overload

import numpy as np
import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.data.datamodule import SpeechDataModule
from ser_kd.data.dataset import SpeechDataset
from ser_kd.functional.keyed_random import hash_text


class Waveforms(Sequence[np.ndarray]):
    """The waveforms of a dataset, read when they are asked for."""

    def __init__(self, dataset: SpeechDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        return self.dataset[index].waveform.numpy()


@torch.no_grad()
def ask_model(model: nn.Module, data: SpeechDataModule, split: str) -> tuple[Tensor, SpeechBatch, bool]:
    """Ask the trained model about a split, batch by batch as it was judged.

    Args:
        model: In evaluation mode.
        data: The run's data.
        split: ``validation`` or ``test``.

    Returns:
        Logits (N, C), or dimensions (N, 3) of a model without classes; the labels of the N clips, without sound; and whether the
        former are logits.
    """
    loader = data.val_dataloader() if split == "validation" else data.test_dataloader()
    answers, labels, has_classes = [], [], True
    for batch in loader:
        outputs = model(batch.model_input())
        has_classes = outputs.logits is not None
        answers.append(outputs.logits if has_classes else outputs.dimensions)
        labels.append(replace(batch, waveforms=batch.waveforms[:, :0]))
    return torch.cat(answers).float(), _join(labels), has_classes


def choose_calibration_clips(dataset: SpeechDataset, count: int) -> list[int]:
    """Choose clips spread over speakers and classes, the same ones every time.

    Args:
        dataset: The training split.
        count: How many; all where there are fewer.

    Returns:
        Their numbers in the dataset, sorted.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for number, (utterance, class_index) in enumerate(zip(dataset.utterances, dataset.class_indices, strict=True)):
        groups.setdefault((utterance.speaker, class_index), []).append(number)
    for key, members in groups.items():
        groups[key] = sorted(members, key=lambda number: hash_text("calibration", dataset.utterances[number].id))
    # the first of each group, then the second of each, …; within a round in an order that favours no speaker
    ranked = sorted(
        (
            (place, hash_text("calibration", *map(str, key)), number)
            for key, members in groups.items()
            for place, number in enumerate(members)
        ),
    )
    return sorted(number for _, _, number in ranked[:count])


def _join(batches: Sequence[SpeechBatch]) -> SpeechBatch:
    first = batches[0]

    def join(name: str) -> Tensor | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if any(part is None for part in parts) else torch.cat(parts)

    dimensions = None
    if any(batch.dimensions is not None for batch in batches):
        known = [torch.full((len(batch), 3), torch.nan) if batch.dimensions is None else batch.dimensions for batch in batches]
        dimensions = torch.cat(known)
    return SpeechBatch(
        ids=[name for batch in batches for name in batch.ids],
        speakers=[name for batch in batches for name in batch.speakers],
        waveforms=torch.zeros(sum(map(len, batches)), 0),
        lengths=torch.cat([batch.lengths for batch in batches]),
        keys=torch.cat([batch.keys for batch in batches]),
        classes=join("classes"),
        dimensions=dimensions,
        dimension_mask=None if dimensions is None else ~dimensions.isnan(),
        class_names=first.class_names,
    )
