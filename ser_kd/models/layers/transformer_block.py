"""One block of a transformer that normalises before it computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), as GPT-2 and ViT order them.

    Torch's own ``TransformerEncoderLayer`` leaves in evaluation for a fused kernel, which neither exports nor can be counted.

    Args:
        width: D.
        heads: Attention heads; D must be a multiple.
        inner_width: Width of the hidden layer of the mlp.
        dropout: Probability of dropping a value of either branch, and an attention weight.

    Raises:
        ConfigError: If the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, inner_width: int, dropout: float = 0.1) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ConfigError(
                "The heads do not divide the width.", expected=f"heads that divide {width}", got=str(heads), remedy="set width and heads"
            )
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.attention_input = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_input = nn.Linear(width, inner_width)
        self.mlp_output = nn.Linear(inner_width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, F, D) for frames (B, F, D); the mask (B, F) says which of them are attended to, None all."""
        frames = frames + self.dropout(self._attend(self.attention_norm(frames), mask))
        inner = self.dropout(nn.functional.gelu(self.mlp_input(self.mlp_norm(frames))))
        return frames + self.dropout(self.mlp_output(inner))

    def _attend(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        rows, size, width = frames.shape
        split = self.attention_input(frames).view(rows, size, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, H, F, D / H) each
        added: Tensor | None = None
        if mask is not None:  # a large number, not minus infinity: a clip without a valid frame must give no NaN
            added = torch.zeros_like(mask, dtype=frames.dtype).masked_fill(~mask, torch.finfo(frames.dtype).min)[:, None, None]
        dropped = self.dropout.p if self.training else 0.0
        heard = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=added, dropout_p=dropped)
        return self.attention_output(heard.transpose(1, 2).reshape(rows, size, width))
