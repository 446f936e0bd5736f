"""Batch normalisation whose statistics know only valid frames."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class MaskedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of maps (B, C, F) or (B, C, F, M) with one mean and variance per channel.

    In training the statistics run over the frames that ``mask`` marks; plain batch normalisation would count silence and make a clip's
    answer depend on how far its neighbours are padded. Without a mask, and in evaluation, it *is* torch's. As there, the running
    variance is the unbiased one (Keras keeps the population variance). Where several processes share a batch, ``pool`` (see
    ``shared_statistics``) turns the statistics of each into those of all.

    Args:
        channels: C.
        eps: Added to the variance.
        momentum: Share of the new batch in the running statistics; None, as `torch.optim.swa_utils.update_bn` sets it, averages all
            batches.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float | None

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.pool: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]] | None = None

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (3, 4):
            raise ValueError(f"expected maps (B, C, F) or (B, C, F, M), got {tuple(input.shape)}")

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            input: (B, C, F) or (B, C, F, M).
            mask: (B, F) bool, True where valid; None where every frame is.

        Returns:
            The same shape; what stands behind the valid frames means nothing.
        """
        if not self.training or (mask is None and self.pool is None):
            return super().forward(input)
        if mask is None:
            mask = torch.ones(input.shape[0], input.shape[2], dtype=torch.bool, device=input.device)
        axes = tuple(axis for axis in range(input.dim()) if axis != 1)
        weights = mask.to(torch.float32).unsqueeze(1)  # (B, 1, F)
        if input.dim() == 4:
            weights = weights.unsqueeze(-1).expand(-1, -1, -1, input.shape[3])  # (B, 1, F, M)
        with torch.autocast(input.device.type, enabled=False):
            maps = input.float()
            count = weights.sum().clamp_min(1.0)
            mean = (maps * weights).sum(dim=axes, keepdim=True) / count
            centred = maps - mean
            variance = (centred.square() * weights).sum(dim=axes, keepdim=True) / count
            if self.pool is not None:
                count, pooled_mean, pooled_variance = self.pool(count, mean.flatten(), variance.flatten())
                mean, variance = pooled_mean.view_as(mean), pooled_variance.view_as(mean)
                centred = maps - mean
            self.update_running_statistics(mean.flatten(), variance.flatten(), count)
            scale = self.weight.view_as(mean) * torch.rsqrt(variance + self.eps)
            return (centred * scale + self.bias.view_as(mean)).to(input.dtype)

    @torch.no_grad()
    def update_running_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics towards a batch's.

        Args:
            mean: (C,) of the batch.
            variance: (C,), of the population.
            count: How many values per channel they were taken over, scalar.
        """
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_((variance * count / (count - 1.0).clamp_min(1.0)).to(self.running_var), share)
