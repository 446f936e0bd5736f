"""Wav2Small as its float32 file computes it: the same answers, one second after the other, in a third of the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.deploy.wav2small_weights import fill_up, fold_last, fold_norm, list_units
from ser_kd.models.encoders.wav2small import ConvolutionUnit, Wav2Small
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pooling import ChannelAttentionPooling

PIECE_TOKENS = 250
"""Tokens of one piece: one second."""

_CLOSED = 1e6
"""Far above any map's values: what is subtracted from them outside the clip."""

_LOWEST = -1e30
"""Below any score."""

State = tuple[Tensor, Tensor, Tensor]


class LeanWav2Small(nn.Module):
    """A trained ``Wav2Small`` with its ``ChannelAttentionPooling``, for inference.

    * Time is cut into pieces, each with as many frames on both sides as its tokens hear. The pooling goes along: its softmax needs of the
      pieces before no more than its largest score so far, the sum of its weights and that of the weighted values. So memory does not grow
      with the clip but for its features.
    * Batch norms are part of the convolutions, and the last 1x1 convolution is part of the pooling's linear maps.
    * Time is the width of the maps (B, C, M, F): long rows fill the runtime's kernels.
    * Channels are filled up to 16, the runtime's block. Two of them say where the clip has not begun and where it has ended; each
      convolution carries them on and subtracts them, a million times, before the ReLU, so that no map has to be multiplied by a mask.
      Within the clip they are zero and change no bit.

    Args:
        encoder: Trained.
        pooling: Trained.
        piece_tokens: Tokens of one piece.
    """

    def __init__(self, encoder: Wav2Small, pooling: ChannelAttentionPooling, piece_tokens: int = PIECE_TOKENS) -> None:
        super().__init__()
        self.input_width = encoder.input_width
        self.width = encoder.width
        self.channels = encoder.channels
        self.piece_tokens = piece_tokens
        before, behind = list_units(encoder)
        # Tokens hear so many tokens on each side: one for each unit behind the maximum, one for the maximum, half a one for each before.
        self.halo_tokens = len(behind) + (len(before) + 2) // 2
        filled = fill_up(self.channels + 2)
        # The maximum over (2 t - 1, 2 t, 2 t + 1) makes outside(2 t) of an ending that comes one step late and a beginning one step early.
        self.before = nn.ModuleList(_close_unit(unit, filled, entry=unit is before[0], shift=unit is before[-1]) for unit in before)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.close = _make_closing(self.channels, filled)
        self.behind = nn.ModuleList(_close_unit(unit, filled) for unit in behind)
        value, score = fold_last(encoder, pooling.value), fold_last(encoder, pooling.score)
        bins = encoder.width // encoder.channels
        outside = torch.zeros(encoder.width, 2 * bins)
        outside[:, [0, bins]] = -_CLOSED
        # Scores hear what lies outside, values need not. A bias of the scores is the same at all times, which no softmax sees.
        maps = [torch.cat([score[0], outside], dim=1), torch.cat([value[0], torch.zeros_like(outside)], dim=1)]
        self.register_buffer("score_and_value", torch.cat(maps))  # (2 D, (C + 2) M)
        self.register_buffer("value_bias", value[1])  # (D,)

    score_and_value: Tensor
    value_bias: Tensor

    @property
    def example_frames(self) -> int:
        """F of an example that is cut into pieces: an exporter takes the one piece of a shorter one for a constant."""
        return 2 * self.piece_tokens + 1

    def forward(self, features: Features) -> Encoded:
        """Give the pooled embedding (B, D) of frames (B, F, M).

        Raises:
            ConfigError: If there are no frames, or a trace would fix the number of pieces.
            ShapeError: If they have another width.
        """
        if torch.jit.is_tracing():
            raise ConfigError(
                "A trace of Wav2Small would hold for clips of one length.",
                expected="an export that knows loops (torch.onnx with dynamo)",
                got="torch.jit.trace",
                remedy="export its plain form instead",
            )
        frames, _ = take_frames(features, self.input_width, "LeanWav2Small")
        pieces = self._cut(frames, features.lengths)
        empty = frames.new_zeros(frames.shape[0], self.width)
        state = (torch.full_like(empty, _LOWEST), empty, torch.zeros_like(empty))
        if torch.compiler.is_exporting() and pieces.shape[0] != 1:
            # an output for each piece is asked for, though none is wanted
            (_, total, weighted), _ = scan(lambda state, piece: (self._hear(state, piece), piece[0, 0, 0, 0].clone()), state, pieces)
        else:
            for piece in pieces:
                state = self._hear(state, piece)
            _, total, weighted = state
        return Encoded(frames=None, embedding=weighted / total + self.value_bias)

    def _cut(self, frames: Tensor, lengths: Tensor | None) -> Tensor:
        """Cut (B, F, M) into pieces (N, B, 3, M, W) of decibels, not begun, ended."""
        clips, size, bins = frames.shape
        step, halo = 2 * self.piece_tokens, 2 * self.halo_tokens
        count = (size + step - 1) // step
        frame = torch.arange(count, device=frames.device)[:, None] * step + torch.arange(step + 2 * halo, device=frames.device) - halo
        padded = nn.functional.pad(frames.transpose(1, 2), (halo, step + halo))  # (B, M, …)
        decibels = padded[:, :, (frame + halo).flatten()].unflatten(2, frame.shape).permute(2, 0, 1, 3)  # (N, B, M, W)
        ends = frames.new_full((clips,), size) if lengths is None else lengths
        begun, ended = (frame < 0)[:, None].expand(-1, clips, -1), frame[:, None] >= ends[:, None]  # (N, B, W)
        outside = [where.to(frames.dtype)[:, :, None].expand(-1, -1, bins, -1) for where in (begun, ended)]
        return torch.stack([decibels, *outside], dim=2)

    def _hear(self, state: State, piece: Tensor) -> State:
        """Add one piece (B, 3, M, W) to largest score, sum of weights and weighted sum of values, (B, D) each."""
        top, total, weighted = state
        maps = piece
        for convolution in self.before:
            maps = torch.relu(convolution(maps))
        maps = torch.relu(self.close(self.pool(maps)))
        for convolution in self.behind:
            maps = torch.relu(convolution(maps))
        kept = slice(self.halo_tokens, self.halo_tokens + self.piece_tokens)
        tokens = maps[:, : self.channels + 2, :, kept].flatten(1, 2)  # (B, (C + 2) M, F')
        score, value = (self.score_and_value @ tokens).split(self.width, dim=1)  # (B, D, F')
        highest = torch.maximum(top, score.amax(dim=2))
        weights = (score - highest[:, :, None]).exp()
        faded = (top - highest).exp()
        return highest, total * faded + weights.sum(dim=2), weighted * faded + (weights * value).sum(dim=2)


