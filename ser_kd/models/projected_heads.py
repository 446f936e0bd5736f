"""A head that stands on projections of the embedding, one for each teacher whose embedding it is to follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs
from ser_kd.models.heads import LinearHead

ClassifierInput = Literal["concat", "pooled"]


class ProjectedHead(nn.Module):
    """One linear projection for each teacher embedding, and a linear layer to the answer.

    With ``classifier_input="concat"`` the answer is made from the projections, side by side in the order given:
    z'_m = W_m h + b_m and logits = W (z'_1, z'_2, …) + b. The projections are then part of the student, counted and exported, and named
    among its ``embeddings``, where ``losses.embedding_cosine`` finds them. With ``pooled`` the answer is made from the embedding h itself;
    no projection stands in the way of an answer, so the student has none, and those of the loss terms are adapters of the objective.

    Widths follow the teachers (``teacher``): the task that trains asks each member how wide its embedding is and fills the number in,
    before the student is built and before its configuration is written, so that a finished student needs no teacher. A projection of
    None is switched off; where all are, the answer is made from the embedding.

    Args:
        width: Width of the embedding.
        classes: Number of classes; 0 for none.
        projections: Teacher member -> width of its projection; ``teacher`` for as wide as the member's embedding, None for no projection.
        classifier_input: See above.
        dropout: Probability of dropping a value of the embedding.
        dimensions: Whether it answers with arousal, dominance and valence.

    Raises:
        ConfigError: If it has nothing to answer, ``classifier_input`` is something else, or a width is no number yet.

    Source:
        Shome and Etemad: EmoDistill, arXiv 2309.04849 (system 004); the wiring between projections and classifier is not stated there.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        projections: Mapping[str, int | Literal["teacher"] | None],
        classifier_input: ClassifierInput = "concat",
        dropout: float = 0.0,
        dimensions: bool = False,
    ) -> None:
        super().__init__()
        if classifier_input not in get_args(ClassifierInput):
            raise ConfigError(
                "Unknown input of the classifier.",
                expected=" or ".join(get_args(ClassifierInput)),
                got=str(classifier_input),
                remedy="set student.head.classifier_input=concat",
            )
        wanted = projections if classifier_input == "concat" else {}
        widths = {name: _check_width(name, size) for name, size in wanted.items() if size is not None}
        self.dropout = nn.Dropout(dropout)
        self.projections = nn.ModuleDict({name: nn.Linear(width, size) for name, size in widths.items()})
        self.answer = LinearHead(sum(widths.values()) or width, classes, dimensions=dimensions)
        self.embedding_widths: dict[str, int] = widths

    def forward(self, embedding: Tensor) -> Outputs:
        """Give logits (B, C), dimensions (B, 3) or both, and the projections (B, D') by name, for an embedding (B, D)."""
        heard = self.dropout(embedding)
        projected = {name: projection(heard) for name, projection in self.projections.items()}
        outputs: Outputs = self.answer(torch.cat(list(projected.values()), dim=1) if projected else heard)
        return replace(outputs, embeddings=projected)


def _check_width(name: str, size: int | str) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise ConfigError(
            f"How wide the projection '{name}' is to be is not known.",
            expected=f"a teacher with a member '{name}', whose embedding tells the width, or a number above 0",
            got=f"student.head.projections.{name}={size}",
            remedy=f"choose that teacher, set student.head.projections.{name}=256, or =null for no projection",
        )
    return size
