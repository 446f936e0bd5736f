"""A residual network over prosodic descriptors as an image, with one embedding per clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import nn

from ser_kd.contracts.outputs import Encoded, Features
from ser_kd.functional.masking import masked_mean
from ser_kd.models.encoders.spectrogram_resnet import SpectrogramResnet


class ProsodicResnet(SpectrogramResnet):
    """A ``SpectrogramResnet`` on (time, descriptor), averaged over valid time, then one linear layer to the clip's embedding.

    With 25 descriptors, ``widths`` (64, 128, 256, 512), a block a stage and a linear layer to 4 classes behind a ReLU it has 5,029,316
    parameters. Widths, kernels and embedding of the published teacher are not known: these are ours. The embedding is what the linear
    layer gives; the ReLU belongs to the head (``LinearHead(activation="relu")``), so that a student's projection meets values of both
    signs.

    Args:
        input_width: Descriptors per frame.
        widths: Channels of each stage.
        blocks: Residual blocks of each stage.
        embedding_width: D of the embedding.
        hidden_layers: As in ``SpectrogramResnet``: its stages.

    Raises:
        ConfigError: As ``SpectrogramResnet``.

    Source: Shome and Etemad 2024, "Speech Emotion Recognition with Distilled Prosodic and Linguistic Affect Representations"
    (a ResNet over eGeMAPS descriptors; no sizes given).
    """

    def __init__(
        self,
        input_width: int,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (1, 1, 1, 1),
        embedding_width: int = 256,
        hidden_layers: Literal["all"] | Sequence[int] = (),
    ) -> None:
        super().__init__(input_width, widths, blocks, hidden_layers=hidden_layers)
        self.embedding = nn.Linear(self.widths[-1], embedding_width)
        self.width = embedding_width

    def forward(self, features: Features) -> Encoded:
        """Give the embedding (B, D), and frames (B, F', widths[-1]) with their mask.

        Raises:
            ConfigError: If there are no frames.
            ShapeError: If they have another width.
        """
        encoded = super().forward(features)
        if encoded.frames is None:  # the network below always has frames; told to the type checker
            raise RuntimeError("there are no frames to average")
        return replace(encoded, embedding=self.embedding(masked_mean(encoded.frames, encoded.frame_mask)))
