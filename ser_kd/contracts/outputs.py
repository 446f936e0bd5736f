"""What front-ends, encoders, models and teachers answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

from torch import Tensor


@dataclass
class Features:
    """What a front-end hands to an encoder.

    Args:
        frames: (B, F, D) feature frames (a raw waveform is (B, T, 1)), or None for text alone.
        lengths: (B,) int64 valid frames; frames behind a length mean nothing.
        texts: B transcripts, or None.
        keys: (B,) int64 random keys, or None.
        named: Named features of the batch, from a front-end that hands on all it was given, for an encoder of several branches.
    """

    frames: Tensor | None
    lengths: Tensor | None
    texts: list[str | None] | None = None
    keys: Tensor | None = None
    named: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass
class Encoded:
    """What an encoder hands to pooling and head.

    Args:
        frames: (B, F, D) last frames, or None where the encoder yields only an embedding.
        frame_mask: (B, F) bool, True where valid; None where every frame is.
        embedding: (B, D) where the encoder pools by itself (TIM-Net, ECAPA); else None.
        hidden_states: Layer number (0 is the input of the first layer) -> (B, F, D).
        hidden_masks: Layer number -> (B, F) bool, for layers whose frame rate is not that of the last frames.
    """

    frames: Tensor | None
    frame_mask: Tensor | None = None
    embedding: Tensor | None = None
    hidden_states: dict[int, Tensor] = field(default_factory=dict)
    hidden_masks: dict[int, Tensor] = field(default_factory=dict)


@dataclass
class Outputs:
    """Everything a model says about a batch.

    Args:
        logits: (B, C) before softmax, or None.
        dimensions: (B, 3) arousal, dominance, valence, or None.
        embedding: (B, D) the pooled state before the head.
        embeddings: Named projections of it: name -> (B, D').
        frames: (B, F, D) the encoder's last frames, or None.
        hidden_states: Layer number -> (B, F, D).
        frame_mask: (B, F) bool, True where valid; None where every frame is.
        hidden_masks: Layer number -> (B, F) bool, for layers whose frame rate is not that of the last frames.
    """

    logits: Tensor | None = None
    dimensions: Tensor | None = None
    embedding: Tensor | None = None
    embeddings: dict[str, Tensor] = field(default_factory=dict)
    frames: Tensor | None = None
    hidden_states: dict[int, Tensor] = field(default_factory=dict)
    frame_mask: Tensor | None = None
    hidden_masks: dict[int, Tensor] = field(default_factory=dict)

    def mask_of(self, layer: int | None) -> Tensor | None:
        """Give the mask of a hidden state, or of the last frames for None."""
        return self.frame_mask if layer is None else self.hidden_masks.get(layer, self.frame_mask)

    def map(self, function: Callable[[Tensor], Tensor]) -> Outputs:
        """Apply a function to every tensor (detach, move, cast)."""

        def through(value: object) -> object:
            if isinstance(value, Tensor):
                return function(value)
            if isinstance(value, dict):
                return {name: function(part) for name, part in value.items()}
            return value

        return replace(self, **{f.name: through(getattr(self, f.name)) for f in fields(self)})  # type: ignore[arg-type]


@dataclass
class TeacherAnswers:
    """What the teacher ensemble says: each member by name, and all of them combined.

    Args:
        members: Member name -> its outputs.
        combined: The ensemble as one; equal to the member where there is just one.
    """

    members: dict[str, Outputs]
    combined: Outputs

    def listen_to(self, name: str) -> Outputs:
        """Give ``combined`` or one member's outputs.

        Raises:
            KeyError: If no member has that name.
        """
        if name == "combined":
            return self.combined
        return self.members[name]
