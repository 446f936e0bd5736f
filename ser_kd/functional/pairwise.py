"""Distances and angles between all clips of a batch, from one Gram matrix instead of all differences."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.shapes import check_rank

SQUARED_DISTANCE_FLOOR = 1e-12
"""Squared distances are clamped here before the root, whose slope at zero is infinite."""


def _answer_type(embeddings: Tensor) -> torch.dtype:
    return torch.promote_types(embeddings.dtype, torch.float32)


def _square_distances(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Compute |x_i|^2 + |x_j|^2 - 2 <x_i, x_j>, and how large its rounding error can be; (N, N) each."""
    check_rank(embeddings, 2, "embeddings", "(N, D)")
    # A difference of squares loses half of its digits: float32 would leave neighbours at 1e-3 of their norm without a direction.
    # Only N x D and N x N numbers are wide. Apple's accelerator has no float64.
    wide = embeddings.float() if embeddings.device.type == "mps" else embeddings.double()
    # Distances do not feel a translation, so that the mean is a constant to the gradient too.
    centred = wide - wide.detach().mean(dim=0)
    with torch.autocast(embeddings.device.type, enabled=False):
        products = centred @ centred.T  # (N, N)
    norms = products.diagonal()
    sums = norms[:, None] + norms[None, :]
    rounding = embeddings.shape[1] * torch.finfo(wide.dtype).eps * sums.detach()
    return sums - 2.0 * products, rounding


def measure_distances(embeddings: Tensor) -> Tensor:
    """Measure the Euclidean distance of each pair: d_ij = |x_i - x_j|.

    No tensor is larger than N x N or N x D. The square is clamped at 1e-12 before the root, so that identical embeddings lie
    1e-6 apart and have a gradient of zero; the diagonal is 0.

    Args:
        embeddings: (N, D).

    Returns:
        (N, N) at least float32 whatever autocast says, 0 or more. Gradient flows to the embeddings.

    Raises:
        ShapeError: If the embeddings are not (N, D).

    Example:
        >>> measure_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]])).tolist()
        [[0.0, 5.0], [5.0, 0.0]]
    """
    squares, _ = _square_distances(embeddings)
    distances = squares.clamp_min(SQUARED_DISTANCE_FLOOR).sqrt().to(_answer_type(embeddings))
    return distances.masked_fill(torch.eye(len(embeddings), dtype=torch.bool, device=embeddings.device), 0.0)


def measure_angle_cosines(embeddings: Tensor) -> Tensor:
    """Measure the cosine of the angle at each clip j between each two others: <e_ij, e_kj> with e_ij = (x_i - x_j) / |x_i - x_j|.

    By the law of cosines it is (d_ij^2 + d_kj^2 - d_ik^2) / (2 d_ij d_kj), so that no tensor is larger than N x N x N or N x D.
    Where two embeddings are equal up to rounding, e_ij stays zero, and so do cosine and gradient.

    Args:
        embeddings: (N, D).

    Returns:
        (N, N, N) at least float32 whatever autocast says; [j, i, k] has its vertex at j. Gradient flows to the embeddings.

    Raises:
        ShapeError: If the embeddings are not (N, D).

    Example:
        >>> corner = measure_angle_cosines(torch.tensor([[0.0, 0.0], [2.0, 0.0], [3.0, 3.0]]))[0]
        >>> round(corner[1, 2].item(), 4)
        0.7071
    """
    squares, rounding = _square_distances(embeddings)
    is_apart = squares > rounding
    # The inner where keeps the gradient of a zero vector at zero instead of NaN.
    inverse = torch.where(is_apart, torch.where(is_apart, squares, torch.ones_like(squares)).rsqrt(), torch.zeros_like(squares))
    # The difference is taken in float64; only then it may be short, and only the short one is kept for the gradient.
    products = (squares[:, :, None] + squares[:, None, :] - squares[None, :, :]).to(_answer_type(embeddings))  # (N, N, N)
    inverse = inverse.to(products.dtype)
    return 0.5 * products * inverse[:, :, None] * inverse[:, None, :]


def normalize_rows(rows: Tensor) -> Tensor:
    """Bring each row to unit length: x / |x|; a row of zeros stays zero and has a gradient of zero.

    ``torch.nn.functional.normalize`` divides such a row by 1e-12, and its gradient with it.

    Args:
        rows: (N, D).

    Returns:
        (N, D) of the same type. Gradient flows to the rows.

    Example:
        >>> normalize_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    # The largest value is taken out first: squares of small numbers vanish in float32 long before the numbers do.
    largest = rows.detach().abs().amax(dim=1, keepdim=True)
    is_zero = largest == 0
    scaled = rows / largest.masked_fill(is_zero, 1.0)
    squares = scaled.square().sum(dim=1, keepdim=True)
    return scaled * squares.masked_fill(is_zero, 1.0).rsqrt().masked_fill(is_zero, 0.0)
