"""Statistics of a batch that several processes share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm


class _GatheredMoments(torch.autograd.Function):
    """Moments (M,) of every process, (W, M); each gets back what all of them want of its own."""

    @staticmethod
    def forward(ctx: Any, moments: Tensor) -> Tensor:
        found = [torch.empty_like(moments) for _ in range(distributed.get_world_size())]
        distributed.all_gather(found, moments.contiguous())
        return torch.stack(found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous()
        distributed.all_reduce(total)
        return total[distributed.get_rank()]


def pool_moments(count: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give count, mean and variance of the values of all processes from those of each.

    m = sum n_r m_r / N and v = sum n_r (v_r + (m_r - m)^2) / N. Gradient flows to the mean and variance of every process.

    Args:
        count: () values per channel in this process.
        mean: (C,) of them.
        variance: (C,), of the population.
    """
    counts, means, variances = _GatheredMoments.apply(torch.cat([count.reshape(1), mean, variance])).split([1, len(mean), len(mean)], dim=1)
    total = counts.sum().clamp_min(1.0)
    pooled = (counts * means).sum(dim=0) / total
    return total, pooled, (counts * (variances + (means - pooled).square())).sum(dim=0) / total


def share_statistics(model: nn.Module, shared: bool = True) -> None:
    """Let the batch normalisations of a model see the batch of all processes, or each process's own share.

    Lightning's ``sync_batchnorm`` does not know masks and needs a GPU; ours works anywhere. Plain batch normalisation becomes torch's
    ``SyncBatchNorm`` where there is a GPU, else it is left alone (see ``keeps_own_statistics``). Names in the state dict stay.

    Args:
        model: Changed in place.
        shared: False sets what was shared back, for a pass that one process makes alone.
    """
    for name, child in list(model.named_children()):
        if isinstance(child, MaskedBatchNorm):
            child.pool = pool_moments if shared else None
        elif isinstance(child, _BatchNorm) and shared and torch.cuda.is_available():
            setattr(model, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))
        else:
            share_statistics(child, shared)


def keeps_own_statistics(model: nn.Module) -> bool:
    """Tell whether a batch normalisation that learns sees only the clips of its own process."""
    learning = [part for part in model.modules() if isinstance(part, _BatchNorm) and any(p.requires_grad for p in part.parameters())]
    return any(part.pool is None if isinstance(part, MaskedBatchNorm) else not isinstance(part, nn.SyncBatchNorm) for part in learning)
