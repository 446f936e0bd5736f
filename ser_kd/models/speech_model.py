"""Front-end, encoder, pooling and head as one model, for teacher and student alike."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import Tensor, nn

from ser_kd.contracts.batch import ModelInput
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.interfaces import FeatureTransform
from ser_kd.contracts.outputs import Encoded, Features, Outputs
from ser_kd.models.block_map import LayerMap
from ser_kd.models.freezing import rest_frozen_modules
from ser_kd.models.teacher_start import TeacherStart
from ser_kd.models.unlearned_dimensions import blank_dimensions

Part = nn.Module | Callable[..., nn.Module]
"""A finished module, or a callable that makes it once sizes are known (in YAML: ``_partial_: true``)."""


class SpeechModel(nn.Module):
    """waveform -> front-end -> (in training: feature transforms) -> encoder -> pooling -> head.

    Whoever writes a configuration names presets, not sizes. A part given as a callable is called with those sizes that stand in its
    signature and that the configuration did not set: ``input_width`` (encoder; the front-end's width), ``width`` (pooling: the
    encoder's; head: the embedding's), ``classes`` and ``dimensions`` (head). Thus in YAML::

        _target_: ser_kd.models.speech_model.SpeechModel
        frontend: {_target_: ser_kd.frontends.mfcc.Mfcc}
        encoder: {_target_: ser_kd.models.encoders.timnet.TimNet, _partial_: true, filters: 60}
        head: {_target_: ser_kd.models.heads.LinearHead, _partial_: true}

    and ``classes`` and ``dimensions`` come from the protocol's targets. Modules that lost everything to learn by ``freeze`` stay in
    evaluation while the model trains. Of dimensions named in ``unlearned_dimensions``, which whoever trains or loads it knows, it says
    NaN in evaluation.

    Args:
        encoder: Features -> Encoded, with a ``width``.
        frontend: ModelInput -> Features, with a ``width``; None for text, which passes through.
        pooling: (frames, mask) -> (B, D), with ``output_width(width)``; None where the encoder yields an embedding by itself.
        head: (B, D) -> Outputs with logits, dimensions or both; None for an embedding alone.
        classes: Number of classes, 0 for none; needed only by a head that asks for it.
        feature_transforms: Applied to the features in training, in this order.
        init_from: Where the encoder's first weights come from. None is the encoder's own affair; ``teacher``: blocks of the teacher
            (see ``start_from_teacher``); ``pretrained`` and ``random`` say what an encoder with a key ``weights`` does, and must agree
            with it.
        layer_map: Which of the teacher's blocks fill the student's, bottom up, counted from 1; ``even`` spreads them evenly.
        copy_head: Whether the teacher's head comes along.
        dimensions: Whether a head that can do both shall answer with arousal, dominance and valence.

    Raises:
        ConfigError: If a part asks for a size that is not known, or the encoder starts otherwise than ``init_from`` says.

    Example:
        >>> import torch
        >>> from ser_kd.models.heads import LinearHead
        >>> class Energy(nn.Module):
        ...     width = 1
        ...     def forward(self, features):
        ...         return Encoded(None, embedding=features.frames.square().mean(dim=1))
        >>> class Samples(nn.Module):
        ...     width = 1
        ...     def forward(self, inputs):
        ...         return Features(inputs.waveforms.unsqueeze(-1), inputs.lengths)
        >>> model = SpeechModel(Energy(), Samples(), head=LinearHead, classes=7)
        >>> model(ModelInput(torch.randn(2, 100), torch.tensor([100, 100]))).logits.shape
        torch.Size([2, 7])
    """

    def __init__(
        self,
        encoder: Part,
        frontend: nn.Module | None = None,
        pooling: Part | None = None,
        head: Part | None = None,
        classes: int | None = None,
        feature_transforms: Sequence[FeatureTransform] = (),
        init_from: Literal["pretrained", "teacher", "random"] | None = None,
        layer_map: LayerMap = "even",
        copy_head: bool = False,
        dimensions: bool = False,
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.encoder = finish_part("encoder", encoder, input_width=None if frontend is None else width_of("frontend", frontend))
        encoder_width = width_of("encoder", self.encoder)
        self.pooling = finish_part("pooling", pooling, width=encoder_width)
        self.width = encoder_width if self.pooling is None else int(self.pooling.output_width(encoder_width))
        self.head = finish_part("head", head, width=self.width, classes=classes, dimensions=dimensions)
        self.classes = classes
        # A tuple keeps them out of the state dict: a transform learns nothing.
        self.feature_transforms = tuple(feature_transforms)
        self.unlearned_dimensions: tuple[str, ...] = ()
        _check_start(self.encoder, init_from, layer_map)
        self.start = TeacherStart(layer_map, copy_head) if init_from == "teacher" else None

    @property
    def embedding_widths(self) -> dict[str | None, int]:
        """Name -> width of the embeddings it answers with; None is the pooled one."""
        return {None: self.width, **getattr(self.head, "embedding_widths", {})}

    def forward(self, inputs: ModelInput) -> Outputs:
        """Answer about a batch.

        Args:
            inputs: What this model hears, reads and sees.

        Returns:
            Outputs; ``embedding`` is the pooled state before the head, unless the head names another.

        Raises:
            ConfigError: If there are frames and nothing pools them, or both encoder and pooling do.
        """
        return self.answer(self.extract(inputs))

    @property
    def reads_text(self) -> bool:
        """Whether it, or a part of it, needs the clips' transcripts."""
        return any(bool(getattr(part, "reads_text", False)) for part in (self.frontend, self.encoder))

    def extract(self, inputs: ModelInput) -> Features:
        """Give the front-end's features; without a front-end the texts pass through."""
        return Features(None, None, inputs.texts, inputs.keys) if self.frontend is None else self.frontend(inputs)

    def answer(self, features: Features) -> Outputs:
        """Answer about the features of a batch.

        Raises:
            ConfigError: As ``forward``, or if the model waits for its teacher's weights.
        """
        if self.start is not None:
            self.start.check_has_weights()
        if self.training:
            for transform in self.feature_transforms:
                features = transform(features)
        encoded: Encoded = self.encoder(features)
        embedding = self._pool(encoded)
        outputs = Outputs() if self.head is None else self.head(embedding)
        return replace(
            outputs,
            dimensions=outputs.dimensions if self.training else blank_dimensions(outputs.dimensions, self.unlearned_dimensions),
            embedding=embedding if outputs.embedding is None else outputs.embedding,
            frames=encoded.frames,
            hidden_states=encoded.hidden_states,
            frame_mask=encoded.frame_mask,
            hidden_masks=encoded.hidden_masks,
        )

    def train(self, mode: bool = True) -> SpeechModel:
        """Switch to training or evaluation; what is wholly frozen stays in evaluation."""
        super().train(mode)
        rest_frozen_modules(self)
        return self

    def _pool(self, encoded: Encoded) -> Tensor:
        if (encoded.embedding is None) == (self.pooling is None):
            name = type(self.encoder).__name__
            both = self.pooling is not None
            raise ConfigError(
                f"{name} pools by itself and a pooling is given too." if both else f"Nothing pools the frames of {name}.",
                expected="either an encoder that yields an embedding or a pooling",
                got="both" if both else "neither",
                remedy="set pooling: null" if both else "give a pooling, such as MeanPooling",
            )
        if encoded.embedding is not None:
            return encoded.embedding
        return self.pooling(encoded.frames, encoded.frame_mask)


