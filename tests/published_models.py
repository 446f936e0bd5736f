"""Small random models of arousal, dominance and valence, saved in the layouts of the two published ones, each with a plain second form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

SMALL: dict[str, Any] = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "feat_extract_norm": "layer", "do_stable_layer_norm": True,
}  # fmt: skip
"""A large model's layout at a toy's size."""

Answer = Callable[[Tensor], Tensor]
"""One clip (T,) -> its outputs (3,), in the checkpoint's own order."""


def save_wav2vec2(folder: Path, names: Sequence[str] | None = ("arousal", "dominance", "valence"), seed: int = 1) -> Answer:
    """Save a model in the layout of audeering's and give its plain second form."""
    torch.manual_seed(seed)
    network = Wav2Vec2Model(Wav2Vec2Config(**SMALL, conv_bias=True)).eval()
    head = {"dense.weight": (24, 24), "dense.bias": (24,), "out_proj.weight": (3, 24), "out_proj.bias": (3,)}
    parts = {f"classifier.{name}": torch.randn(shape) * 0.3 for name, shape in head.items()}
    _save(folder, {**_prefix(network, "wav2vec2."), **parts}, {**network.config.to_dict(), **_label(names)})
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True, "sampling_rate": 16_000}))

    @torch.no_grad()
    def answer(clip: Tensor) -> Tensor:
        normal = (clip - clip.mean()) / (clip.var(correction=0) + 1e-7).sqrt()
        pooled = network(normal[None]).last_hidden_state.mean(dim=1)[0]
        hidden = torch.tanh(parts["classifier.dense.weight"] @ pooled + parts["classifier.dense.bias"])
        return parts["classifier.out_proj.weight"] @ hidden + parts["classifier.out_proj.bias"]

    return answer


def save_odyssey(folder: Path, names: Sequence[str] | None = ("arousal", "dominance", "valence"), seed: int = 2, **more: Any) -> Answer:
    """Save a model in the layout of 3loi's and give its plain second form."""
    torch.manual_seed(seed)
    network = WavLMModel(WavLMConfig(**SMALL)).eval()
    shapes = {
        "pool_model.sap_linear.weight": (24, 24), "pool_model.sap_linear.bias": (24,), "pool_model.attention": (24, 1),
        "ser_model.fc.0.0.weight": (24, 48), "ser_model.fc.0.0.bias": (24,), "ser_model.fc.0.1.weight": (24,),
        "ser_model.fc.0.1.bias": (24,), "ser_model.out.0.weight": (3, 24), "ser_model.out.0.bias": (3,),
    }  # fmt: skip
    parts = {name: torch.randn(shape) * 0.3 for name, shape in shapes.items()}
    sizes = {key: value for key, value in SMALL.items() if key not in ("feat_extract_norm", "do_stable_layer_norm")}
    config = {
        "model_type": "ser",
        "ssl_type": "microsoft/wavlm-large",
        "mean": -0.01,
        "std": 0.08,
        "num_classes": 3,
        "classifier_hidden_layers": 1,
    }
    _save(folder, {**_prefix(network, "ssl_model."), **parts}, {**config, **sizes, **_label(names), **more})

    @torch.no_grad()
    def answer(clip: Tensor) -> Tensor:
        states = network(((clip + 0.01) / (0.08 + 1e-6))[None]).last_hidden_state[0]  # (F, D)
        scores = (
            torch.tanh(states @ parts["pool_model.sap_linear.weight"].T + parts["pool_model.sap_linear.bias"])
            @ parts["pool_model.attention"]
        )
        weights = scores.softmax(dim=0)
        mean = (weights * states).sum(dim=0)
        deviation = ((weights * states**2).sum(dim=0) - mean**2).clamp(min=1e-5).sqrt()
        hidden = parts["ser_model.fc.0.0.weight"] @ torch.cat([mean, deviation]) + parts["ser_model.fc.0.0.bias"]
        normal = (hidden - hidden.mean()) / (hidden.var(correction=0) + 1e-5).sqrt()
        hidden = (normal * parts["ser_model.fc.0.1.weight"] + parts["ser_model.fc.0.1.bias"]).relu()
        return parts["ser_model.out.0.weight"] @ hidden + parts["ser_model.out.0.bias"]

    return answer


def _prefix(network: torch.nn.Module, prefix: str) -> dict[str, Tensor]:
    """Give names as the published checkpoints have them: weight normalisation in its old spelling."""
    new = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
    state = {}
    for name, value in network.state_dict().items():
        old = next((name.replace(ours, theirs) for ours, theirs in new.items() if ours in name), name)
        state[prefix + old] = value
    return state


def _label(names: Sequence[str] | None) -> dict[str, Any]:
    return {} if names is None else {"id2label": {str(number): name for number, name in enumerate(names)}}


def _save(folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.detach().clone().contiguous() for name, value in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
