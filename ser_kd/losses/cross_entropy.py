"""Cross-entropy with the true class, plain, smoothed, weighted or focal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ser_kd.contracts.batch import SpeechBatch
from ser_kd.contracts.errors import ConfigError, DataError, ShapeError
from ser_kd.contracts.outputs import Outputs, TeacherAnswers
from ser_kd.contracts.shapes import check_rank, check_same_shape
from ser_kd.functional.softening import classes_to_probabilities, raise_precision


class CrossEntropy(nn.Module):
    """The cross-entropy between the label and the student's probabilities at temperature 1.

    With target t (one-hot, or mixed by mix-up), smoothing e, class weights w and focal exponent g:
    loss = sum_n sum_c -w_c t'_nc (1 - p_nc)^g log p_nc / sum_n sum_c w_c t_nc, where t' = (1 - e) t + e / C.
    For hard classes and g = 0 this is ``torch.nn.functional.cross_entropy`` with the same arguments. Mixed targets use the
    same divisor, so that a mixture of weight one equals its hard class (torch divides by B instead and ignores the weights).

    Clips without a class (-1, or a row of zeros in ``class_probabilities``) count nowhere; a batch without any gives zero,
    which still has a gradient.

    Args:
        label_smoothing: e in [0, 1).
        class_weights: One weight per class; ``balanced`` for N / (C n_c), with counts that ``set_class_counts`` brings once
            before training; None for 1.
        focal_gamma: g; 0 is the plain cross-entropy, larger looks away from clips that are right already.

    Raises:
        ConfigError: If an argument lies outside its range.

    Source:
        Smoothing: Szegedy et al. 2016, section 7. Focal: Lin et al., Focal Loss for Dense Object Detection, 2017, eq. 4.
    """

    needs_teacher = False
    needs_labels = True
    needs_targets = "classes"
    needs_whole_batch = True  # the divisor is the weight of the labelled clips
    weights: Tensor | None

    def __init__(
        self,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | Literal["balanced"] | None = None,
        focal_gamma: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0.0 <= label_smoothing < 1.0:
            raise ConfigError(
                "Label smoothing is a share.", expected="a number in [0, 1)", got=str(label_smoothing), remedy="0.1 is usual, 0 is off"
            )
        if not (math.isfinite(focal_gamma) and focal_gamma >= 0.0):
            raise ConfigError(
                "The focal exponent must not be negative.", expected="0 or more", got=str(focal_gamma), remedy="2 is usual, 0 is off"
            )
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        self.is_balanced = isinstance(class_weights, str)
        # Not in the checkpoint: counts belong to the fold and are set anew whenever a run starts.
        self.register_buffer("weights", None, persistent=False)
        if isinstance(class_weights, str):
            if class_weights != "balanced":
                raise ConfigError(
                    "Unknown class weights.",
                    expected="a list of numbers, 'balanced' or null",
                    got=class_weights,
                    remedy="write class_weights=balanced or class_weights=[1.0,2.0,…]",
                )
        elif class_weights is not None:
            values = torch.tensor([float(weight) for weight in class_weights])
            if not bool(torch.isfinite(values).all() and (values >= 0).all() and (values > 0).any()):
                raise ConfigError(
                    "Class weights must be numbers from 0, not all of them 0.",
                    expected="one weight per class",
                    got=str(list(class_weights)),
                    remedy="correct the list, or use class_weights=balanced",
                )
            self.weights = values

    def set_class_counts(self, counts: Sequence[int]) -> None:
        """Bring the number of training clips per class; called once before training, used only by ``balanced``.

        Args:
            counts: Clips of the training split, in class order.

        Raises:
            DataError: If weights are balanced and a class has no training clip.
        """
        if not self.is_balanced:
            return
        if min(counts, default=0) < 1:
            raise DataError(
                "Balanced class weights need clips of every class.",
                expected="one training clip or more per class",
                got=f"counts {list(counts)}",
                remedy="choose a label set without the empty class, or give class_weights as a list",
            )
        total = sum(counts)
        self.weights = torch.tensor([total / (len(counts) * count) for count in counts])

    def forward(self, student: Outputs, batch: SpeechBatch, teacher: TeacherAnswers | None = None) -> Tensor:
        """Compute the mean loss of the batch.

        Args:
            student: With ``logits`` (B, C).
            batch: With ``classes`` (B,) or ``class_probabilities`` (B, C), which come first where both are there.
            teacher: Not used.

        Returns:
            () at least float32, 0 or more.

        Raises:
            ConfigError: If the student has no logits, the batch no classes, or balanced weights no counts.
            ShapeError: If the numbers of classes differ.
        """
        if student.logits is None:
            raise ConfigError(
                "Cross-entropy needs class logits.",
                expected="a student with a classification head",
                got="outputs without logits",
                remedy="give the student a head with classes, or take cross_entropy out of the objective",
            )
        check_rank(student.logits, 2, "student.logits", "(B, C)")
        logits = raise_precision(student.logits)
        targets = self._targets(batch, logits)  # (B, C)
        class_count = logits.shape[1]
        weights = self._class_weights(logits)  # (C,)
        log_probabilities = torch.log_softmax(logits, dim=-1)
        smoothed = (1.0 - self.label_smoothing) * targets + self.label_smoothing / class_count
        losses = -weights * smoothed * log_probabilities
        if self.focal_gamma:
            # Below one, the exponent has an infinite slope at p = 1; the clamp cuts it off.
            missing = (-torch.expm1(log_probabilities)).clamp_min(torch.finfo(logits.dtype).tiny)
            losses = losses * missing**self.focal_gamma
        has_class = targets.sum(dim=1) > 0
        zero = torch.zeros((), dtype=logits.dtype, device=logits.device)
        total = torch.where(has_class, losses.sum(dim=1), zero).sum()
        mass = (weights * targets).sum()
        return total * (mass > 0) / mass.clamp_min(torch.finfo(logits.dtype).tiny)

    def _targets(self, batch: SpeechBatch, logits: Tensor) -> Tensor:
        if batch.class_probabilities is not None:
            check_same_shape(logits, batch.class_probabilities, "student.logits", "batch.class_probabilities")
            return batch.class_probabilities.to(logits.dtype)
        if batch.classes is None:
            raise ConfigError(
                "Cross-entropy needs class labels.",
                expected="a corpus with emotion classes",
                got="a batch without classes",
                remedy="choose a corpus and a label set with classes, or take cross_entropy out of the objective",
            )
        return classes_to_probabilities(batch.classes, logits.shape[1]).to(logits.dtype)

    def _class_weights(self, logits: Tensor) -> Tensor:
        class_count = logits.shape[1]
        if self.weights is None:
            if self.is_balanced:
                raise ConfigError(
                    "Balanced class weights have no counts yet.",
                    expected="set_class_counts(counts) before the first step",
                    got="no counts",
                    remedy="call it with the training clips per class; a run of this suite does so by itself",
                )
            return torch.ones(class_count, dtype=logits.dtype, device=logits.device)
        if len(self.weights) != class_count:
            raise ShapeError(
                "Class weights and logits differ in the number of classes.",
                expected=f"{class_count} weights",
                got=f"{len(self.weights)} weights",
                remedy="give one weight per class of the label set, in its order",
            )
        return self.weights.to(logits)
