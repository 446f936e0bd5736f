"""Models of arousal, dominance and valence that others made and published, built of our own parts and filled name by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError, DataError
from ser_kd.contracts.outputs import Features, Outputs
from ser_kd.functional.masking import clear_padding
from ser_kd.models.encoders.ssl_speech import SHAPING, SslSpeech
from ser_kd.models.head_order import read_head_order
from ser_kd.models.heads import DimensionHead
from ser_kd.models.pooling import MeanPooling, SharedAttentiveStatisticsPooling
from ser_kd.models.pretrained import PretrainedModule, Weights, fit_weights, read_folder_config, select_part
from ser_kd.models.published_layouts import LAYOUTS, LayoutName, choose_sizes
from ser_kd.models.speech_model import SpeechModel

SAMPLE_RATE_HZ = 16_000
"""What both published models hear."""

_DEVIATION_FLOOR = 1e-6
"""The Odyssey baselines hear (x - mean) / (deviation + this)."""


class PublishedDimensions(PretrainedModule):
    """A published model of arousal, dominance and valence: waveform -> self-supervised encoder -> pooling -> head, unclipped.

    * ``wav2vec2``: each clip at mean 0 and variance 1, wav2vec 2.0 large of 12 blocks, mean over time, linear, tanh, linear.
    * ``odyssey_wavlm``: (x - mean) / (deviation + 1e-6) with the numbers of its ``config.json``, WavLM large, attentive statistics with
      one score per frame, linear, layer norm, ReLU, linear.

    A clip alone is answered as by the original. In a padded batch every clip is answered as if it were alone (the originals pool over
    frames of padding too, or over a number of frames that they estimate from the samples). Code that comes with a checkpoint is never
    run. Whatever order its outputs stand in, ours is arousal, dominance, valence: the last layer's rows are moved by their names.

    Args:
        source: Folder with ``config.json`` and weights, whose sizes are then taken, or a name on the Hugging Face hub.
        layout: Which of the two.
        weights: "pretrained" waits for ``load_weights``; "random" needs no source.
        dimensions: Names of its outputs in their order, where ``id2label`` of its ``config.json`` does not tell.
        settings: Keys of the encoder's library configuration that win over those published and those of a folder.
        layers: Transformer blocks of a random model; None as published.
        width: Width of a random model; None as published.
        conv_width: Channels of its convolutions; None as published.

    Raises:
        ConfigError: If the layout is unknown, or sizes do not fit together.
        DataError: If the source is a folder without a model.

    Source: Wagner et al. 2023 (Dawn of the transformer era in speech emotion recognition); Goncalves et al. 2024 (Odyssey challenge).
    """

    def __init__(
        self,
        source: str,
        layout: LayoutName,
        weights: Weights = "pretrained",
        dimensions: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        layers: int | None = None,
        width: int | None = None,
        conv_width: int | None = None,
    ) -> None:
        super().__init__(source, weights)
        if layout not in LAYOUTS:
            raise ConfigError("Unknown layout.", expected=" or ".join(LAYOUTS), got=str(layout), remedy="set layout to one of them")
        self.layout = LAYOUTS[layout]
        self.settings = dict(settings or {})
        self.dimensions = None if dimensions is None else tuple(dimensions)
        config = read_folder_config(source, weights)
        if config is not None:
            read_head_order(config, self.dimensions, source)  # told before anything is built
        is_odyssey = layout == "odyssey_wavlm"
        encoder = SslSpeech(
            self.layout.architecture,
            source,
            weights="random",  # they come with the rest
            layers=layers,
            width=width,
            conv_width=conv_width,
            settings=choose_sizes(self.layout, config, self.settings, source),
            normalize_waveform=not is_odyssey,
            freeze="none",
        )
        pooling = SharedAttentiveStatisticsPooling(encoder.width) if is_odyssey else MeanPooling()
        head = DimensionHead(
            pooling.output_width(encoder.width),
            encoder.width,
            dropout=0.5 if is_odyssey else 0.1,
            activation="relu" if is_odyssey else "tanh",
            hidden_norm=is_odyssey,
        )
        self.model = SpeechModel(encoder, pooling=pooling, head=head)
        self.waveform_mean: Tensor
        self.waveform_deviation: Tensor
        if is_odyssey:
            self.register_buffer("waveform_mean", torch.zeros(()))
            self.register_buffer("waveform_deviation", torch.ones(()))

    @property
    def encoder(self) -> nn.Module:
        """The encoder, whose hidden layers terms may ask for."""
        return self.model.encoder

    @property
    def head(self) -> nn.Module:
        """The head."""
        return self.model.head

    @property
    def embedding_widths(self) -> dict[str | None, int]:
        """Name -> width of the embeddings it answers with; None is the pooled one."""
        return self.model.embedding_widths

    def take_checkpoint(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any], weights: dict[str, Tensor]) -> None:
        """Check order, preparation, names and shapes of a checkpoint, and take its weights.

        Raises:
            ConfigError: If the order of its outputs is unknown, or it hears audio prepared in another way.
            DataError: If a tensor is missing, left over or of another shape.
        """
        order = read_head_order(config, self.dimensions, self.source)
        self._check_preparation(config, preprocessor)
        own = self.model.encoder.model.config
        theirs = type(own).from_dict(choose_sizes(self.layout, config, self.settings, self.source))
        differing = [key for key in (*SHAPING, "num_hidden_layers") if _show(own, key) != _show(theirs, key)]
        if differing:
            raise ConfigError(
                f"The weights '{self.source}' are of another size or layout than the network.",
                expected=", ".join(f"{key}={_show(own, key)}" for key in differing),
                got=", ".join(f"{key}={_show(theirs, key)}" for key in differing),
                remedy="give a folder, whose sizes are taken, or set "
                + " ".join(f"settings.{key}={_show(theirs, key)}" for key in differing),
            )
        fit_weights(self.model, self._rename(weights, order), self.source, optional=("encoder.model.masked_spec_embed",))
        if self.layout.architecture == "wavlm":
            self.waveform_mean.fill_(float(config["mean"]))
            self.waveform_deviation.fill_(float(config["std"]))

    def forward(self, inputs: ModelInput) -> Outputs:
        """Give dimensions (B, 3), unclipped, with embedding, frames and hidden states.

        Raises:
            ConfigError: If the pretrained weights were never loaded.
        """
        self.check_has_weights()
        waveforms = clear_padding(inputs.waveforms.float(), inputs.lengths)
        if self.layout.architecture == "wavlm":
            waveforms = clear_padding((waveforms - self.waveform_mean) / (self.waveform_deviation + _DEVIATION_FLOOR), inputs.lengths)
        answered: Outputs = self.model.answer(Features(waveforms.unsqueeze(-1), inputs.lengths, inputs.texts, inputs.keys))
        return answered

    def _check_preparation(self, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> None:
        rates = [part["sampling_rate"] for part in (config, preprocessor) if part.get("sampling_rate") not in (None, SAMPLE_RATE_HZ)]
        if rates:
            raise ConfigError(
                f"The model '{self.source}' hears audio at another sample rate.",
                expected=f"{SAMPLE_RATE_HZ} Hz",
                got=f"{rates[0]} Hz",
                remedy="choose another model",
            )
        if self.layout.architecture == "wav2vec2" and preprocessor.get("do_normalize") is False:
            raise ConfigError(
                f"The model '{self.source}' was trained on waveforms that were prepared in another way.",
                expected="each clip at mean 0 and variance 1 (do_normalize=true)",
                got="do_normalize=false in its preprocessor_config.json",
                remedy="choose another model",
            )
        missing = [key for key in ("mean", "std") if not isinstance(config.get(key), (int, float))]
        if self.layout.architecture == "wavlm" and missing:
            raise DataError(
                f"How waveforms are prepared for '{self.source}' is unknown.",
                expected="mean and std of its training audio in config.json",
                got=f"no {' and no '.join(missing)}",
                remedy="add them to its config.json, as its makers state them",
            )

    def _rename(self, weights: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
        """Give a checkpoint's tensors under our names, the last layer's rows in our order."""
        prefix, last = self.layout.encoder, self.layout.last
        inside = {name: value for name, value in weights.items() if name.startswith(prefix)}
        renamed = {f"encoder.model.{name}": value for name, value in select_part(inside, (prefix,)).items()}
        for name, value in weights.items():
            if name in inside:
                continue
            if name.rpartition(".")[0] == last:
                if len(value) != len(order):
                    raise DataError(
                        f"The model '{self.source}' does not answer with three numbers.",
                        expected="arousal, dominance and valence",
                        got=f"{name} of shape {tuple(value.shape)}",
                        remedy="choose a model of all three",
                    )
                value = value[list(order)]
            there = next((part for part in self.layout.renamed if name == part or name.startswith(f"{part}.")), None)
            ours = name if there is None else self.layout.renamed[there] + name.removeprefix(there)
            renamed[ours] = value.T.contiguous() if ours == "pooling.score.weight" else value  # (D, 1) there
        return renamed


def _show(config: Any, key: str) -> Any:
    value = getattr(config, key, None)
    return list(value) if isinstance(value, tuple) else value
