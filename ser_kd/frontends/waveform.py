"""The raw waveform as features, for encoders that listen to samples."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.shapes import check_rank
from ser_kd.frontends.full_precision import full_precision
from ser_kd.functional.masking import lengths_to_mask

VARIANCE_FLOOR = 1e-7
"""Added to a clip's variance, as wav2vec 2.0 and Wav2Small do."""


def clear_padding(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Put zeros behind each clip's end.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where all are.

    Returns:
        (B, T).
    """
    if lengths is None:
        return waveforms
    # where, not a product: a NaN behind the end must not reach a frame
    return torch.where(lengths_to_mask(lengths, waveforms.shape[1]), waveforms, torch.zeros_like(waveforms))


def normalize_waveforms(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Bring each clip to mean 0 and variance 1 over its own valid samples: (x - mean) / sqrt(var + 1e-7), population variance.

    Args:
        waveforms: (B, T).
        lengths: (B,) int64 valid samples, or None where all are.

    Returns:
        (B, T), zero behind each length.
    """
    waveforms = clear_padding(waveforms, lengths)
    if lengths is None:
        samples = torch.full((1, 1), waveforms.shape[1], dtype=waveforms.dtype, device=waveforms.device)
    else:
        samples = lengths.clamp_min(1).to(waveforms.dtype)[:, None]
    centred = clear_padding(waveforms - waveforms.sum(dim=1, keepdim=True) / samples, lengths)
    variance = centred.square().sum(dim=1, keepdim=True) / samples
    return centred * torch.rsqrt(variance + VARIANCE_FLOOR)


class Waveform(nn.Module):
    """Hands on the samples as (B, T, 1) frames.

    Args:
        normalize: Whether each clip is brought to mean 0 and variance 1 over its valid samples, as
            wav2vec 2.0-style models were trained.
    """

    width = 1

    def __init__(self, normalize: bool = False) -> None:
        super().__init__()
        self.normalize = normalize

    def forward(self, inputs: ModelInput) -> Features:
        check_rank(inputs.waveforms, 2, "waveforms", "(batch, samples)")
        with full_precision(inputs.waveforms):
            prepare = normalize_waveforms if self.normalize else clear_padding
            waveforms = prepare(inputs.waveforms.float(), inputs.lengths)
        return Features(waveforms.unsqueeze(-1), inputs.lengths, inputs.texts, inputs.keys)
