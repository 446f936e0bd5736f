"""How published models of arousal, dominance and valence lie on disk, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ser_kd.contracts.errors import ConfigError
from ser_kd.models.encoders.ssl_speech import SHAPING

LayoutName = Literal["wav2vec2", "odyssey_wavlm"]

_LARGE: Mapping[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
_WAVLM_SIZES: Mapping[str, Mapping[str, Any]] = {
    "microsoft/wavlm-large": _LARGE,
    "microsoft/wavlm-base-plus": {},
    "microsoft/wavlm-base": {},
}
"""Sizes by ``ssl_type``: the Odyssey baselines name the model they started from, and leave its sizes to it."""


@dataclass(frozen=True)
class Layout:
    """How a published checkpoint names its parts.

    Args:
        architecture: Family of its encoder.
        sizes: The encoder's published sizes, as the library's keys.
        encoder: What the encoder's names begin with.
        renamed: What pooling and head are called there -> here.
        last: The last layer's name there.
    """

    architecture: Literal["wav2vec2", "wavlm"]
    sizes: Mapping[str, Any]
    encoder: str
    renamed: Mapping[str, str]
    last: str


LAYOUTS: Mapping[LayoutName, Layout] = {
    "wav2vec2": Layout(
        architecture="wav2vec2",
        sizes={**_LARGE, "num_hidden_layers": 12, "conv_bias": True},
        encoder="wav2vec2.",
        renamed={"classifier.dense": "head.hidden", "classifier.out_proj": "head.regressor"},
        last="classifier.out_proj",
    ),
    "odyssey_wavlm": Layout(
        architecture="wavlm",
        sizes=_LARGE,
        encoder="ssl_model.",
        renamed={
            "pool_model.sap_linear": "pooling.hidden",
            "pool_model.attention": "pooling.score.weight",
            "ser_model.fc.0.0": "head.hidden",
            "ser_model.fc.0.1": "head.norm",
            "ser_model.out.0": "head.regressor",
        },
        last="ser_model.out.0",
    ),
}
"""``wav2vec2``: audeering's wav2vec2-large-robust-12-ft-emotion-msp-dim. ``odyssey_wavlm``: 3loi's Odyssey 2024 WavLM baseline."""


def choose_sizes(layout: Layout, config: Mapping[str, Any] | None, settings: Mapping[str, Any] | None, source: str) -> dict[str, Any]:
    """Give the encoder's sizes: as published, or of the checkpoint, then settings.

    Raises:
        ConfigError: If the checkpoint is one of another family, or names a model whose sizes nobody knows.
    """
    sizes, settings = dict(layout.sizes), dict(settings or {})
    if config is not None:
        sizes = _read_odyssey_sizes(config, settings, source) if layout.architecture == "wavlm" else _read_sizes(config, source)
    return {**sizes, **settings}


def _read_sizes(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    if config.get("model_type") != "wav2vec2":
        raise ConfigError(
            f"'{source}' is another kind of model.",
            expected="model_type wav2vec2",
            got=f"model_type {config.get('model_type')}",
            remedy="set its layout, or choose another model",
        )
    return {key: config[key] for key in (*SHAPING, "num_hidden_layers") if key in config}


def _read_odyssey_sizes(config: Mapping[str, Any], settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    started_from = config.get("ssl_type")
    if started_from not in _WAVLM_SIZES and "do_stable_layer_norm" not in {**config, **settings}:
        raise ConfigError(
            f"The sizes of the encoder of '{source}' are unknown.",
            expected=f"ssl_type of its config.json among {', '.join(_WAVLM_SIZES)}",
            got=f"ssl_type {started_from}",
            remedy="give settings (do_stable_layer_norm, feat_extract_norm, hidden_size, num_hidden_layers, …), or set its layout",
        )
    layers = config.get("classifier_hidden_layers", 1)
    if layers != 1:
        raise ConfigError(
            f"The head of '{source}' has more hidden layers than this layout knows.",
            expected="classifier_hidden_layers=1",
            got=f"classifier_hidden_layers={layers}",
            remedy="choose another model",
        )
    return {**_WAVLM_SIZES.get(str(started_from), {}), **{key: config[key] for key in (*SHAPING, "num_hidden_layers") if key in config}}
