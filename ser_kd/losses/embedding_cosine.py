"""The student's projection points where a teacher's embedding points."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.functional.softening import raise_precision
from ser_kd.losses.slots import take_embedding, take_teacher_embedding

_SHORTEST = 1e-6
_TERM = "embedding_cosine"


class EmbeddingCosine(nn.Module):
    """The mean over clips of -<a, b> / (|a| |b|), a the student's projection and b a teacher's embedding: -1 where they are aligned.

    The cosine itself is minimised with its sign turned, as the paper's text says (its equation 4 lacks the minus), so that the term lies
    in [-1, 1]. A vector shorter than 1e-6 has no direction: its clip counts as 0 and gives no gradient, instead of an enormous one.

    The projection is the student's own where it answers with an embedding called ``student_embedding``: its classifier reads it, so it is
    counted and exported. Where it has none of that name, ``projection`` makes one from the pooled embedding that only this term reads: it
    learns with the student and lies in its checkpoint, and no count or export of the student knows it.

    Args:
        teacher: ``combined``, or the name of the member to listen to.
        student_embedding: Name among the student's ``embeddings``; None is its pooled ``embedding``.
        teacher_embedding: The same for the teacher.
        projection: Called with the widths of student and teacher where the student has no such projection; None asks for one.

    Source:
        Shome and Etemad: EmoDistill, arXiv 2309.04849 (system 004), L_embedding.
    """

    needs_teacher = True

    def __init__(
        self,
        teacher: str = "combined",
        student_embedding: str | None = None,
        teacher_embedding: str | None = None,
        projection: Callable[[int, int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.teacher = teacher
        self.student_embedding = student_embedding
        self.teacher_embedding = teacher_embedding
        self.make_projection = projection
        self.projection: nn.Module | None = None

    def connect_embeddings(self, student_widths: Mapping[str | None, int], teacher_widths: Mapping[str | None, int]) -> None:
        """Learn which embeddings both answer with, and make the projection that the student lacks.

        Args:
            student_widths: Name -> width of the student's embeddings; None is the pooled one.
            teacher_widths: The same for the teacher.

        Raises:
            ConfigError: If the teacher has no such embedding, or the student none and no projection is given, or widths differ.
        """
        theirs = teacher_widths.get(self.teacher_embedding)
        if theirs is None:
            raise ConfigError(
                f"'{_TERM}' finds no embedding {_name(self.teacher_embedding)} of the teacher '{self.teacher}'.",
                expected=", ".join(map(_name, teacher_widths)) or "a teacher that answers with an embedding",
                got=f"teacher_embedding={self.teacher_embedding}",
                remedy=f"name another as teacher_embedding of the term that listens to {self.teacher}",
            )
        is_own = self.student_embedding is not None and self.student_embedding in student_widths
        if not is_own and self.make_projection is not None:
            self.projection = self.make_projection(_need_pooled(student_widths), theirs)
            return
        own = student_widths.get(self.student_embedding)
        if own != theirs:
            raise ConfigError(
                f"The student has no embedding that could follow the teacher '{self.teacher}'.",
                expected=f"an embedding {_name(self.student_embedding)} of width {theirs}, or a projection from the pooled one",
                got=", ".join(f"{_name(name)} of width {width}" for name, width in student_widths.items()) or "none",
                remedy="set the term's projection to torch.nn.Linear (_partial_: true), "
                "or let the student's head project: student.head.projections.NAME=teacher",
            )

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None) -> Tensor:
        """Compare the embeddings of the batch.

        Args:
            student: With the chosen embedding (B, D).
            batch: Not used.
            teacher: With the chosen embedding (B, D) of the same clips; it gets no gradient.

        Returns:
            () at least float32, from -1 to 1.

        Raises:
            ConfigError: If there is no teacher, no member of that name or no such embedding.
            ShapeError: If the two are not of the same clips or differ in width.
        """
        mine = take_embedding(student, self.student_embedding if self.projection is None else None, "student", _TERM)
        theirs = take_teacher_embedding(teacher, self.teacher, self.teacher_embedding, len(mine), _TERM)
        if self.projection is not None:
            mine = self.projection(mine)
        if mine.shape != theirs.shape:
            raise ShapeError(
                "Projection and embedding differ in width.",
                expected=f"{theirs.shape[1]} values, as the teacher '{self.teacher}'",
                got=f"{mine.shape[1]} of the student",
                remedy=f"let the projection be as wide: student.head.projections.NAME=teacher, or a projection in {_TERM}",
            )
        return -measure_cosines(mine, theirs).mean()


def measure_cosines(first: Tensor, second: Tensor) -> Tensor:
    """Give the cosine between the rows of two batches.

    Args:
        first: (B, D).
        second: (B, D).

    Returns:
        (B,) from -1 to 1, at least float32; 0, without gradient, where a row is shorter than 1e-6.
    """
    first, second = raise_precision(first), raise_precision(second)
    pointing = (first.norm(dim=1) > _SHORTEST) & (second.norm(dim=1) > _SHORTEST)  # (B,)
    # what stands in for a zero vector keeps the gradient of its length, which is not defined, out of the product
    first, second = (torch.where(pointing[:, None], rows, torch.ones_like(rows)) for rows in (first, second))
    cosines = (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))
    return torch.where(pointing, cosines, torch.zeros_like(cosines))


def _need_pooled(widths: Mapping[str | None, int]) -> int:
    if None not in widths:
        raise ConfigError(
            f"'{_TERM}' finds no pooled embedding of the student to project.",
            expected="a SpeechModel, which says how wide its embedding is",
            got=", ".join(map(_name, widths)) or "none",
            remedy=f"choose another student, or take {_TERM} out of the objective",
        )
    return widths[None]


def _name(name: str | None) -> str:
    return "the pooled one (null)" if name is None else f"'{name}'"
