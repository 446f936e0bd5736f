"""Checks of rank, size and finiteness that tell what was expected and what came."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.errors import ShapeError


def check_rank(tensor: Tensor, rank: int, name: str, axes: str) -> None:
    """Check the number of axes.

    Raises:
        ShapeError: If the tensor has another rank than ``axes`` describes.
    """
    if tensor.dim() != rank:
        raise ShapeError(
            f"'{name}' has the wrong number of axes.",
            expected=f"{rank} axes {axes}",
            got=f"{tensor.dim()} axes {tuple(tensor.shape)}",
            remedy="reshape it, or add the batch axis with [None]",
        )


def check_same_shape(first: Tensor, second: Tensor, first_name: str, second_name: str) -> None:
    """Check that two tensors have one shape.

    Raises:
        ShapeError: If they differ.
    """
    if first.shape != second.shape:
        raise ShapeError(
            f"'{first_name}' and '{second_name}' differ in shape.",
            expected=f"{second_name} {tuple(second.shape)}",
            got=f"{first_name} {tuple(first.shape)}",
            remedy="check that both come from the same batch, classes and layers",
        )


def check_finite(tensor: Tensor, name: str) -> None:
    """Check that every value is finite.

    Raises:
        ShapeError: If there is a NaN or an infinity; the message counts them.
    """
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ShapeError(
            f"'{name}' holds values that are not finite.",
            expected="finite numbers",
            got=f"{bad} of {tensor.numel()} are NaN or infinite",
            remedy="look for silent or damaged clips, or a learning rate that is too high",
        )
