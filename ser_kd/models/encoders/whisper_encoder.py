"""The encoder half of Whisper on log-mels, through transformers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder as LibraryWhisperEncoder

from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import clear_frames, lengths_to_mask
from ser_kd.models.block_map import choose_blocks, choose_hidden_layers
from ser_kd.models.encoders.library_config import check_same_shaping, make_library_config
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pretrained import PretrainedModule, Weights, fit_weights, read_folder_config, select_part

_SHAPING = (
    "d_model", "encoder_attention_heads", "encoder_ffn_dim", "num_mel_bins", "max_source_positions",
    "activation_function", "scale_embedding",
)  # fmt: skip
_PREFIXES = ("model.encoder.", "encoder.")
_HEAD_WIDTH = 64
_BEHIND_THE_END_DB = 80.0
"""Whisper keeps 8 decades below a clip's loudest bin; silence lies at that floor."""


class WhisperEncoder(PretrainedModule):
    """Whisper's encoder: log-mels in decibels every 10 ms -> two convolutions -> transformer blocks -> frames, 50 a second.

    Its front-end is ``log_mel_80_whisper``: decibels with a range of 80 dB below each clip's loudest bin, from which it makes Whisper's
    (log10(power) + 4) / 4. The last of the centred frames is dropped, as Whisper does.

    Whisper was trained on clips filled with silence to 30 s and attends to it. ``padding="paper"`` does the same (1,500 frames for
    each clip, which is slow); ``padding="masked"`` computes and attends to a clip's own frames only, with the same positions.

    Args:
        source: Folder with ``config.json`` and weights, whose sizes are then taken, or a name on the Hugging Face hub.
        weights: "pretrained" waits for ``load_weights``; "random" needs no source.
        layers: Transformer blocks; None as in ``settings`` or the folder. Fewer than the checkpoint has takes its lowest.
        width: Width of frames, with heads of 64 and an inner layer four times as wide; None as pretrained.
        settings: Further keys of the library's configuration (``d_model``, ``encoder_layers``, …).
        padding: "masked" or "paper".
        freeze: What does not learn: "none", "feature_encoder" (the convolutions) or "encoder" (everything).
        hidden_layers: Which hidden states are handed out: 0 is the input of the first block, k the output of block k; or "all".
        gradient_checkpointing: Compute activations anew in the backward pass: less memory, a third more time.
        input_width: Mel bins of the front-end.

    Raises:
        ConfigError: If sizes, mel bins or settings do not fit together.
        DataError: If the source is a folder without a model.

    Source: Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision".
    """

    def __init__(
        self,
        source: str = "openai/whisper-base",
        weights: Weights = "pretrained",
        layers: int | None = None,
        width: int | None = None,
        settings: Mapping[str, Any] | None = None,
        padding: Literal["masked", "paper"] = "masked",
        freeze: Literal["none", "feature_encoder", "encoder"] = "none",
        hidden_layers: Literal["all"] | Sequence[int] = (),
        gradient_checkpointing: bool = False,
        input_width: int = 80,
    ) -> None:
        super().__init__(source, weights)
        sizes: dict[str, Any] = {"encoder_layers": layers, "encoder_layerdrop": 0.0}
        if width is not None:
            sizes |= {"d_model": width, "encoder_attention_heads": max(1, width // _HEAD_WIDTH), "encoder_ffn_dim": 4 * width}
        config = make_library_config(WhisperConfig, settings, read_folder_config(source, weights), sizes, (*_SHAPING, "encoder_layers"))
        if input_width != config.num_mel_bins:
            raise ConfigError(
                "The front-end has another number of mel bins than this Whisper.",
                expected=f"{config.num_mel_bins} (frontend: log_mel_80_whisper, n_mels={config.num_mel_bins})",
                got=str(input_width),
                remedy="choose the front-end that belongs to it",
            )
        self.width: int = config.d_model
        self.padding = padding
        self.model: Any = LibraryWhisperEncoder(config)
        self.hidden_layers = choose_hidden_layers(hidden_layers, config.encoder_layers)
        if gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        frozen: dict[str, list[nn.Module]] = {"none": [], "feature_encoder": [self.model.conv1, self.model.conv2], "encoder": [self.model]}
        if freeze not in frozen:
            raise ConfigError("This cannot be frozen.", expected=", ".join(frozen), got=str(freeze), remedy="set freeze to one of them")
        for part in frozen[freeze]:
            part.requires_grad_(False)

    @property
    def layer_widths(self) -> dict[int, int]:
        """The hidden states there are: number -> D."""
        return dict.fromkeys(range(self.model.config.encoder_layers + 1), self.width)

    def take_checkpoint(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Check kind and sizes of a checkpoint, and take its encoder's weights.

        Raises:
            ConfigError: If they contradict the configuration.
            DataError: If a tensor is missing, left over or of another shape.
        """
        check_same_shaping(self.model.config, config, _SHAPING, self.source)
        theirs = type(self.model.config).from_dict(dict(config)).encoder_layers
        chosen = range(1, self.model.config.encoder_layers + 1)
        part = choose_blocks(select_part(weights, _PREFIXES), "layers.", chosen, theirs, self.source)
        fit_weights(self.model, part, self.source)

    def forward(self, features: Features) -> Encoded:
        """Give frames (B, F, D), their mask, and the chosen hidden states; all zero behind each clip's end.

        Raises:
            ConfigError: If there are no frames, or the pretrained weights were never loaded.
            ShapeError: If they have another width, or last longer than 30 s.
        """
        self.check_has_weights()
        decibels, mask = take_frames(features, self.model.config.num_mel_bins, "WhisperEncoder")
        longest = 2 * self.model.config.max_source_positions
        exporting = torch.compiler.is_exporting()  # an exported graph must hold for any length, so it does not look at it
        decibels = decibels[:, :-1] if exporting or decibels.shape[1] > 1 else decibels
        if not exporting and decibels.shape[1] > longest:
            raise ShapeError(
                "Whisper hears at most 30 s.",
                expected=f"at most {longest} log-mel frames",
                got=str(decibels.shape[1]),
                remedy="set datamodule.clip_samples=480000 (30 s at 16 kHz)",
            )
        lengths = None if mask is None else (mask.sum(dim=1) - 1).clamp(1, decibels.shape[1])
        if self.padding == "paper":
            decibels, lengths = _fill_with_silence(decibels, lengths, longest), None
        mask = None if lengths is None else lengths_to_mask(lengths, decibels.shape[1])
        mels = clear_frames((decibels / 10.0 + 4.0) / 4.0, mask).transpose(1, 2)  # (B, M, F)
        maps = nn.functional.gelu(self.model.conv1(mels))
        # the second convolution steps by 2 and must see silence behind the end, as it does beyond the border
        maps = maps if mask is None else maps * mask.unsqueeze(1).to(maps.dtype)
        frames = nn.functional.gelu(self.model.conv2(maps)).transpose(1, 2)
        mask = None if mask is None else mask[:, ::2]
        hidden = clear_frames(frames + self.model.embed_positions.weight[: frames.shape[1]], mask)
        hidden = nn.functional.dropout(hidden, self.model.dropout, self.training)
        states = {0: hidden}
        added = None if mask is None else torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(~mask, torch.finfo(hidden.dtype).min)
        for number, block in enumerate(self.model.layers, start=1):
            hidden = block(hidden, None if added is None else added[:, None, None])
            states[number] = hidden
        chosen = {number: clear_frames(states[number], mask) for number in self.hidden_layers}
        return Encoded(frames=clear_frames(self.model.layer_norm(hidden), mask), frame_mask=mask, hidden_states=chosen)


def _fill_with_silence(decibels: Tensor, lengths: Tensor | None, size: int) -> Tensor:
    """Lengthen clips to ``size`` frames with each clip's own floor."""
    if lengths is None:
        lengths = torch.full((decibels.shape[0],), decibels.shape[1], device=decibels.device)
    filled = nn.functional.pad(decibels, (0, 0, 0, size - decibels.shape[1]))
    mask = lengths_to_mask(lengths, size).unsqueeze(-1)  # (B, F, 1)
    loudest = filled.masked_fill(~mask, float("-inf")).amax(dim=(1, 2), keepdim=True)
    return torch.where(mask, filled, loudest - _BEHIND_THE_END_DB)