def _close_unit(unit: ConvolutionUnit, filled: int, entry: bool = False, shift: bool = False) -> nn.Conv2d:
    """Make one convolution of convolution and norm, which also closes its channels outside the clip and carries on where that is.

    Args:
        unit: Trained.
        filled: Channels of the maps, two of them telling what lies outside.
        entry: Whether it hears (decibels, not begun, ended) instead of maps.
        shift: Whether it hands on the beginning one step early and the ending one step late.
    """
    weight, bias = fold_norm(unit)
    weight = weight.transpose(2, 3)  # (C', C, M, F)
    width, heard = weight.shape[:2]
    closing = nn.Conv2d(3 if entry else filled, filled, 3, padding=1)
    with torch.no_grad():
        closing.weight.zero_()
        closing.bias.zero_()  # type: ignore[union-attr]
        closing.weight[:width, :heard] = weight
        closing.bias[:width] = bias  # type: ignore[index]
        closing.weight[:width, heard : heard + 2, 1, 1] = -_CLOSED
        closing.weight[width, heard, 1, 2 if shift else 1] = 1.0
        closing.weight[width + 1, heard + 1, 1, 0 if shift else 1] = 1.0
    return closing


def _make_closing(channels: int, filled: int) -> nn.Conv2d:
    """Make what closes maps outside the clip and else hands them on."""
    closing = nn.Conv2d(filled, filled, 1, bias=False)
    with torch.no_grad():
        closing.weight.copy_(torch.eye(filled)[:, :, None, None])
        closing.weight[:channels, channels : channels + 2] = -_CLOSED
    return closing
