"""Distances and angles between all clips of a batch, from one Gram matrix instead of all differences."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

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


def compare_angles(student: Tensor, teacher: Tensor) -> Tensor:
    r"""Sum up the Huber distance (delta 1) between the angles of two sets of embeddings, over all triples of clips.

    The cosine at clip j between each two others, :math:`\psi_{jik} = \langle e_{ij}, e_{kj} \rangle` with
    :math:`e_{ij} = (x_i - x_j) / |x_i - x_j|`, is by the law of cosines
    :math:`(d_{ij}^2 + d_{kj}^2 - d_{ik}^2) / (2 d_{ij} d_{kj})`. Of the N^3 cosines only a bounded number is there at once: values and
    the gradient of the squared distances are summed up over some vertices j after the other. Where two embeddings are equal up to
    rounding, e_ij stays zero, and so do cosine and gradient.

    Args:
        student: (N, D).
        teacher: (N, D'), gets no gradient.

    Returns:
        () at least float32 whatever autocast says, 0 or more. Gradient flows to the student's embeddings, once.

    Raises:
        ShapeError: If the embeddings are not (N, D).

    Example:
        >>> corner = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> compare_angles(corner, 3 * corner + 1).item()
        0.0
    """
    squares, rounding = _square_distances(student)
    with torch.no_grad():
        wanted, wanted_rounding = _square_distances(teacher)
    total: Tensor = _AngleComparison.apply(  # type: ignore[no-untyped-call]
        squares, _invert_distances(squares, rounding), wanted, _invert_distances(wanted, wanted_rounding), _answer_type(student)
    )
    return total


class _AngleComparison(torch.autograd.Function):
    """Huber's sum over (N, N, N) and its gradient by the student's squared distances, in one sweep over the vertices."""

    @staticmethod
    def forward(ctx: Any, squares: Tensor, inverse: Tensor, wanted: Tensor, wanted_inverse: Tensor, dtype: torch.dtype) -> Tensor:
        clips = len(squares)
        total = squares.new_zeros(())
        gradient = torch.zeros_like(squares) if ctx.needs_input_grad[0] else None
        step = max(
            (2**17 if squares.device.type == "cpu" else 2**24) // max(clips, 1) ** 2, 1
        )  # what a core's cache holds, or keeps a GPU busy
        for first in range(0, clips, step):
            vertices = slice(first, first + step)
            cosines = _take_cosines(squares, inverse, vertices, dtype)  # (V, N, N)
            apart = cosines - _take_cosines(wanted, wanted_inverse, vertices, dtype)
            slope = apart.clamp(-1.0, 1.0)
            total += torch.dot(slope.flatten(), apart.sub_(slope, alpha=0.5).flatten())
            if gradient is None:
                continue
            # slope and cosines are symmetric in i and k, so that each sum over k stands for that over i, too
            near = inverse[vertices].to(dtype)  # (V, N)
            weighed = slope * near[:, None, :]
            gradient[vertices] += near * (weighed.sum(dim=2) - near * cosines.mul_(slope).sum(dim=2))
            gradient.sub_(weighed.mul_(near[:, :, None]).sum(dim=0), alpha=0.5)
        ctx.save_for_backward(gradient)
        return total.to(dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None, None, None, None


def _take_cosines(squares: Tensor, inverse: Tensor, vertices: slice, dtype: torch.dtype) -> Tensor:
    """Give the cosines at some vertices, (V, N, N)."""
    near = squares[vertices]
    # the difference is taken in float64; only then it may be short
    cosines = (near[:, None, :] - squares).add_(near[:, :, None]).to(dtype)
    near = inverse[vertices].to(dtype)
    return cosines.mul_(0.5 * near[:, :, None]).mul_(near[:, None, :])


@torch.no_grad()
def _invert_distances(squares: Tensor, rounding: Tensor) -> Tensor:
    """Give 1 / d_ij, and zero where two clips are equal up to rounding."""
    return torch.where(squares > rounding, squares.clamp_min(torch.finfo(squares.dtype).tiny).rsqrt(), torch.zeros_like(squares))


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
