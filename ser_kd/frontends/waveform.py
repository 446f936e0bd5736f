"""The raw waveform as features, for encoders that listen to samples."""

from __future__ import annotations

from torch import nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.outputs import Features
from ser_kd.contracts.shapes import check_rank
from ser_kd.frontends.full_precision import full_precision
from ser_kd.functional.levels import normalize_waveforms
from ser_kd.functional.masking import clear_padding


class Waveform(nn.Module):
    """Hands on the samples as (B, T, 1) frames, and what else came with them.

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
        return Features(waveforms.unsqueeze(-1), inputs.lengths, inputs.texts, inputs.keys, inputs.features)
