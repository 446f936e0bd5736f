"""One class per clip, also where labels are mixed."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError


def strongest_classes(batch: SpeechBatch, term: str) -> Tensor:
    """Give each clip the class with the largest share of its label; of two equal shares the first.

    For terms that need one class per clip. A mixture counts as the clip that is louder in it, and not as no clip at all:
    where every clip is mixed, as in the preset ``views=mixup``, such a term would fall silent.

    Args:
        batch: With ``class_probabilities`` (B, C), which come first where both are there, or ``classes`` (B,).
        term: Name of the term, for messages.

    Returns:
        (B,) int64, -1 where a clip has no class.

    Raises:
        ConfigError: If the batch has no classes.
    """
    if batch.class_probabilities is not None:
        shares, classes = batch.class_probabilities.max(dim=1)
        return torch.where(shares > 0, classes, torch.full_like(classes, -1))
    if batch.classes is None:
        raise ConfigError(
            f"'{term}' needs class labels.",
            expected="a corpus with emotion classes",
            got="a batch without classes",
            remedy=f"choose a corpus and a label set with classes, or take {term} out of the objective",
        )
    return batch.classes