def finish_part(role: str, part: Part | None, **sizes: int | bool | None) -> Any:
    """Make a part from its callable, giving it the sizes it asks for.

    Args:
        role: What it is in its model, for messages.
        part: A module, which is taken as it is, a callable, or None.
        sizes: Size -> value, None where it is not known.

    Raises:
        ConfigError: If the part asks for a size that is not known.
    """
    if part is None or isinstance(part, nn.Module):
        return part
    already_given = getattr(part, "keywords", {})
    asked = {name for name in sizes if name in inspect.signature(part).parameters and name not in already_given}
    unknown = sorted(name for name in asked if sizes[name] is None)
    if unknown:
        raise ConfigError(
            f"The {role} asks for a size that is not known.",
            expected=f"{', '.join(unknown)}",
            got="no front-end" if "input_width" in unknown else "None",
            remedy="give the model a front-end" if "input_width" in unknown else "pass classes=… to the model",
        )
    return part(**{name: sizes[name] for name in asked})


def _check_start(encoder: Any, init_from: str | None, layer_map: LayerMap) -> None:
    """Check that the encoder starts as the model says."""
    has_weights = getattr(encoder, "weights", "random")  # an encoder without that key always starts at random
    fits = {None: has_weights != "teacher", "teacher": True}
    if init_from not in (None, "pretrained", "teacher", "random") or not fits.get(init_from, has_weights == init_from):
        raise ConfigError(
            "The encoder does not start as init_from says.",
            expected="init_from of null, pretrained, teacher or random, and pretrained only for an encoder that has such weights",
            got=f"init_from={init_from}, and {type(encoder).__name__} with weights={has_weights}",
            remedy="set student.init_from, and student.encoder.weights, where there is such a key, to the same",
        )
    if layer_map != "even" and has_weights == "random" and init_from != "teacher":
        raise ConfigError(
            "A map of blocks is given, and the student starts at random.",
            expected="student.layer_map beside student.init_from=teacher (or pretrained)",
            got=f"layer_map={layer_map}, init_from={init_from}",
            remedy="set student.init_from=teacher and choose a teacher, or leave student.layer_map out",
        )


def width_of(role: str, part: Any) -> int:
    """Give a part's ``width``.

    Raises:
        ConfigError: If it does not say one.
    """
    width = getattr(part, "width", None)
    if not isinstance(width, int):
        raise ConfigError(
            f"The {role} does not say how wide its answer is.",
            expected="an attribute 'width'",
            got=f"{type(part).__name__} without one",
            remedy="set self.width in its constructor",
        )
    return width
