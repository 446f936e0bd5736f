"""Wav2Small: seven narrow convolutions over a log-mel spectrogram that keep a token every 4 ms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.encoders.spectrogram_transformer import SpectrogramTransformer
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.valid_frames import take_frames


class ConvolutionUnit(nn.Module):
    """3x3 convolution without bias, batch norm, ReLU.

    Args:
        input_width: Channels that come in.
        width: Channels that go out.
    """

    def __init__(self, input_width: int, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(input_width, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")
        self.norm = MaskedBatchNorm(width)

    def forward(self, maps: Tensor, mask: Tensor | None) -> Tensor:
        """Give maps (B, C, F, M) for maps that are zero behind each length, as are the answers."""
        return _clear(torch.relu(self.norm(self.convolution(maps), mask)), mask)


class Wav2Small(nn.Module):
    """Three units over (time, mel), a 3x3 maximum of step 2, four more units, a 1x1 convolution; each time step is a token.

    A token stacks what all channels say about all mel bins that are left: 13 x 13 = 169 values from 26 bins, channels outside. With
    500 frames a second there are 250 tokens. Maps are set to zero behind each clip's end after every normalisation, so a clip's
    tokens are the same alone and in any batch. With ``ChannelAttentionPooling`` and three outputs 67,577 parameters learn; the frozen
    kernels of the front-end (66 of 64 samples) make 71,801 of it, the published 72 K.

    Args:
        input_width: Mel bins per frame.
        channels: C of all maps.
        units_before: Units before the maximum.
        units_behind: Units behind it.
        last_convolution: Whether the 1x1 convolution follows; the later 17 K variant has none.

    Raises:
        ConfigError: If a size is not positive.

    Source: Kounadis-Bastian et al. 2024, "Wav2Small: Distilling Wav2Vec2 to 72K parameters for Low-Resource Speech emotion recognition".
        The paper leaves the pooling to its listing; sizes and names of the later release decide it here.
    """

    def __init__(
        self, input_width: int, channels: int = 13, units_before: int = 3, units_behind: int = 4, last_convolution: bool = True
    ) -> None:
        super().__init__()
        if min(input_width, channels, units_before, units_behind) < 1:
            raise ConfigError(
                "Wav2Small cannot be built in this size.",
                expected="positive input_width, channels, units_before and units_behind",
                got=f"{input_width}, {channels}, {units_before}, {units_behind}",
                remedy="the published size is input_width=26, channels=13, units_before=3, units_behind=4",
            )
        self.input_width = input_width
        self.channels = channels
        self.width = channels * ((input_width + 1) // 2)
        self.before = nn.ModuleList(ConvolutionUnit(channels if number else 1, channels) for number in range(units_before))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.behind = nn.ModuleList(ConvolutionUnit(channels, channels) for _ in range(units_behind))
        self.last = nn.Conv2d(channels, channels, 1) if last_convolution else None

    def forward(self, features: Features) -> Encoded:
        """Give tokens (B, ceil(F / 2), D) and their mask.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, mask = take_frames(features, self.input_width, "Wav2Small")
        maps = frames.unsqueeze(1)  # (B, 1, F, M)
        for unit in self.before:
            maps = unit(maps, mask)
        mask = None if mask is None else mask[:, ::2]
        maps = _clear(self.pool(maps), mask)  # after ReLU nothing lies below the zeros behind the end, so they win no maximum
        for unit in self.behind:
            maps = unit(maps, mask)
        if self.last is not None:
            maps = _clear(self.last(maps), mask)
        # time goes before the channels, else a token would mix time steps
        return Encoded(frames=maps.transpose(1, 2).flatten(2), frame_mask=mask)


class Wav2SmallTransformer(nn.Module):
    """Wav2Small's tokens as the front-end of a small transformer, which its authors name as future work.

    Args:
        input_width: Mel bins per frame.
        channels: C of Wav2Small's maps.
        width: D of the transformer.
        layers: Its blocks.
        heads: Its attention heads.
        patch_tokens: Tokens that it takes as one: attention over each of 250 tokens a second would cost more than all else.
        dropout: In blocks and on their input.

    Raises:
        ConfigError: If the sizes do not fit together.
    """

    def __init__(
        self,
        input_width: int,
        channels: int = 13,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        patch_tokens: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.tokens = Wav2Small(input_width, channels)
        self.transformer = SpectrogramTransformer(self.tokens.width, width, layers, heads, patch_frames=patch_tokens, dropout=dropout)
        self.input_width = input_width
        self.width = width

    def forward(self, features: Features) -> Encoded:
        """Give frames (B, F', D) with F' = ceil(ceil(F / 2) / patch_tokens), and their mask.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        frames, _ = take_frames(features, self.input_width, "Wav2SmallTransformer")
        tokens = self.tokens(Features(frames, features.lengths))
        lengths = None if tokens.frame_mask is None else tokens.frame_mask.sum(dim=1)
        return self.transformer(Features(tokens.frames, lengths))


def _clear(maps: Tensor, mask: Tensor | None) -> Tensor:
    return maps if mask is None else maps * mask[:, None, :, None].to(maps.dtype)
