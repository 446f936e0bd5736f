"""Relational knowledge distillation: the student's clips lie to each other as the teacher's do, by distance and by angle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.pairwise import compare_angles, measure_distances
from ser_kd.functional.softening import raise_precision
from ser_kd.losses.slots import take_embedding, take_teacher_embedding

Reduction = Literal["mean", "sum"]


class _Relational(nn.Module, ABC):
    """What both relations share: where the embeddings come from, and how differences become one number."""

    needs_teacher = True
    minimum_batch = 2
    needs_whole_batch = True
    term = "relational"

    def __init__(
        self,
        teacher: str = "combined",
        student_embedding: str | None = None,
        teacher_embedding: str | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        if reduction not in get_args(Reduction):
            raise ConfigError(
                "Unknown reduction.",
                expected=" or ".join(get_args(Reduction)),
                got=str(reduction),
                remedy="mean is the published code, sum the published formula",
            )
        self.teacher = teacher
        self.student_embedding = student_embedding
        self.teacher_embedding = teacher_embedding
        self.reduction: Reduction = reduction

    @abstractmethod
    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the relations within one batch of embeddings, (B, D) and (B, D'), of at least ``minimum_batch`` clips."""

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compare the relations of the batch.

        Args:
            student: With the chosen embedding (B, D).
            batch: Not used.
            teacher: With the chosen embedding (B, D') of the same clips; it gets no gradient.

        Returns:
            () at least float32, 0 or more; 0 with a gradient of zero where the batch is smaller than ``minimum_batch``.

        Raises:
            ConfigError: If there is no teacher, no member of that name or no such embedding.
            ShapeError: If an embedding is not (B, D) or the two are not of the same clips.
        """
        mine = take_embedding(student, self.student_embedding, "student", self.term)
        theirs = take_teacher_embedding(teacher, self.teacher, self.teacher_embedding, len(mine), self.term)
        if len(mine) < self.minimum_batch:
            return raise_precision(mine[:0]).sum()
        return self.compare(mine, theirs)


class RelationalDistance(_Relational):
    """The Huber distance (delta 1) between the relative distances of teacher and student.

    psi_ij = |x_i - x_j| / mu with mu the mean of the positive distances of the batch, for student and teacher by itself, so
    that neither scale nor width of the embeddings counts: no projector is needed. Every pair counts in both orders; the mean is
    taken over all B^2 entries with the zero diagonal, as the published code does, while the published formula is a sum.

    A batch of one clip has no distance and gives zero. So may the last batch of an epoch; a run whose batches are all
    smaller than ``minimum_batch`` is refused before its first step.

    Args:
        teacher: ``combined``, or the name of the member to listen to.
        student_embedding: Name among the student's ``embeddings``; None is its pooled ``embedding``.
        teacher_embedding: The same for the teacher.
        reduction: ``mean`` or ``sum``.

    Raises:
        ConfigError: If the reduction is unknown.

    Source:
        Park et al.: Relational Knowledge Distillation, CVPR 2019, eq. 4 to 6.
    """

    term = "relational_distance"

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare psi (B, B), without unit."""
        with torch.no_grad():
            wanted = _relate_distances(teacher)
        found = _relate_distances(student)
        return huber_loss(found, wanted.to(found.dtype), reduction=self.reduction, delta=1.0)


class RelationalAngle(_Relational):
    """The Huber distance (delta 1) between the angles that teacher and student see in every triple of clips.

    psi_jik = <e_ij, e_kj>, the cosine at clip j, with e_ij = (x_i - x_j) / |x_i - x_j|; of two identical clips e_ij is zero.
    All B^3 entries count, those with equal indices included, as in the published code. Translation, rotation and scale of an
    embedding change nothing.

    A batch of fewer than three clips gives zero. So may the last batch of an epoch; a run whose batches are all smaller
    than ``minimum_batch`` is refused before its first step.

    Args:
        teacher: ``combined``, or the name of the member to listen to.
        student_embedding: Name among the student's ``embeddings``; None is its pooled ``embedding``.
        teacher_embedding: The same for the teacher.
        reduction: ``mean`` or ``sum``.

    Raises:
        ConfigError: If the reduction is unknown.

    Source:
        Park et al.: Relational Knowledge Distillation, CVPR 2019, eq. 7 to 9.
    """

    minimum_batch = 3
    term = "relational_angle"

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare psi (B, B, B)."""
        total = compare_angles(student, teacher)
        return total if self.reduction == "sum" else total / len(student) ** 3


def _relate_distances(embeddings: Tensor) -> Tensor:
    distances = measure_distances(embeddings)
    return distances * ((distances > 0).sum() / distances.sum())
