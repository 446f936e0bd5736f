"""Concordance, correlation and error of arousal, dominance and valence over a whole split."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

from ser_kd.contracts.emotions import DIMENSIONS
from ser_kd.contracts.shapes import check_finite, check_same_shape
from ser_kd.functional.concordance import correlate, measure_concordance, measure_moments


class Dimensional(Metric):
    """CCC, Pearson's correlation and the root of the mean squared error, dimension by dimension.

    All predictions are kept until the end: a CCC averaged over batches is another number. Moments are divided by n.

    Args:
        arguments: Further arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        # One axis, and NaN for "not annotated": a process without a clip then gathers like any other.
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, prediction: Tensor, target: Tensor, mask: Tensor | None = None) -> None:
        """Take in a batch.

        Args:
            prediction: (B, 3) arousal, dominance, valence; a column of NaN beside others is a dimension that was never learned.
            target: (B, 3) in the same scale.
            mask: (B, 3) bool, True where annotated; None where every value is.

        Raises:
            ShapeError: If they differ in shape, or a prediction is not finite.
        """
        check_same_shape(prediction, target, "prediction", "target")
        learned = ~prediction.isnan().all(dim=0)
        check_finite(prediction[:, learned] if learned.any() else prediction, "prediction")
        if mask is not None:
            check_same_shape(mask, target, "mask", "target")
            target = torch.where(mask, target, torch.full_like(target, torch.nan))
        self.predictions.append(prediction.detach().float().flatten())
        self.targets.append(target.detach().float().flatten())

    def compute(self) -> dict[str, Tensor]:
        """Compute everything once over all clips.

        Returns:
            ``ccc_<dimension>``, ``pearson_<dimension>`` in [-1, 1] and ``rmse_<dimension>``, () float64, NaN where
            undefined (fewer than two annotated clips, constant annotations, or never learned; Pearson's also where predictions are
            constant);
            ``ccc_mean``, of the dimensions that have a CCC; ``count_<dimension>``, the annotated clips,
            ``spread_<dimension>``, the variance of their annotations, and ``unlearned_<dimension>``, the clips that were not answered.
        """
        width = len(DIMENSIONS)
        prediction, target = (
            (dim_zero_cat(state) if len(state) else torch.empty(0, device=self.device)).reshape(-1, width).double()
            for state in (self.predictions, self.targets)
        )
        mask = ~target.isnan()
        moments = measure_moments(prediction, target, mask)
        error = torch.where(mask, prediction - target, torch.zeros_like(target)).square().sum(dim=0) / moments.count
        # where nothing varies there is nothing to agree with: Lin's formula would say 0, whatever the model answers
        undefined = torch.full_like(moments.target_variance, torch.nan)
        concordance = torch.where(moments.target_variance > 0, measure_concordance(moments), undefined)
        columns = {
            "ccc": concordance, "pearson": correlate(moments), "rmse": error.sqrt(), "count": moments.count,
            "spread": moments.target_variance, "unlearned": prediction.isnan().sum(dim=0),
        }  # fmt: skip
        found = {f"{name}_{dimension}": column[i] for name, column in columns.items() for i, dimension in enumerate(DIMENSIONS)}
        return {**found, "ccc_mean": concordance.nanmean()}
