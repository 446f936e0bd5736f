"""A dimension that training never had is no answer: NaN stands in its place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ser_kd.contracts.emotions import DIMENSIONS


def blank_dimensions(dimensions: Tensor | None, unlearned: Sequence[str]) -> Tensor | None:
    """Put NaN where a dimension was never learned.

    Args:
        dimensions: (B, 3), or None.
        unlearned: Names of the dimensions.

    Returns:
        (B, 3), the same tensor where all were learned.

    Example:
        >>> blank_dimensions(torch.zeros(1, 3), ["dominance"])
        tensor([[0., nan, 0.]])
    """
    if dimensions is None or not unlearned:
        return dimensions
    blank = torch.tensor([name in unlearned for name in DIMENSIONS], device=dimensions.device)
    return dimensions.masked_fill(blank, torch.nan)


def list_known_dimensions(model: nn.Module) -> list[str]:
    """List the dimensions a model has learned, as far as it answers with any: all where it says nothing else."""
    unlearned = getattr(model, "unlearned_dimensions", ())
    return [name for name in DIMENSIONS if name not in unlearned]
