"""MobileNets of timm over a spectrogram as an image of one channel, with honest padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.layers.masked_batch_norm import MaskedBatchNorm
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pretrained import PretrainedModule, Weights, fit_weights

ARCHITECTURES = (
    "mobilenetv4_conv_small",
    "mobilenetv4_conv_small_050",
    "mobilenetv4_conv_small_035",
    "mobilenetv4_conv_medium",
    "mobilenetv4_conv_large",
    "mobilenetv3_small_100",
    "mobilenetv3_small_075",
    "mobilenetv3_small_050",
    "mobilenetv3_large_100",
    "mobilenetv3_large_075",
)
"""timm's names of the networks made of what is masked here: convolutions each followed by a norm, and squeeze-and-excitation."""

_PROBE_FRAMES = 128
_HEAD = ("conv_head.", "norm_head.", "classifier.")


class _ClipMasks:
    """The mask of the batch that is being heard, for layers whose ``forward`` timm wrote and that are given none."""

    def __init__(self) -> None:
        self.mask: Tensor | None = None

    def at(self, step: int) -> Tensor | None:
        """Give the mask (B, ceil(F / step)) behind convolutions that together step by ``step``."""
        return None if self.mask is None else self.mask[:, ::step]


class _MaskedNormActivation(MaskedBatchNorm):
    """timm's batch norm with its activation, over valid frames, zero behind each clip's end; parameters bear the same names."""

    def __init__(self, replaced: Any, masks: _ClipMasks, step: int) -> None:
        super().__init__(replaced.num_features, replaced.eps, replaced.momentum)
        self.activation, self.masks, self.step = replaced.act, masks, step

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        mask = self.masks.at(self.step)
        maps = self.activation(super().forward(input, mask))
        return maps if mask is None else maps * mask[:, None, :, None].to(maps.dtype)


class _MaskedSqueezeExcite(nn.Module):
    """timm's squeeze-and-excitation whose mean runs over valid frames; parameters bear the same names."""

    def __init__(self, replaced: Any, masks: _ClipMasks, step: int) -> None:
        super().__init__()
        self.conv_reduce, self.act1, self.conv_expand, self.gate = replaced.conv_reduce, replaced.act1, replaced.conv_expand, replaced.gate
        self.masks, self.step = masks, step

    def forward(self, maps: Tensor) -> Tensor:
        mask = self.masks.at(self.step)
        squeezed = maps.mean(dim=(2, 3), keepdim=True)
        if mask is not None:  # maps are zero behind the end, so only the divisor is another
            squeezed = squeezed * (mask.shape[1] / mask.sum(dim=1).clamp_min(1))[:, None, None, None].to(maps.dtype)
        return maps * self.gate(self.conv_expand(self.act1(self.conv_reduce(squeezed))))


class MobileNet(PretrainedModule):
    """A MobileNetV3 or V4 of timm up to its last block, over (time, frequency), averaged over frequency at its end.

    Time and frequency fall by 32, so that 500 frames a second become 16 tokens. timm's own network counts what stands behind a clip's
    end; here every normalisation, squeeze and map knows it, so a clip's tokens are the same alone and in any batch. Weights of
    ImageNet fit: the three colours' kernels of the stem are added up, its head is left out.

    Args:
        input_width: Mel bins per frame.
        architecture: timm's name, one of ``ARCHITECTURES``.
        source: Folder with timm's ``config.json`` and ``model.safetensors``, or a name on the hub; None is "timm/" and the architecture.
        weights: "random", or "pretrained" on images.

    Raises:
        ConfigError: If the architecture is unknown, or the weights are another's.

    Source: Howard et al. 2019, "Searching for MobileNetV3"; Qin et al. 2024, "MobileNetV4: Universal Models for the Mobile Ecosystem".
    """

    def __init__(
        self, input_width: int, architecture: str = "mobilenetv4_conv_small", source: str | None = None, weights: Weights = "random"
    ) -> None:
        super().__init__(source or f"timm/{architecture}", weights)
        if architecture not in ARCHITECTURES:
            raise ConfigError(
                "There is no such MobileNet here.",
                expected=f"one of {', '.join(ARCHITECTURES)}",
                got=architecture,
                remedy="choose one of these",
            )
        from timm import create_model  # late: it takes four seconds

        whole: Any = create_model(architecture, pretrained=False, in_chans=1, num_classes=0)
        self.architecture = architecture
        self.input_width = input_width
        self.width: int = whole.num_features
        self.trunk = nn.Sequential()
        for name in ("conv_stem", "bn1", "blocks"):
            self.trunk.add_module(name, getattr(whole, name))
        self.masks = _ClipMasks()
        _mask_layers(self.trunk, self.masks)

    def take_checkpoint(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Check that a checkpoint of timm is of this network, and take its weights without the head.

        Raises:
            ConfigError: If it is another network's.
            DataError: If a tensor is missing, left over or of another shape.
        """
        if config.get("architecture") != self.architecture:
            raise ConfigError(
                f"The weights '{self.source}' are those of another network.",
                expected=f"architecture {self.architecture} in its config.json",
                got=str(config.get("architecture")),
                remedy="set the encoder's architecture or source",
            )
        part = {name: value for name, value in weights.items() if not name.startswith(_HEAD)}
        stem = part.get("conv_stem.weight")
        if stem is None or stem.ndim != 4:
            raise DataError(
                f"The weights '{self.source}' have no stem.",
                expected="conv_stem.weight (channels, colours, 3, 3)",
                got="none" if stem is None else str(tuple(stem.shape)),
                remedy="take a checkpoint that timm wrote",
            )
        fit_weights(self.trunk, part | {"conv_stem.weight": stem.sum(dim=1, keepdim=True)}, self.source)

    def forward(self, features: Features) -> Encoded:
        """Give tokens (B, ceil(F / 32), D) and their mask.

        Raises:
            ConfigError: If there are no frames, or the pretrained weights were never loaded.
            ShapeError: If they have another width.
        """
        self.check_has_weights()
        frames, mask = take_frames(features, self.input_width, "MobileNet")
        self.masks.mask = mask
        try:
            maps = self.trunk(frames.unsqueeze(1))  # (B, D, F', M')
        finally:
            self.masks.mask = None
        return Encoded(frames=maps.mean(dim=3).transpose(1, 2), frame_mask=None if mask is None else mask[:, ::32])


def _mask_layers(trunk: nn.Sequential, masks: _ClipMasks) -> None:
    """Put layers that know the clips' ends in the place of timm's, by the rate at which each hears."""
    from timm.layers import BatchNormAct2d
    from timm.models._efficientnet_blocks import SqueezeExcite

    kinds: dict[type, type[nn.Module]] = {BatchNormAct2d: _MaskedNormActivation, SqueezeExcite: _MaskedSqueezeExcite}
    steps: dict[str, int] = {}

    def note(name: str) -> Any:
        return lambda module, given: steps.__setitem__(name, _PROBE_FRAMES // given[0].shape[2])

    chosen = {name: module for name, module in trunk.named_modules() if type(module) in kinds}
    hooks = [module.register_forward_pre_hook(note(name)) for name, module in chosen.items()]
    with torch.no_grad():
        trunk.eval()(torch.zeros(1, 1, _PROBE_FRAMES, 32))
    trunk.train()
    for hook in hooks:
        hook.remove()
    for name, module in chosen.items():
        trunk.set_submodule(name, kinds[type(module)](module, masks, steps[name]))
