"""What every encoder asks of its input: frames of the right width, and which of them are valid."""

from __future__ import annotations

import torch
from torch import Tensor

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.shapes import check_rank
from ser_kd.functional.masking import lengths_to_mask


def take_frames(features: Features, width: int, encoder: str) -> tuple[Tensor, Tensor | None]:
    """Give frames with zeros behind each length, and the mask of valid ones.

    Args:
        features: From the front-end.
        width: D that the encoder was built for.
        encoder: Its name, for messages.

    Returns:
        (B, F, D) and (B, F) bool; the mask is None where every frame is valid.

    Raises:
        ConfigError: If there are no frames.
        ShapeError: If they have another rank or width.
    """
    frames = features.frames
    if frames is None:
        raise ConfigError(
            f"{encoder} needs feature frames.",
            expected=f"a front-end of width {width}",
            got="text alone",
            remedy="choose a front-end (frontend=…) that yields frames",
        )
    check_rank(frames, 3, "frames", "(batch, frames, width)")
    if frames.shape[2] != width:
        raise ShapeError(
            f"{encoder} was built for frames of another width.",
            expected=f"(batch, frames, {width})",
            got=f"{tuple(frames.shape)}",
            remedy="give the encoder the front-end's width as input_width",
        )
    mask = valid_mask(features.lengths, frames.shape[1])
    if mask is not None:
        frames = torch.where(mask.unsqueeze(-1), frames, torch.zeros_like(frames))
    return frames, mask


def valid_mask(lengths: Tensor | None, size: int) -> Tensor | None:
    """Mark valid frames, or give None where every frame is valid, which is the faster way through a model.

    Args:
        lengths: (B,) int64, or None.
        size: F, frames per row.

    Returns:
        (B, F) bool, or None.
    """
    # An exported graph must hold for any lengths, so it does not look at them.
    if lengths is None or (not torch.compiler.is_exporting() and bool((lengths >= size).all())):
        return None
    return lengths_to_mask(lengths, size)
