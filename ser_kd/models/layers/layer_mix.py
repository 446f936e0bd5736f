"""One sequence of frames from all layers of an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    r"""The layers' frames averaged by learned weights: :math:`\sum_l \mathrm{softmax}(w)_l\, h_l`, all equal at the beginning.

    Args:
        layers: How many there are.

    Source: Yang et al. 2021, "SUPERB: Speech processing Universal PERformance Benchmark".
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(layers))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Give (B, F, D) for as many (B, F, D) as there are weights."""
        shares = self.weights.softmax(dim=0)
        mixed = states[0] * shares[0]
        for share, state in zip(shares[1:], states[1:], strict=True):  # one by one: stacked, all layers would be copied
            mixed = mixed + share * state
        return mixed
