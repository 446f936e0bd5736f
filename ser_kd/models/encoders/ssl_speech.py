"""Self-supervised speech models of transformers on the waveform: wav2vec 2.0, HuBERT, WavLM and data2vec-audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.levels import normalize_waveforms
from ser_kd.functional.masking import clear_frames, lengths_to_mask
from ser_kd.models.block_map import LayerMap, choose_blocks, choose_hidden_layers, choose_layer_map
from ser_kd.models.encoders.library_config import check_same_shaping, make_library_config
from ser_kd.models.layers.masked_group_norm import MaskedGroupNorm
from ser_kd.models.layers.time_spans import draw_time_spans
from ser_kd.models.layers.valid_frames import take_frames
from ser_kd.models.pretrained import PretrainedModule, Weights, fit_weights, read_folder_config, select_part

Architecture = Literal["wav2vec2", "hubert", "wavlm", "data2vec-audio"]

_LIBRARY: Mapping[str, tuple[type[PreTrainedConfig], type[PreTrainedModel], str]] = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model, "wav2vec2."),
    "hubert": (HubertConfig, HubertModel, "hubert."),
    "wavlm": (WavLMConfig, WavLMModel, "wavlm."),
    "data2vec-audio": (Data2VecAudioConfig, Data2VecAudioModel, "data2vec_audio."),
}
"""Architecture -> configuration, network, and what its names begin with in a checkpoint that has a head too."""

SHAPING = (
    "hidden_size", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps", "do_stable_layer_norm",
    "feat_extract_norm", "feat_extract_activation", "feat_proj_layer_norm", "conv_dim", "conv_stride", "conv_kernel", "conv_bias",
    "num_conv_pos_embeddings", "num_conv_pos_embedding_groups", "conv_pos_kernel_size", "conv_pos_batch_norm",
    "num_buckets", "max_bucket_distance", "add_adapter", "adapter_attn_dim",
)  # fmt: skip
_NUMBER_OF_BLOCKS = "num_hidden_layers"
_BLOCKS = "encoder.layers."
_MASK_EMBEDDING = "masked_spec_embed"
_HEAD_WIDTH = 64
"""Width of one attention head in all published sizes."""


class SslSpeech(PretrainedModule):
    """A self-supervised speech model: waveform -> convolutions -> transformer blocks -> frames, 50 a second at 16 kHz.

    With ``padding="masked"`` a clip's frames are the same alone and in any batch: attention sees valid frames only, frames behind
    the end are zero, and the normalisation over time of the first convolution (wav2vec 2.0 base, HuBERT base) and the positional
    convolutions (data2vec) know each clip's own end. For one clip that is the library's answer; for a padded batch the library's differs.
    ``padding="paper"`` lets zeros count as signal, as published systems with a fixed length do.

    The library's own masking of training inputs and its skipping of whole blocks (``layerdrop``) are off; ``mask_time_probability``
    brings the former back, with draws that depend on the clips' keys alone.

    Args:
        architecture: Which family.
        source: Folder with ``config.json`` and weights, whose sizes are then taken, or a name on the Hugging Face hub.
        weights: "pretrained" waits for ``load_weights``; "random" needs no source; "teacher" neither, for ``copy_blocks`` follows.
        layers: Transformer blocks; None as in ``settings`` or the folder. Fewer than the checkpoint has takes its lowest.
        width: Width of frames, with heads of 64 and an inner layer four times as wide; None as pretrained.
        conv_width: Channels of each convolution; None as pretrained.
        blocks: Which blocks of the checkpoint fill ours, bottom up, counted from 1 ([2, 4, 6]), or ``even``, which spreads ``layers``
            evenly (2, 4, …, 12 of twelve); None is the lowest.
        settings: Further keys of the library's configuration (``hidden_size``, ``hidden_dropout``, …); its defaults are the base model.
        normalize_waveform: Whether each clip is brought to mean 0 and variance 1, as the checkpoint's preprocessor says.
        padding: "masked" or "paper".
        freeze: What does not learn: "none", "feature_encoder" (the convolutions) or "encoder" (everything).
        frozen_blocks: So many of the lowest blocks, and all below them, do not learn either.
        hidden_layers: Which hidden states are handed out: 0 is the input of the first block, k the output of block k; or "all".
        mask_time_probability: Share of frames replaced by a learned vector in training, in spans; 0 is none.
        mask_time_frames: Length of a span.
        gradient_checkpointing: Compute activations anew in the backward pass: less memory, a third more time.
        input_width: Width of the front-end's frames: 1, samples.

    Raises:
        ConfigError: If sizes, layers or settings do not fit together.
        DataError: If the source is a folder without a model.

    Source: Baevski et al. 2020; Hsu et al. 2021; Chen et al. 2022; Baevski et al. 2022.
    """

    def __init__(
        self,
        architecture: Architecture = "wav2vec2",
        source: str = "facebook/wav2vec2-base",
        weights: Weights | Literal["teacher"] = "pretrained",
        layers: int | None = None,
        width: int | None = None,
        conv_width: int | None = None,
        blocks: LayerMap | None = None,
        settings: Mapping[str, Any] | None = None,
        normalize_waveform: bool = True,
        padding: Literal["masked", "paper"] = "masked",
        freeze: Literal["none", "feature_encoder", "encoder"] = "feature_encoder",
        frozen_blocks: int = 0,
        hidden_layers: Literal["all"] | Sequence[int] = (),
        mask_time_probability: float = 0.0,
        mask_time_frames: int = 10,
        gradient_checkpointing: bool = False,
        input_width: int = 1,
    ) -> None:
        own_weights: Weights = "random" if weights == "teacher" else weights
        super().__init__(source, own_weights)
        self.weights = weights
        if architecture not in _LIBRARY:
            raise ConfigError("Unknown architecture.", expected=", ".join(_LIBRARY), got=str(architecture), remedy="set architecture")
        if input_width != 1:
            raise ConfigError(
                "SslSpeech hears samples, not features.",
                expected="a front-end of width 1 (frontend: waveform_16khz)",
                got=f"a front-end of width {input_width}",
                remedy="choose the waveform front-end",
            )
        kind, network, self._prefix = _LIBRARY[architecture]
        sizes: dict[str, Any] = {_NUMBER_OF_BLOCKS: layers if blocks is None or blocks == "even" else len(blocks), "layerdrop": 0.0}
        if width is not None:
            sizes |= {"hidden_size": width, "num_attention_heads": max(1, width // _HEAD_WIDTH), "intermediate_size": 4 * width}
        folder_config = read_folder_config(source, own_weights)
        if conv_width is not None:
            sizes["conv_dim"] = [conv_width] * len(make_library_config(kind, settings, folder_config, {}, SHAPING).conv_dim)
        config = make_library_config(kind, settings, folder_config, sizes, (*SHAPING, _NUMBER_OF_BLOCKS))
        _check_supported(config)
        self.width: int = config.hidden_size
        self.blocks: LayerMap | None = blocks if blocks is None or isinstance(blocks, str) else tuple(blocks)
        self.normalize_waveform = normalize_waveform
        self.padding = padding
        self.hidden_layers = choose_hidden_layers(hidden_layers, config.num_hidden_layers)
        self.mask_time_probability = mask_time_probability
        self.mask_time_frames = mask_time_frames
        self.model: Any = network(config)
        _replace_group_norm(self.model)
        if gradient_checkpointing:
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self._freeze(freeze, frozen_blocks)

    def take_checkpoint(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Check kind, sizes and preparation of a checkpoint, and take its weights.

        Raises:
            ConfigError: If they contradict the configuration.
            DataError: If a tensor is missing, left over or of another shape.
        """
        check_same_shaping(self.model.config, config, SHAPING, self.source)
        normalizes = preprocessor.get("do_normalize")
        if normalizes is not None and normalizes != self.normalize_waveform:
            raise ConfigError(
                f"The model '{self.source}' was trained on waveforms that were prepared in another way.",
                expected=f"normalize_waveform={str(normalizes).lower()} (do_normalize of its preprocessor_config.json)",
                got=f"normalize_waveform={str(self.normalize_waveform).lower()}",
                remedy=f"set the encoder's normalize_waveform={str(normalizes).lower()}",
            )
        theirs = type(self.model.config).from_dict(dict(config)).num_hidden_layers
        ours = self.model.config.num_hidden_layers
        chosen = range(1, ours + 1) if self.blocks is None else self.blocks
        if isinstance(chosen, str):
            chosen = choose_layer_map(chosen, ours, theirs, f"weights '{self.source}'")
        part = choose_blocks(select_part(weights, (self._prefix,)), _BLOCKS, chosen, theirs, self.source)
        fit_weights(self.model, part, self.source, optional=(_MASK_EMBEDDING,))

    @property
    def layer_widths(self) -> dict[int, int]:
        """The hidden states there are: number -> D."""
        return dict.fromkeys(range(self.model.config.num_hidden_layers + 1), self.width)

    def copy_blocks(self, other: object, layer_map: LayerMap) -> tuple[int, ...]:
        """Start from another model of the family: some of its blocks, and all of it that is no block.

        That is convolutions, feature projection, positional convolution and norms; WavLM's relative positions, which stand in its first
        block and serve all, come along.

        Args:
            other: A ``SslSpeech`` of the same family and width.
            layer_map: Which of its blocks fill ours.

        Returns:
            The map as it was used.

        Raises:
            ConfigError: If it is of another kind, size or preparation, or the map does not fit.
        """
        if not isinstance(other, SslSpeech):
            raise ConfigError(
                "Only a model of the same kind can give its blocks to this one.",
                expected=f"SslSpeech ({self.model.config.model_type})",
                got=type(other).__name__,
                remedy="choose a teacher with the student's kind of encoder, or student.init_from=pretrained",
            )
        check_same_shaping(self.model.config, other.model.config.to_dict(), SHAPING, "the teacher")
        if other.normalize_waveform != self.normalize_waveform:
            raise ConfigError(
                "Teacher and student prepare waveforms in different ways.",
                expected=f"normalize_waveform={str(other.normalize_waveform).lower()}, as the teacher",
                got=f"normalize_waveform={str(self.normalize_waveform).lower()}",
                remedy=f"set student.encoder.normalize_waveform={str(other.normalize_waveform).lower()}",
            )
        there = other.model.config.num_hidden_layers
        chosen = choose_layer_map(layer_map, self.model.config.num_hidden_layers, there, "teacher")
        part = choose_blocks(other.model.state_dict(), _BLOCKS, chosen, there, "the teacher")
        fit_weights(self.model, part, "the teacher", optional=(_MASK_EMBEDDING,))
        self.awaits_weights = False
        return chosen

    def frame_lengths(self, lengths: Tensor, layers: int | None = None) -> Tensor:
        """Give how many frames the convolutions make of clips: floor((length - kernel) / step) + 1 at each.

        Args:
            lengths: (B,) int64 samples.
            layers: Count only the first convolutions; None is all.

        Returns:
            (B,) int64.
        """
        for kernel, stride in list(zip(self.model.config.conv_kernel, self.model.config.conv_stride, strict=True))[:layers]:
            lengths = (lengths - kernel) // stride + 1
        return lengths

    def forward(self, features: Features) -> Encoded:
        """Give frames (B, F, D), their mask, and the chosen hidden states; all zero behind each clip's end.

        Raises:
            ConfigError: If there are no samples, or the pretrained weights were never loaded.
            ShapeError: If they have another width.
        """
        self.check_has_weights()
        samples, mask = take_frames(features, 1, "SslSpeech")
        lengths = features.lengths if mask is not None and self.padding == "masked" else None
        waveforms = samples[:, :, 0]  # (B, T)
        if self.normalize_waveform:
            waveforms = normalize_waveforms(waveforms, lengths)
        frames, mask = self._convolve(waveforms, lengths)
        if self.training and self.mask_time_probability > 0.0:
            frames = self._mask_spans(frames, mask, features.keys)
        return self._transform(frames, mask)

    def _convolve(self, waveforms: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Give projected frames (B, F, D) and their mask."""
        shortest = _receptive_field(self.model.config)
        if waveforms.shape[1] < shortest:  # a clip too short for one frame is lengthened by silence
            waveforms = nn.functional.pad(waveforms, (0, shortest - waveforms.shape[1]))
        maps = waveforms.unsqueeze(1)  # (B, 1, T)
        lengths = None if lengths is None else lengths.clamp_min(shortest)
        for layer in self.model.feature_extractor.conv_layers:
            norm = getattr(layer, "layer_norm", None)
            if isinstance(norm, MaskedGroupNorm):
                maps = layer.conv(maps)
                mask = None if lengths is None else lengths_to_mask(self.frame_lengths(lengths, 1), maps.shape[2])
                maps = layer.activation(norm(maps, mask))
            else:
                maps = layer(maps)
        projected = self.model.feature_projection(maps.transpose(1, 2))
        frames = projected[0] if isinstance(projected, tuple) else projected
        return frames, None if lengths is None else lengths_to_mask(self.frame_lengths(lengths), frames.shape[1])

    def _transform(self, frames: Tensor, mask: Tensor | None) -> Encoded:
        encoder, stable = self.model.encoder, getattr(self.model.config, "do_stable_layer_norm", False)
        hidden = clear_frames(frames, mask)
        hidden = hidden + self._positions(hidden, mask)
        hidden = encoder.dropout(hidden if stable else encoder.layer_norm(hidden))
        states = {0: hidden}
        bias: Tensor | None = None
        # (B, 1, 1, F) to be added to the scores; WavLM masks keys by itself
        added = None if mask is None else torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(~mask, torch.finfo(hidden.dtype).min)
        for number, block in enumerate(encoder.layers, start=1):
            if isinstance(self.model, WavLMModel):
                hidden, bias = block(hidden, attention_mask=mask, position_bias=bias)
            else:
                hidden = block(hidden, attention_mask=None if added is None else added[:, None, None])
            states[number] = hidden
        last = encoder.layer_norm(hidden) if stable else hidden
        chosen = {number: clear_frames(states[number], mask) for number in self.hidden_layers}
        return Encoded(frames=clear_frames(last, mask), frame_mask=mask, hidden_states=chosen)

    def _positions(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        embedding = self.model.encoder.pos_conv_embed
        if not isinstance(self.model, Data2VecAudioModel):
            return embedding(frames)
        for layer in embedding.layers:  # several in a row: each must see silence behind the end
            frames = clear_frames(layer(frames.transpose(1, 2)).transpose(1, 2), mask)
        return frames

    def _mask_spans(self, frames: Tensor, mask: Tensor | None, keys: Tensor | None) -> Tensor:
        if keys is None:
            raise ConfigError(
                "Masking in time needs the clips' random keys.",
                expected="a batch with keys",
                got="none",
                remedy="set mask_time_probability=0",
            )
        rows, size = frames.shape[:2]
        lengths = torch.full((rows,), size, device=frames.device) if mask is None else mask.sum(dim=1)
        hit = draw_time_spans(keys, lengths, size, self.mask_time_probability, self.mask_time_frames)
        return torch.where(hit.unsqueeze(-1), self.model.masked_spec_embed.to(frames.dtype), frames)

    def _freeze(self, freeze: str, frozen_blocks: int) -> None:
        if freeze not in ("none", "feature_encoder", "encoder") or not 0 <= frozen_blocks <= self.model.config.num_hidden_layers:
            raise ConfigError(
                "This cannot be frozen.",
                expected=f"none, feature_encoder or encoder, and frozen_blocks from 0 to {self.model.config.num_hidden_layers}",
                got=f"freeze={freeze}, frozen_blocks={frozen_blocks}",
                remedy="set freeze and frozen_blocks",
            )
        frozen: list[nn.Module] = [self.model] if freeze == "encoder" else []
        if freeze == "feature_encoder" or frozen_blocks:
            frozen.append(self.model.feature_extractor)
        if frozen_blocks:
            encoder = self.model.encoder
            frozen += [self.model.feature_projection, encoder.pos_conv_embed, *encoder.layers[:frozen_blocks]]
            if not getattr(self.model.config, "do_stable_layer_norm", False):  # there it stands behind the last block
                frozen.append(encoder.layer_norm)
        for part in frozen:
            part.requires_grad_(False)
        embedding = getattr(self.model, _MASK_EMBEDDING, None)
        if embedding is not None and self.mask_time_probability == 0.0:
            embedding.requires_grad_(False)  # nothing reaches it: several processes would wait for its gradient


def _replace_group_norm(model: Any) -> None:
    for layer in model.feature_extractor.conv_layers:
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            layer.layer_norm = MaskedGroupNorm(norm.num_groups, norm.num_channels, norm.eps)


def _receptive_field(config: PreTrainedConfig) -> int:
    """Give how many samples one frame hears."""
    field = 1
    for kernel, stride in reversed(list(zip(config.conv_kernel, config.conv_stride, strict=True))):
        field = (field - 1) * stride + kernel
    return field


def _check_supported(config: PreTrainedConfig) -> None:
    for key in ("add_adapter", "conv_pos_batch_norm"):
        if getattr(config, key, False):
            raise ConfigError(
                f"Models with {key} are not supported.", expected=f"{key}=false", got="true", remedy="choose another checkpoint"
            )
