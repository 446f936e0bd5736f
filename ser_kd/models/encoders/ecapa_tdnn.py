"""ECAPA-TDNN: dilated convolutions with channel attention, gathered from all depths, and attentive statistics over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import clear_frames, masked_mean
from ser_kd.models.block_map import choose_hidden_layers
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.reflected_ends import reflect_ends
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pooling import weighted_moments

VARIANCE_FLOOR = 1e-12
"""No smaller variance is told by the pooling."""


class TimeDelayLayer(nn.Module):
    """Convolution over time, ReLU, then batch norm over valid frames: in this order, unlike most networks.

    Args:
        input_width: Channels that come in.
        width: Channels that go out.
        kernel_size: Odd number of taps.
        dilation: Frames between taps.
    """

    def __init__(self, input_width: int, width: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.span = (kernel_size - 1) // 2 * dilation
        self.convolution = nn.Conv1d(input_width, width, kernel_size, dilation=dilation)
        self.norm = MaskedBatchNorm(width)

    def forward(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, C', F) for (B, C, F)."""
        return self.norm(torch.relu(self.convolution(reflect_ends(maps, mask, self.span))), mask)


class Res2NetLayer(nn.Module):
    """Channels in groups, each of which hears the answer of the one before, so that one layer sees several spans of time.

    The first group passes as it is; group i > 1 is a time-delay layer of its own channels plus the answer of group i - 1.

    Args:
        width: Channels C.
        scale: Groups; they divide C.
        kernel_size: Odd number of taps.
        dilation: Frames between taps.
    """

    def __init__(self, width: int, scale: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.scale = scale
        group = width // scale
        self.layers = nn.ModuleList(TimeDelayLayer(group, group, kernel_size, dilation) for _ in range(scale - 1))

    def forward(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, C, F) for (B, C, F)."""
        first, *groups = maps.chunk(self.scale, dim=1)
        answers = [first]
        for number, (group, layer) in enumerate(zip(groups, self.layers, strict=True)):
            answers.append(layer(group if number == 0 else group + answers[-1], mask))
        return torch.cat(answers, dim=1)


class SqueezeExcitation(nn.Module):
    """A gate from 0 to 1 on each channel, from the means of all channels over a clip's valid frames.

    Args:
        width: Channels C.
        bottleneck_width: Units between the two linear layers.
    """

    def __init__(self, width: int, bottleneck_width: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, bottleneck_width)
        self.excite = nn.Linear(bottleneck_width, width)

    def forward(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, C, F) for (B, C, F)."""
        means = masked_mean(maps.transpose(1, 2), mask)  # (B, C)
        return maps * torch.sigmoid(self.excite(torch.relu(self.squeeze(means)))).unsqueeze(2)


class SqueezeRes2NetBlock(nn.Module):
    """A time-delay layer of one tap, a Res2Net layer, another layer of one tap and a gate by channel, beside a shortcut.

    Args:
        width: Channels C.
        scale: Groups of the Res2Net layer.
        kernel_size: Its taps.
        dilation: Frames between them.
        bottleneck_width: Units within the gate.
    """

    def __init__(self, width: int, scale: int, kernel_size: int, dilation: int, bottleneck_width: int) -> None:
        super().__init__()
        self.first = TimeDelayLayer(width, width)
        self.middle = Res2NetLayer(width, scale, kernel_size, dilation)
        self.last = TimeDelayLayer(width, width)
        self.gate = SqueezeExcitation(width, bottleneck_width)

    def forward(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, C, F) for (B, C, F)."""
        inner = self.last(self.middle(self.first(maps, mask), mask), mask)
        return self.gate(inner, mask) + maps


class ContextualStatistics(nn.Module):
    r"""Mean and deviation of each channel under attention that knows the whole clip.

    Scores are :math:`V \tanh(\mathrm{BN}(\mathrm{ReLU}(W [h_t, \mu, \sigma] + b))) + k` with mean :math:`\mu` and deviation
    :math:`\sigma` over the clip's valid frames, a softmax over valid frames for each channel. W is kept in two parts, of the frame and of
    the clip, so that what a clip's frames share is computed once; numbers and their count are those of one matrix.

    Args:
        width: Channels C.
        attention_width: Rows of W.
    """

    def __init__(self, width: int, attention_width: int) -> None:
        super().__init__()
        self.frame = nn.Linear(width, attention_width)
        self.context = nn.Linear(2 * width, attention_width, bias=False)
        bound = (3 * width) ** -0.5  # torch's own for the whole matrix
        for parameter in (self.frame.weight, self.frame.bias, self.context.weight):
            nn.init.uniform_(parameter, -bound, bound)
        self.norm = MaskedBatchNorm(attention_width)
        self.score = nn.Linear(attention_width, width)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Give (B, 2 C) for frames (B, F, C) that are zero behind each length."""
        frames = frames.to(torch.promote_types(frames.dtype, torch.float32))  # in half precision a variance would be rounding
        valid = frames.new_ones(frames.shape[:2]) if mask is None else mask.to(frames.dtype)
        share = (valid / valid.sum(dim=1, keepdim=True).clamp_min(1.0)).unsqueeze(2)  # (B, F, 1)
        clip = torch.cat(weighted_moments(frames, share, VARIANCE_FLOOR), dim=1)
        heard = torch.relu(self.frame(frames) + self.context(clip).unsqueeze(1))  # (B, F, A)
        scores = self.score(torch.tanh(self.norm(heard.transpose(1, 2), mask)).transpose(1, 2))  # (B, F, C)
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(2), torch.finfo(scores.dtype).min)
        return torch.cat(weighted_moments(frames, scores.softmax(dim=1), VARIANCE_FLOOR), dim=1)


