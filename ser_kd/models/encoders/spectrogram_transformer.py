"""A small transformer over patches of a spectrogram, trained from scratch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import clear_frames
from ser_kd.models.block_map import LayerMap, check_same_layout, choose_blocks, choose_hidden_layers, choose_layer_map
from ser_kd.models.layers.transformer_block import TransformerBlock
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pretrained import fit_weights

_LONGEST_WAVE = 10_000.0


class SpectrogramTransformer(nn.Module):
    """Patches of some frames and all bins -> linear map + sinusoids of the position -> pre-norm blocks -> layer norm.

    Attention sees valid patches only and the last patch of a clip is filled with zeros, so that a clip's frames are the same alone and in
    any batch; frames behind the end are zero. A patch that holds a valid frame is valid.

    Args:
        input_width: Mel bins (or coefficients) per frame.
        width: D.
        layers: Blocks.
        heads: Attention heads.
        inner_width: Hidden width of a block's mlp; None is four times the width.
        patch_frames: Frames of a patch, by which the frame rate falls.
        dropout: In blocks and on their input.
        hidden_layers: Which hidden states are handed out: 0 is the input of the first block, k the output of block k; or "all".

    Raises:
        ConfigError: If the sizes do not fit together, or there is no such hidden state.

    Source: Gong, Chung, Glass: AST, Interspeech 2021, with patches along time alone; no pretrained weights, and a mean in place of its
        class token.
    """

    def __init__(
        self,
        input_width: int,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        inner_width: int | None = None,
        patch_frames: int = 4,
        dropout: float = 0.1,
        hidden_layers: Literal["all"] | Sequence[int] = (),
    ) -> None:
        super().__init__()
        if layers < 1 or patch_frames < 1 or width % 2:
            raise ConfigError(
                "SpectrogramTransformer cannot be built in this layout.",
                expected="at least one layer, at least one frame in a patch, and an even width",
                got=f"layers={layers}, patch_frames={patch_frames}, width={width}",
                remedy="its defaults are layers=4, patch_frames=4, width=128",
            )
        self.input_width = input_width
        self.width = width
        self.heads = heads
        self.patch_frames = patch_frames
        self.hidden_layers = choose_hidden_layers(hidden_layers, layers)
        self.projection = nn.Linear(patch_frames * input_width, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, inner_width or 4 * width, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    @property
    def layer_widths(self) -> dict[int, int]:
        """The hidden states there are: number -> D."""
        return dict.fromkeys(range(len(self.blocks) + 1), self.width)

    def copy_blocks(self, other: object, layer_map: LayerMap) -> tuple[int, ...]:
        """Start from a deeper transformer of the same width: some of its blocks, its projection and its norm.

        Args:
            other: A ``SpectrogramTransformer``.
            layer_map: Which of its blocks fill ours.

        Returns:
            The map as it was used.

        Raises:
            ConfigError: If it is no such network, or the map does not fit.
            DataError: If a tensor has another shape than ours.
        """
        if not isinstance(other, SpectrogramTransformer):
            raise ConfigError(
                "Only a network of the same kind can give its blocks to this one.",
                expected="SpectrogramTransformer",
                got=type(other).__name__,
                remedy="choose a teacher with the student's kind of encoder, or student.init_from=random",
            )
        check_same_layout(*({"heads": net.heads, "patch_frames": net.patch_frames} for net in (self, other)))
        chosen = choose_layer_map(layer_map, len(self.blocks), len(other.blocks), "teacher")
        fit_weights(self, choose_blocks(other.state_dict(), "blocks.", chosen, len(other.blocks), "the teacher"), "the teacher")
        return chosen

    def forward(self, features: Features) -> Encoded:
        """Give frames (B, F', D) with F' = ceil(F / patch_frames), their mask, and the chosen hidden states.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "SpectrogramTransformer")
        patches = nn.functional.pad(frames, (0, 0, 0, -frames.shape[1] % self.patch_frames))
        patches = patches.unflatten(1, (-1, self.patch_frames)).flatten(2)  # (B, F', P M)
        mask = None if mask is None else mask[:, :: self.patch_frames]
        hidden = self.dropout(self.projection(patches) + _draw_positions(patches.shape[1], self.width, patches))
        states = {0: hidden}
        for number, block in enumerate(self.blocks, start=1):
            hidden = block(hidden, mask)
            states[number] = hidden
        chosen = {number: clear_frames(states[number], mask) for number in self.hidden_layers}
        return Encoded(frames=clear_frames(self.norm(hidden), mask), frame_mask=mask, hidden_states=chosen)


def _draw_positions(size: int, width: int, like: Tensor) -> Tensor:
    """Give (F, D): sines and cosines of the position at wavelengths from 2 pi up."""
    slopes = torch.exp(torch.arange(0, width, 2, device=like.device) * (-math.log(_LONGEST_WAVE) / width))  # (D / 2,)
    angles = torch.arange(size, device=like.device).unsqueeze(1) * slopes
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(like.dtype)
