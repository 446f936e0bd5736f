"""Group normalisation whose statistics know only each clip's own valid frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedGroupNorm(nn.GroupNorm):
    """Group normalisation of maps (B, C, F) with mean and variance over a clip's valid frames and the channels of a group.

    wav2vec 2.0 base and HuBERT base normalise their first convolution over time, so that plain group normalisation counts the
    padding and a clip's answer depends on the length of its neighbours. Without a mask it *is* torch's; its parameters bear the same names.
    """

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalise.

        Args:
            input: (B, C, F), finite everywhere.
            mask: (B, F) bool, True where valid, at least one in each row; None where every frame is.

        Returns:
            (B, C, F); what stands behind the valid frames means nothing.
        """
        if mask is None:
            return super().forward(input)
        with torch.autocast(input.device.type, enabled=False):
            groups = input.float().unflatten(1, (self.num_groups, -1))  # (B, G, C / G, F)
            weights = mask.to(torch.float32)[:, None, None, :]  # (B, 1, 1, F)
            count = weights.sum(dim=3, keepdim=True) * groups.shape[2]
            centred = groups - (groups * weights).sum(dim=(2, 3), keepdim=True) / count
            variance = (centred.square() * weights).sum(dim=(2, 3), keepdim=True) / count
            normed = (centred * torch.rsqrt(variance + self.eps)).flatten(1, 2)
            return (normed * self.weight.float()[:, None] + self.bias.float()[:, None]).to(input.dtype)
