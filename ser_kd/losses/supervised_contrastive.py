"""Supervised contrastive loss: clips of one class near each other, those of other classes far."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.emotions import canonical_emotion
from ser_kd.contracts.errors import ConfigError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.contracts.suggestions import suggest
from ser_kd.functional.pairwise import normalize_rows
from ser_kd.functional.softening import check_temperature, raise_precision
from ser_kd.losses.labels import strongest_classes
from ser_kd.losses.slots import take_embedding


class SupervisedContrastive(nn.Module):
    """The mean over anchors i of -1/|P_i| sum_{p in P_i} log(exp(z_i z_p / T) / sum_{a != i} exp(z_i z_a / T)).

    z are the embeddings at unit length, P_i the other clips of the anchor's class, a all other clips with a class: the form
    whose sum over positives stands outside the logarithm. Each clip is heard once, so that its positives are other clips of its
    class in the batch; anchors without any are left out, and a batch without a pair gives zero, which still has a gradient.
    Batches that hold each class several times serve it best (datamodule.balance=class, or a batch size well above the number of
    classes).

    Where labels are mixed, a clip counts as the class with the largest share. No projection head is built here: name an
    embedding of the student's to keep its pooled one free.

    Args:
        temperature: T of the similarities, of its own: it has nothing to do with that of soft targets.
        embedding: Name among the student's ``embeddings``; None is its pooled ``embedding``.
        classes: Classes whose clips may be anchors, by name, such as ``[sad]``; clips of every class stay in the
            denominator. None is all of them.

    Raises:
        ConfigError: If the temperature is not positive or the list of classes empty.

    Source:
        Khosla et al.: Supervised Contrastive Learning, NeurIPS 2020, eq. 2 (L_out).
    """

    needs_teacher = False
    needs_labels = True
    needs_targets = "classes"
    minimum_batch = 2
    needs_whole_batch = True

    def __init__(self, temperature: float = 0.1, embedding: str | None = None, classes: Sequence[str] | None = None) -> None:
        super().__init__()
        check_temperature(temperature)
        if classes is not None and not classes:
            raise ConfigError(
                "The supervised contrastive loss has no class to work on.",
                expected="names of classes, or null for all of them",
                got="an empty list",
                remedy="set supervised_contrastive.classes=null, or take the term out of the objective",
            )
        self.temperature = temperature
        self.embedding = embedding
        self.classes = None if classes is None else list(classes)

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None = None) -> Tensor:
        """Compute the mean loss over anchors.

        Args:
            student: With the chosen embedding (B, D).
            batch: With classes, and their names where ``classes`` is given.
            teacher: Not used.

        Returns:
            () at least float32, 0 or more.

        Raises:
            ConfigError: If there is no such embedding, no class label or no class of a given name.
            ShapeError: If embeddings and labels are not of the same clips.
        """
        embeddings = take_embedding(student, self.embedding, "student", "supervised_contrastive")
        classes = strongest_classes(batch, "supervised_contrastive")
        if len(classes) != len(embeddings):
            raise ShapeError(
                "Embeddings and class labels are of different numbers of clips.",
                expected=f"{len(embeddings)} labels",
                got=f"{len(classes)} labels",
                remedy="hand the loss the batch that the student heard",
            )
        has_class = classes >= 0
        itself = torch.eye(len(classes), dtype=torch.bool, device=classes.device)
        is_other = has_class[None, :] & ~itself  # (B, B)
        is_positive = is_other & has_class[:, None] & (classes[:, None] == classes[None, :])
        is_anchor = is_positive.any(dim=1)
        if self.classes is not None:
            is_anchor &= torch.isin(classes, self._chosen_indices(batch, classes))
        unit = normalize_rows(raise_precision(embeddings))
        with torch.autocast(unit.device.type, enabled=False):
            similarities = unit @ unit.T / self.temperature
        # Not -inf: a clip without others would be NaN on its way through the logarithm and back.
        shares = similarities.masked_fill(~is_other, torch.finfo(unit.dtype).min).log_softmax(dim=1)
        losses = -shares.masked_fill(~is_positive, 0.0).sum(dim=1) / is_positive.sum(dim=1).clamp_min(1)
        return losses.masked_fill(~is_anchor, 0.0).sum() / is_anchor.sum().clamp_min(1)

    def _chosen_indices(self, batch: SpeechBatch, classes: Tensor) -> Tensor:
        names = list(batch.class_names)
        indices = []
        for name in self.classes or []:
            plain = name if name in names else canonical_emotion(name)
            if plain not in names:
                near = suggest(plain, names)
                raise ConfigError(
                    f"The supervised contrastive loss names a class '{name}' that the label set has not.",
                    expected=f"one of {', '.join(names)}" if names else "a batch that knows its class_names",
                    got=name,
                    remedy=(f"{near} Otherwise " if near else "") + "name classes of the label set",
                )
            indices.append(names.index(plain))
        return torch.tensor(indices, device=classes.device)
