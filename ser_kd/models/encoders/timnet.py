"""TIM-Net: dilated causal convolutions in both directions of time, fused over temporal scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.causal_stream import run_causal_stream
from ser_kd.functional.masking import flip_valid, masked_mean
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.valid_frames import take_frames


class CausalUnit(nn.Module):
    """Causal convolution, batch norm, ReLU and spatial dropout, which drops whole channels.

    Args:
        filters: Channels C.
        kernel_size: Taps of the convolution.
        dilation: Frames between taps.
        dropout: Probability of dropping a channel.
    """

    def __init__(self, filters: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.padding = (kernel_size - 1) * dilation
        self.convolution = _initialise(nn.Conv1d(filters, filters, kernel_size, dilation=dilation))
        self.norm = MaskedBatchNorm(filters, eps=1e-3, momentum=0.01)  # Keras' defaults: 0.99 old + 0.01 new
        self.dropout = nn.Dropout1d(dropout)

    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Give kernel, bias, gain and shift, as `run_causal_stream` takes them."""
        kernel, bias = self.convolution.weight, self.convolution.bias
        return kernel, kernel.new_zeros(len(kernel)) if bias is None else bias, self.norm.weight, self.norm.bias

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, C, F) for (B, C, F); a frame never hears a later one."""
        past = nn.functional.pad(frames, (self.padding, 0))
        return self.dropout(torch.relu(self.norm(self.convolution(past), mask)))


class TemporalAwareBlock(nn.Module):
    """Two causal units whose sigmoid is a gate on the block's input, so that no value grows in magnitude.

    Args:
        filters: Channels C.
        kernel_size: Taps of both convolutions.
        dilation: Frames between taps, the same in both.
        dropout: Probability of dropping a channel.
    """

    def __init__(self, filters: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = CausalUnit(filters, kernel_size, dilation, dropout)
        self.second = CausalUnit(filters, kernel_size, dilation, dropout)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, C, F) for (B, C, F)."""
        return frames * torch.sigmoid(self.second(self.first(frames, mask), mask))


class TemporalStream(nn.Module):
    """One direction of time: an entry convolution of one tap, then blocks of dilation 1, 2, 4, …

    Trained on a CPU in float32 or float64 it runs as matrix products with a gradient of its own (`run_causal_stream`): the same numbers
    up to rounding in less than two thirds of the time. Elsewhere, with ``matrix_products`` set to False, and where several processes
    share the statistics of a batch, it runs block by block.

    Args:
        input_width: M, coefficients per frame.
        filters: Channels C.
        blocks: Number of blocks.
        kernel_size: Taps of the blocks' convolutions.
        dropout: Probability of dropping a channel.
    """

    matrix_products = True

    def __init__(self, input_width: int, filters: int, blocks: int, kernel_size: int, dropout: float) -> None:
        super().__init__()
        self.entry = _initialise(nn.Conv1d(input_width, filters, 1))
        self.blocks = nn.ModuleList(TemporalAwareBlock(filters, kernel_size, 2**index, dropout) for index in range(blocks))

    def forward(self, frames: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Give each block's output averaged over valid frames, (B, C) each, for frames (B, F, M)."""
        if self._suits_matrix_products(frames):
            return self._run_as_matrix_products(frames, mask)
        maps = self.entry(frames.transpose(1, 2))  # (B, C, F)
        means = []
        for block in self.blocks:
            maps = block(maps, mask)
            means.append(masked_mean(maps.transpose(1, 2), mask))
        return means

    def _suits_matrix_products(self, frames: Tensor) -> bool:
        return (
            self.matrix_products
            and all(module.training and getattr(module, "pool", None) is None for module in self.modules())
            and frames.device.type == "cpu"
            and frames.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
        )

    def _run_as_matrix_products(self, frames: Tensor, mask: Tensor | None) -> list[Tensor]:
        clips, size, width = frames.shape
        rows = frames.permute(2, 1, 0).reshape(width, size * clips)  # (M, F B)
        maps = self.entry(rows[None]).view(-1, size, clips)  # (C, F, B)
        units = [module for module in self.modules() if isinstance(module, CausalUnit)]
        one = frames.new_ones(clips, maps.shape[0], 1)
        kept = torch.stack([unit.dropout(one).squeeze(2).t() for unit in units])  # drawn as the plain form draws
        parameters = [part for unit in units for part in unit.parts()]
        dilations = [unit.convolution.dilation[0] for unit in units[::2]]
        valid = None if mask is None else mask.t().to(frames.dtype)
        averages, means, variances = run_causal_stream(maps, parameters, dilations, units[0].norm.eps, kept, valid)
        count = frames.new_tensor(size * clips) if valid is None else valid.sum()
        for unit, mean, variance in zip(units, means, variances, strict=True):
            unit.norm.update_running_statistics(mean, variance, count)
        return [average.t() for average in averages]


class TimNet(nn.Module):
    r"""TIM-Net, the temporal-aware bi-directional multi-scale network.

    With :math:`f_j` and :math:`b_j` the outputs of block j on the sequence and on its time reversal, the embedding is
    :math:`z = \sum_j w_j \frac{1}{F} \sum_t (f_j + b_j)_t` with one learned weight per block; it is also what relational
    distillation compares. Receptive field: 1 + 2 (k - 1) (2^n - 1) frames, 511 for n = 8 blocks and k = 2 taps.

    Built from the published description; initialised and normalised as Keras does, in which TIM-Net was published (Glorot-uniform
    kernels, zero biases, fusion weights uniform in ±0.05, batch-norm epsilon 1e-3 and momentum 0.99). Unlike there, padding is
    honest: only valid frames are reversed, averaged and counted in the batch statistics, so a clip's embedding is the same alone and
    in any batch.

    Args:
        input_width: Coefficients per frame.
        filters: Channels, the width of the embedding: 39 published, 60 in the 245,235-parameter student.
        blocks: Blocks per direction: 8 published, 10 for IEMOCAP.
        kernel_size: Taps of the causal convolutions.
        dropout: Probability of dropping a channel.

    Raises:
        ConfigError: If a size is not positive.

    Source: Ye et al. 2023, "Temporal Modeling Matters: A Novel Temporal Emotional Modeling Approach for Speech Emotion Recognition".
    """

    def __init__(self, input_width: int, filters: int = 39, blocks: int = 8, kernel_size: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        if min(input_width, filters, blocks, kernel_size) < 1:
            raise ConfigError(
                "TimNet cannot be built in this size.",
                expected="positive input_width, filters, blocks and kernel_size",
                got=f"{input_width}, {filters}, {blocks}, {kernel_size}",
                remedy="the published size is filters=39, blocks=8, kernel_size=2",
            )
        self.input_width = input_width
        self.width = filters
        self.forward_stream = TemporalStream(input_width, filters, blocks, kernel_size, dropout)
        self.backward_stream = TemporalStream(input_width, filters, blocks, kernel_size, dropout)
        self.fusion = nn.Parameter(torch.empty(blocks).uniform_(-0.05, 0.05))

    def forward(self, features: Features) -> Encoded:
        """Give the embedding (B, C) of frames (B, F, M).

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "TimNet")
        reversed_frames = flip_valid(frames, None if mask is None else features.lengths)
        means = [
            ahead + behind
            for ahead, behind in zip(self.forward_stream(frames, mask), self.backward_stream(reversed_frames, mask), strict=True)
        ]
        return Encoded(frames=None, embedding=torch.stack(means, dim=-1) @ self.fusion)


def _initialise(convolution: nn.Conv1d) -> nn.Conv1d:
    nn.init.xavier_uniform_(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution
