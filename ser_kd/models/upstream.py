"""A front-end that is an encoder: its frames are the features of the next one."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import LayeredEncoder
from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.models.layers.layer_mix import LayerMix
from ser_kd.models.speech_model import Part, finish_part, width_of

Layers = Literal["last", "weighted"]


class Upstream(nn.Module):
    """Hands the frames of an encoder to the encoder behind it, such as those of HuBERT to ECAPA-TDNN.

    It stands where a front-end stands, in a model or in ``EarlyFusion``. An encoder whose parameters are all frozen rests in evaluation and
    keeps no activations. What it yields beside frames (an embedding) is not used.

    Args:
        encoder: Features -> Encoded with frames of its ``width``.
        frontend: What it hears; None for an encoder that reads transcripts, which then makes a frame of each word piece.
        layers: "last": its last frames; "weighted": an average of all its layers by learned weights, the input of the first and the last
            frames among them.

    Raises:
        ConfigError: If the encoder asks for a size that is not known, or cannot hand out layers of one width where all are wanted.
    """

    def __init__(self, encoder: Part, frontend: nn.Module | None = None, layers: Layers = "last") -> None:
        super().__init__()
        self.frontend = frontend
        input_width = None if frontend is None else width_of("frontend", frontend)
        self.encoder: Any = finish_part("encoder", encoder, input_width=input_width)
        self.width = width_of("encoder", self.encoder)
        self.reads_text = bool(getattr(self.encoder, "reads_text", False))
        if layers not in ("last", "weighted"):
            raise ConfigError("Unknown layers.", expected="last or weighted", got=str(layers), remedy="set the upstream's layers")
        self.mix = self._make_mix() if layers == "weighted" else None

    def forward(self, inputs: ModelInput) -> Features:
        """Give the encoder's frames (B, F, D) and how many of them are valid.

        Raises:
            ConfigError: If it gives no frames of its width.
        """
        features = Features(None, None, inputs.texts, inputs.keys) if self.frontend is None else self.frontend(inputs)
        encoded: Encoded = self.encoder(features)
        frames = encoded.frames
        if frames is None or frames.shape[2] != self.width:
            raise ConfigError(
                f"{type(self.encoder).__name__} cannot be an upstream: it gives no frames of its width.",
                expected=f"frames (B, F, {self.width})",
                got="an embedding alone" if frames is None else f"frames of width {frames.shape[2]}",
                remedy="choose an encoder that is pooled from outside, such as wav2vec2_base or crnn",
            )
        if self.mix is not None:
            frames = self.mix([*self._lower_layers(encoded), frames])
        lengths = None if encoded.frame_mask is None else encoded.frame_mask.sum(dim=1)
        return Features(frames, lengths, inputs.texts, inputs.keys)

    def _make_mix(self) -> LayerMix:
        widths = self.encoder.layer_widths if isinstance(self.encoder, LayeredEncoder) else {}
        if set(widths.values()) != {self.width}:
            raise ConfigError(
                f"The layers of {type(self.encoder).__name__} cannot be averaged.",
                expected=f"an encoder that hands out layers which are all {self.width} wide, such as wav2vec2_base",
                got=f"layers of width {', '.join(map(str, widths.values()))}" if widths else "one that hands out none",
                remedy="set the upstream's layers=last",
            )
        self.encoder.hidden_layers = tuple(sorted(widths))
        return LayerMix(len(widths))

    def _lower_layers(self, encoded: Encoded) -> list[Tensor]:
        # the last frames stand for the last layer: where a norm follows the blocks they have gone through it
        return [encoded.hidden_states[number] for number in sorted(self.encoder.layer_widths)[:-1]]
