"""A residual network over spectrograms, trained from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.block_map import LayerMap, check_same_layout, choose_blocks, choose_hidden_layers, choose_layer_map
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pretrained import fit_weights


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut, ReLU after their sum.

    Args:
        input_width: Channels that come in.
        width: Channels that go out.
        stride: Step of the first convolution, in time and frequency.
    """

    def __init__(self, input_width: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = _convolution(input_width, width, 3, stride)
        self.first_norm = MaskedBatchNorm(width)
        self.second = _convolution(width, width, 3)
        self.second_norm = MaskedBatchNorm(width)
        changes = stride != 1 or input_width != width
        self.shortcut = _convolution(input_width, width, 1, stride) if changes else None
        self.shortcut_norm = MaskedBatchNorm(width) if changes else None

    def forward(self, maps: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Give maps (B, C, F', M') and mask (B, F') for maps (B, C, F, M) that are zero behind each length, as are the answers."""
        direct = maps
        mask = _step(mask, self.stride)
        maps = _clear(torch.relu(self.first_norm(self.first(maps), mask)), mask)
        maps = self.second_norm(self.second(maps), mask)
        if self.shortcut is not None and self.shortcut_norm is not None:
            direct = self.shortcut_norm(self.shortcut(direct), mask)
        return _clear(torch.relu(maps + direct), mask), mask


class SpectrogramResnet(nn.Module):
    """A residual network on (time, frequency) as an image of one channel, averaged over frequency at its end.

    Each stage after the first halves time and frequency. Maps are set to zero behind each clip's end after every normalisation, so a
    convolution sees there what it sees beyond the border, and a clip's frames are the same alone and in any batch.
    Widths (64, 128, 256, 512) with blocks (2, 2, 2, 2) are ResNet-18 with a small stem; weights are He-normal.

    Its hidden states are those of its stages, averaged over frequency as the last frames are: 0 is the input of the first stage, k the
    output of stage k, each at its own frame rate (``hidden_masks``) and of its own width; the last is the frames.

    Args:
        input_width: Mel bins (or coefficients) per frame.
        widths: Channels of each stage; the last is the width of the frames.
        blocks: Residual blocks of each stage.
        stem_kernel: Odd size of the first convolution.
        stem_stride: Its step, in time and frequency.
        max_pool: Whether a 3x3 maximum of step 2 follows the stem.
        hidden_layers: Which hidden states are handed out, or "all".

    Raises:
        ConfigError: If ``widths`` and ``blocks`` differ in number, the stem's kernel is even, or there is no such hidden state.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition" (block and layout).
    """

    def __init__(
        self,
        input_width: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (2, 2, 2, 2),
        stem_kernel: int = 3,
        stem_stride: int = 1,
        max_pool: bool = False,
        hidden_layers: Literal["all"] | Sequence[int] = (),
    ) -> None:
        super().__init__()
        if len(widths) != len(blocks) or not widths or stem_kernel % 2 == 0:
            raise ConfigError(
                "SpectrogramResnet cannot be built in this layout.",
                expected="as many widths as blocks, and an odd stem_kernel",
                got=f"widths={list(widths)}, blocks={list(blocks)}, stem_kernel={stem_kernel}",
                remedy="ResNet-18 is widths=[64,128,256,512], blocks=[2,2,2,2], stem_kernel=3",
            )
        self.input_width = input_width
        self.width = widths[-1]
        self.widths = tuple(widths)
        self.blocks_of_stages = tuple(blocks)
        self.hidden_layers = choose_hidden_layers(hidden_layers, len(widths))
        self.stem_stride = stem_stride
        self.stem = _convolution(1, widths[0], stem_kernel, stem_stride)
        self.stem_norm = MaskedBatchNorm(widths[0])
        self.max_pool = nn.MaxPool2d(3, stride=2, padding=1) if max_pool else None
        self.blocks = nn.ModuleList()
        incoming = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for index in range(count):
                self.blocks.append(ResidualBlock(incoming, width, stride=2 if stage > 0 and index == 0 else 1))
                incoming = width
        # Not channels_last, though faster: torch 2.11's backward pass of narrow layers then frees memory twice on CPU.

    @property
    def layer_widths(self) -> dict[int, int]:
        """The hidden states there are: number -> D."""
        return dict(enumerate((self.widths[0], *self.widths)))

    def copy_blocks(self, other: object, layer_map: LayerMap) -> tuple[int, ...]:
        """Start from a deeper network of the same widths: its stem and some of its blocks, their batch statistics among them.

        Args:
            other: A ``SpectrogramResnet``.
            layer_map: Which of its blocks, counted from 1 through all stages, fill ours. ``even`` takes the first of each stage,
                which alone changes rate and width, and spreads the others.

        Returns:
            The map as it was used.

        Raises:
            ConfigError: If it is no such network, or the map does not fit.
            DataError: If a block that was named has another shape than ours.
        """
        if not isinstance(other, SpectrogramResnet) or other.widths != self.widths:
            raise ConfigError(
                "Only a network of the same kind and widths can give its blocks to this one.",
                expected=f"SpectrogramResnet of widths {list(self.widths)}",
                got=f"SpectrogramResnet of widths {list(other.widths)}" if isinstance(other, SpectrogramResnet) else type(other).__name__,
                remedy="choose a teacher with the student's kind of encoder and its widths, or student.init_from=random",
            )
        check_same_layout(*({"stem_stride": net.stem_stride, "max_pool": net.max_pool is not None} for net in (self, other)))
        chosen = self._spread(other) if layer_map == "even" else layer_map
        chosen = choose_layer_map(chosen, len(self.blocks), len(other.blocks), "teacher")
        part = choose_blocks(other.state_dict(), "blocks.", chosen, len(other.blocks), "the teacher")
        fit_weights(self, part, "the teacher")
        return chosen

    def _spread(self, other: SpectrogramResnet) -> list[int]:
        chosen, below = [], 0
        for ours, theirs in zip(self.blocks_of_stages, other.blocks_of_stages, strict=True):
            rest = choose_layer_map("even", ours - 1, theirs - 1, "teacher's stage without its first") if ours > 1 else ()
            chosen += [below + 1, *(below + 1 + number for number in rest)]
            below += theirs
        return chosen

    def forward(self, features: Features) -> Encoded:
        """Give frames (B, F', D) at the reduced rate, with their mask, and the chosen hidden states at theirs.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "SpectrogramResnet")
        maps = self.stem(frames.unsqueeze(1))  # (B, C, F, M)
        mask = _step(mask, self.stem_stride)
        maps = _clear(torch.relu(self.stem_norm(maps, mask)), mask)
        if self.max_pool is not None:
            # After ReLU nothing lies below the zeros behind the end, so they win no maximum.
            maps, mask = self.max_pool(maps), _step(mask, 2)
            maps = _clear(maps, mask)
        states, masks = {0: maps}, {0: mask}
        ends = {sum(self.blocks_of_stages[: stage + 1]): stage + 1 for stage in range(len(self.widths))}
        for number, block in enumerate(self.blocks, start=1):
            maps, mask = block(maps, mask)
            if number in ends:
                states[ends[number]], masks[ends[number]] = maps, mask
        return Encoded(
            frames=_average_bins(maps),
            frame_mask=mask,
            hidden_states={layer: _average_bins(states[layer]) for layer in self.hidden_layers},
            hidden_masks={layer: kept for layer in self.hidden_layers if (kept := masks[layer]) is not None},
        )


def _average_bins(maps: Tensor) -> Tensor:
    """Give frames (B, F, C) for maps (B, C, F, M)."""
    return maps.mean(dim=3).transpose(1, 2)


def _convolution(incoming: int, outgoing: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    convolution = nn.Conv2d(incoming, outgoing, kernel, stride=stride, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return convolution


def _step(mask: Tensor | None, stride: int) -> Tensor | None:
    """Take the mask to the rate behind a convolution: ceil(length / stride) positions stay valid."""
    return mask if mask is None else mask[:, ::stride]


def _clear(maps: Tensor, mask: Tensor | None) -> Tensor:
    return maps if mask is None else maps * mask[:, None, :, None].to(maps.dtype)
