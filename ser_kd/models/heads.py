"""What stands on the embedding: classes, or arousal, dominance and valence."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.outputs import Outputs


def _linear(width: int, outputs: int) -> nn.Linear:
    """Make a linear layer with Glorot-uniform weights and zero bias, as Keras does."""
    layer = nn.Linear(width, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class LinearHead(nn.Module):
    """Dropout, then one linear layer to the logits.

    Args:
        width: Width of the embedding.
        classes: Number of classes.
        dropout: Probability of dropping a value of the embedding.
    """

    def __init__(self, width: int, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = _linear(width, classes)

    def forward(self, embedding: Tensor) -> Outputs:
        """Give logits (B, C) for an embedding (B, D)."""
        return Outputs(logits=self.classifier(self.dropout(embedding)))


class MlpHead(nn.Module):
    """Dropout, linear, activation, dropout, linear; the hidden values are named "hidden" among the embeddings.

    With tanh and hidden_width 768 on wav2vec2-base it is the head of 000's teacher: 94,967,687 parameters at 7 classes.

    Args:
        width: Width of the embedding.
        classes: Number of classes.
        hidden_width: Width of the hidden layer; None is ``width``.
        dropout: Probability of dropping a value, before both layers.
        activation: "tanh" or "relu".
    """

    def __init__(
        self, width: int, classes: int, hidden_width: int | None = None, dropout: float = 0.1, activation: Literal["tanh", "relu"] = "tanh"
    ) -> None:
        super().__init__()
        hidden_width = width if hidden_width is None else hidden_width
        self.dropout = nn.Dropout(dropout)
        self.hidden = _linear(width, hidden_width)
        self.activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[activation]()
        self.classifier = _linear(hidden_width, classes)

    def forward(self, embedding: Tensor) -> Outputs:
        """Give logits (B, C) for an embedding (B, D)."""
        hidden = self.activation(self.hidden(self.dropout(embedding)))
        return Outputs(logits=self.classifier(self.dropout(hidden)), embeddings={"hidden": hidden})


class DimensionHead(nn.Module):
    """Arousal, dominance and valence, without squashing, from one linear layer or through a hidden layer.

    Args:
        width: Width of the embedding.
        hidden_width: Width of a layer in between; None is no such layer.
        dropout: Probability of dropping a value before each layer.
        activation: "tanh" or "relu", of the hidden layer.
        hidden_norm: Whether a layer norm stands before the activation.
    """

    def __init__(
        self,
        width: int,
        hidden_width: int | None = None,
        dropout: float = 0.0,
        activation: Literal["tanh", "relu"] = "tanh",
        hidden_norm: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden = None if hidden_width is None else _linear(width, hidden_width)
        self.norm = nn.LayerNorm(hidden_width) if hidden_norm and hidden_width is not None else None
        self.activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[activation]()
        self.regressor = _linear(width if hidden_width is None else hidden_width, len(DIMENSIONS))

    def forward(self, embedding: Tensor) -> Outputs:
        """Give dimensions (B, 3) for an embedding (B, D)."""
        if self.hidden is None:
            return Outputs(dimensions=self.regressor(self.dropout(embedding)))
        hidden = self.hidden(self.dropout(embedding))
        hidden = self.activation(hidden if self.norm is None else self.norm(hidden))
        return Outputs(dimensions=self.regressor(self.dropout(hidden)), embeddings={"hidden": hidden})