class EcapaTdnn(nn.Module):
    """ECAPA-TDNN, made for speakers, which aggregates frames of any front-end or upstream into one embedding per clip.

    A time-delay layer of 5 taps; squeeze-and-excitation Res2Net blocks of 3 taps with dilations 2, 3, 4; the answers of all blocks side by
    side through a layer of one tap; attentive statistics with global context, batch norm, and one linear layer to the embedding. With
    512 channels it has 6,194,048 parameters on 80 mel bins and 8,610,688 on frames of 1024, as in SpeechBrain, whose layout this is: the
    blocks hear only the block before, not the sum of all, and normalisation follows the ReLU.

    There convolutions mirror the end of the padded batch, so a clip's embedding depends on its neighbours' lengths. Here each clip is
    mirrored at its own last frame (``reflect_ends``), and means, attention and batch statistics know valid frames only: a clip gives
    the same alone and in any batch, which for a clip alone is what SpeechBrain gives. In training, the last batch norm, whose statistics
    run over clips, hears a clip that is alone in its batch by the running statistics.

    Hidden states: 0 is what the first block hears, k the answer of block k; ``frames`` are the blocks' answers aggregated, 3 times as wide.

    Args:
        input_width: Coefficients per frame.
        channels: C of the blocks; 512 or 1024 published.
        embedding_width: D of the embedding: 192; 96 in SpeechBrain's recipe for IEMOCAP.
        attention_width: Units of the attention: 128; 64 there.
        bottleneck_width: Units within each squeeze-and-excitation gate.
        scale: Groups of each Res2Net layer.
        dilations: One for each block.
        hidden_layers: Which hidden states are handed out, or "all".

    Raises:
        ConfigError: If a size is not positive, there is no block, the groups do not divide the channels, or there is no such hidden state.

    Source: Desplanques, Thienpondt and Demuynck 2020, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based
    Speaker Verification"; sizes and order of SpeechBrain (Ravanelli et al. 2021).
    """

    def __init__(
        self,
        input_width: int,
        channels: int = 512,
        embedding_width: int = 192,
        attention_width: int = 128,
        bottleneck_width: int = 128,
        scale: int = 8,
        dilations: Sequence[int] = (2, 3, 4),
        hidden_layers: Literal["all"] | Sequence[int] = (),
    ) -> None:
        super().__init__()
        sizes = (input_width, channels, embedding_width, attention_width, bottleneck_width, *dilations)
        if min(sizes) < 1 or not dilations or scale < 2 or channels % scale:
            raise ConfigError(
                "EcapaTdnn cannot be built in this layout.",
                expected="positive sizes, at least one dilation, and a scale of 2 or more that divides the channels",
                got=f"channels={channels}, scale={scale}, embedding_width={embedding_width}, attention_width={attention_width}, "
                f"bottleneck_width={bottleneck_width}, dilations={list(dilations)}, frames of width {input_width}",
                remedy="the published layout is channels=512, scale=8, dilations=[2,3,4]",
            )
        self.input_width = input_width
        self.width = embedding_width
        self.channels = channels
        self.hidden_layers = choose_hidden_layers(hidden_layers, len(dilations))
        aggregated = channels * len(dilations)
        self.entry = TimeDelayLayer(input_width, channels, kernel_size=5)
        self.blocks = nn.ModuleList(SqueezeRes2NetBlock(channels, scale, 3, dilation, bottleneck_width) for dilation in dilations)
        self.aggregation = TimeDelayLayer(aggregated, aggregated)
        self.statistics = ContextualStatistics(aggregated, attention_width)
        self.norm = MaskedBatchNorm(2 * aggregated)
        self.embedding = nn.Linear(2 * aggregated, embedding_width)

    @property
    def layer_widths(self) -> dict[int, int]:
        """The hidden states there are: number -> D."""
        return dict.fromkeys(range(len(self.blocks) + 1), self.channels)

    def forward(self, features: Features) -> Encoded:
        """Give the embedding (B, D), the aggregated frames (B, F, 3 C), their mask, and the chosen hidden states.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "EcapaTdnn")
        maps = self.entry(frames.transpose(1, 2), mask)  # (B, C, F)
        answers = [maps]
        for block in self.blocks:
            answers.append(block(answers[-1], mask))
        aggregated = clear_frames(self.aggregation(torch.cat(answers[1:], dim=1), mask).transpose(1, 2), mask)
        chosen = {number: clear_frames(answers[number].transpose(1, 2), mask) for number in self.hidden_layers}
        embedding = self.embedding(self._normalise(self.statistics(aggregated, mask)))
        return Encoded(frames=aggregated, frame_mask=mask, embedding=embedding, hidden_states=chosen)

    def _normalise(self, statistics: Tensor) -> Tensor:
        """Normalise (B, 6 C) over the clips of the batch."""
        norm = self.norm
        if self.training and norm.training and norm.pool is None and len(statistics) == 1:  # one value has no variance
            return nn.functional.batch_norm(statistics, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        return norm(statistics.unsqueeze(2)).squeeze(2)
