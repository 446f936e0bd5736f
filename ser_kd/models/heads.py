"""What stands on the embedding: classes, arousal, dominance and valence, or both."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs


def _linear(width: int, outputs: int) -> nn.Linear:
    """Make a linear layer with Glorot-uniform weights and zero bias, as Keras does."""
    layer = nn.Linear(width, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _regressor(width: int) -> nn.Linear:
    """Make the layer to arousal, dominance and valence; it begins at the middle of their scale from 0 to 1."""
    layer = _linear(width, len(DIMENSIONS))
    nn.init.constant_(layer.bias, 0.5)
    return layer


class _Answers(nn.Module):
    """The last layers of a head: one for classes, one for dimensions, or both beside each other on the same values.

    Raises:
        ConfigError: If neither is wanted.
    """

    classifier: nn.Linear | None
    regressor: nn.Linear | None

    def _make_answers(self, width: int, classes: int, dimensions: bool) -> None:
        if not classes and not dimensions:
            raise ConfigError(
                "A head has nothing to answer.",
                expected="classes, dimensions or both",
                got="classes=0, dimensions=False",
                remedy="give it the classes of a label set, or set protocol.targets=dimensions",
            )
        self.classifier = _linear(width, classes) if classes else None
        self.regressor = _regressor(width) if dimensions else None

    def _answer(self, values: Tensor) -> Outputs:
        return Outputs(
            logits=None if self.classifier is None else self.classifier(values),
            dimensions=None if self.regressor is None else self.regressor(values),
        )


class LinearHead(_Answers):
    """Dropout (and ReLU before it, if wanted), then a linear layer to the logits, to arousal, dominance and valence (without squashing), or
    one to each.

    Args:
        width: Width of the embedding.
        classes: Number of classes; 0 for none.
        dropout: Probability of dropping a value of the embedding.
        dimensions: Whether it answers with arousal, dominance and valence.
        activation: "relu" on the embedding first, which itself is handed out as it is; "none".

    Raises:
        ConfigError: If it has nothing to answer, or there is no such activation.
    """

    def __init__(
        self, width: int, classes: int, dropout: float = 0.0, dimensions: bool = False, activation: Literal["none", "relu"] = "none"
    ) -> None:
        super().__init__()
        if activation not in ("none", "relu"):
            raise ConfigError("Unknown activation.", expected="none or relu", got=str(activation), remedy="set head.activation")
        self.rectifies = activation == "relu"
        self.dropout = nn.Dropout(dropout)
        self._make_answers(width, classes, dimensions)

    def forward(self, embedding: Tensor) -> Outputs:
        """Give logits (B, C), dimensions (B, 3) or both for an embedding (B, D)."""
        return self._answer(self.dropout(embedding.relu() if self.rectifies else embedding))


class MlpHead(_Answers):
    """Dropout, linear, activation, dropout, linear; the hidden values are named "hidden" among the embeddings.

    With tanh and hidden_width 768 on wav2vec2-base it is the head of 000's teacher: 94,967,687 parameters at 7 classes.

    Args:
        width: Width of the embedding.
        classes: Number of classes; 0 for none.
        hidden_width: Width of the hidden layer; None is ``width``.
        dropout: Probability of dropping a value, before both layers.
        activation: "tanh" or "relu".
        dimensions: Whether it answers with arousal, dominance and valence.

    Raises:
        ConfigError: If it has nothing to answer.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        hidden_width: int | None = None,
        dropout: float = 0.1,
        activation: Literal["tanh", "relu"] = "tanh",
        dimensions: bool = False,
    ) -> None:
        super().__init__()
        hidden_width = width if hidden_width is None else hidden_width
        self.dropout = nn.Dropout(dropout)
        self.hidden = _linear(width, hidden_width)
        self.activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[activation]()
        self._make_answers(hidden_width, classes, dimensions)
        self.embedding_widths = {"hidden": hidden_width}

    def forward(self, embedding: Tensor) -> Outputs:
        """Give logits (B, C), dimensions (B, 3) or both for an embedding (B, D)."""
        hidden = self.activation(self.hidden(self.dropout(embedding)))
        outputs = self._answer(self.dropout(hidden))
        return Outputs(logits=outputs.logits, dimensions=outputs.dimensions, embeddings={"hidden": hidden})


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
        self.regressor = _regressor(width if hidden_width is None else hidden_width)
        self.embedding_widths = {} if hidden_width is None else {"hidden": hidden_width}

    def forward(self, embedding: Tensor) -> Outputs:
        """Give dimensions (B, 3) for an embedding (B, D)."""
        if self.hidden is None:
            return Outputs(dimensions=self.regressor(self.dropout(embedding)))
        hidden = self.hidden(self.dropout(embedding))
        hidden = self.activation(hidden if self.norm is None else self.norm(hidden))
        return Outputs(dimensions=self.regressor(self.dropout(hidden)), embeddings={"hidden": hidden})
